"""What the other programs are told at their start."""

from __future__ import annotations

from pydantic import Field

from hanlin.core.run.config import Config


class LlamaOptions(Config):
    """llama.cpp's server, of xllamacpp."""

    slots: int = Field(4, ge=1, description="replies at the same time")
    max_waiting: int = Field(64, ge=0, description="requests that may wait for a slot; the next one is refused")
    context: int = Field(0, ge=0, description="tokens of a prompt and its reply; 0: the model's, at most 8,192")
    threads: int = Field(0, ge=0, description="threads that compute; 0: one for each processor this program may use")
    gpu_layers: int = Field(-1, ge=-1, description="layers on a GPU, where this xllamacpp knows one; -1: all that fit")


class VllmOptions(Config):
    """vLLM's server: one that runs already, or a child."""

    url: str = Field("", pattern=r"^(https?://\S+)?$", description="where it runs; empty starts `vllm serve` here")
    model: str = Field("", description="its name for the model; empty takes the first it lists")
    key: str = Field("", pattern=r"^[\x21-\x7e]*$", description="its API key, where it asks for one")
    max_jobs: int = Field(256, ge=1, description="requests sent to it at a time; the next one is refused")
    args: str = Field("", description='more words for `vllm serve`, as in a shell: "--max-model-len 8192"')
    start_seconds: float = Field(900, gt=0, description="how long it may take to load")
