"""Options of the server."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from hanlin.core.generate.options import EngineOptions
from hanlin.core.run.config import Config
from hanlin.use.serve.backends.options import LlamaOptions, VllmOptions


class Serve(Config):
    """Where the server listens and how much it takes at once. Sampling is each request's own choice."""

    host: str = Field("127.0.0.1", description="address to listen on; anything but this machine needs a token or keys")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    token: str = Field(
        "",
        pattern=r"^[\x21-\x7e]*$",
        description="if set, every request but the page's must carry `Authorization: Bearer <token>`; ASCII, no spaces",
    )
    keys: str = Field("", description="file of `hanlin keys`: callers need one of its keys, each with its own limits")
    usage: str = Field("", description="file for the keys' tokens per day; empty: the file of keys with .usage behind")
    name: str = Field("", description="the model's name for clients; empty takes the folder's name")
    models: dict[str, str] = Field({}, description="more models, by the names clients use: models.NAME=FOLDER")
    adapters: dict[str, str] = Field(
        {}, description="adapters of the main model, each asked for as a model: adapters.NAME=FOLDER"
    )
    max_tokens: int = Field(1024, ge=1, description="the longest reply to one request, in tokens")
    max_messages: int = Field(500, ge=1, description="the longest conversation, in messages")
    max_body_bytes: int = Field(2**20, ge=1024, description="the largest request, in bytes")
    max_header_bytes: int = Field(2**14, ge=1024, le=2**16, description="the largest address and headers, in bytes")
    max_json_depth: int = Field(100, ge=1, le=500, description="brackets within brackets of a request, at most")
    max_connections: int = Field(1000, ge=1, description="connections at the same time; the next one is told 503")
    header_seconds: float = Field(
        10, gt=0, description="within which a request's first line and headers have to arrive"
    )
    body_seconds: float = Field(30, ge=0, description="within which a request's body has to arrive; 0: no limit")
    write_seconds: float = Field(30, gt=0, description="a client that takes nothing for so long is cut off")
    keep_alive_seconds: int = Field(5, ge=1, description="a connection without a request is closed after so long")
    timeout_seconds: float = Field(600, ge=0, description="the longest request, waiting included; 0: no limit")
    drain_seconds: float = Field(30, ge=0, description="time that running replies have after SIGTERM or Ctrl-C")
    cors: tuple[str, ...] = Field((), description="origins of web pages that may use this server: [https://a.example]")
    tls_cert: str = Field("", description="certificate chain in PEM: the server speaks https")
    tls_key: str = Field("", description="private key of tls_cert in PEM")
    behind_proxy: bool = Field(False, description="believe X-Forwarded-Host, which a proxy in front sets")
    log: str = Field("", description="file for one line of JSON a request, or stderr; empty: none")
    log_prompts: bool = Field(False, description="write requests and replies into the log too")
    open_metrics: bool = Field(False, description="/metrics for everybody; else for this machine and those with a key")
    otel: str = Field("", description="address of an OpenTelemetry collector (OTLP over HTTP) that gets spans")
    backend: Literal["hanlin", "llama", "vllm"] = Field(
        "hanlin", description="what writes: our engine, llama.cpp (GGUF files) or vLLM; engine=llama says it too"
    )
    engine: EngineOptions = Field(EngineOptions(), description="memory, texts at once, number formats, speculation")
    llama: LlamaOptions = Field(LlamaOptions(), description="of engine=llama")
    vllm: VllmOptions = Field(VllmOptions(), description="of engine=vllm")
    open_page: bool = Field(False, description="open the chat page in the browser when the server is ready")

    @model_validator(mode="before")
    @classmethod
    def _engine_by_name(cls, values: Any) -> Any:
        """`engine=llama` names the program that writes; `engine.weights=…` is an option of our own."""
        if not isinstance(values, dict) or not isinstance(values.get("engine"), str):
            return values
        named = {key: value for key, value in values.items() if key != "engine"}
        if named.setdefault("backend", values["engine"]) != values["engine"]:
            raise ValueError(f"engine={values['engine']} and backend={named['backend']} are two programs; keep one")
        return named
