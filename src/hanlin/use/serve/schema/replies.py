"""What comes back, for the description of the API and for its tests. Fields that clients may see and others send."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Finish = Literal["stop", "length", "tool_calls"]


class Reply(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Problem(Reply):
    """type: of the problem. param: the field at fault. code: for programs."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorReply(Reply):
    """Whatever is refused or fails."""

    error: Problem


class PromptDetails(Reply):
    """cached_tokens: those that were known already."""

    cached_tokens: int


class CompletionDetails(Reply):
    """reasoning_tokens: those of thoughts."""

    reasoning_tokens: int


class Usage(Reply):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails
    completion_tokens_details: CompletionDetails


class LikelyToken(Reply):
    token: str
    logprob: float
    bytes: list[int]


class ToldToken(LikelyToken):
    top_logprobs: list[LikelyToken]


class ChatLogprobs(Reply):
    content: list[ToldToken]
    refusal: None


class TextLogprobs(Reply):
    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class FunctionCall(Reply):
    name: str
    arguments: str


class MadeCall(Reply):
    id: str
    type: Literal["function"]
    function: FunctionCall


class ChatMessageReply(BaseModel):
    """reasoning_content and tool_calls stand there only where there are some."""

    model_config = ConfigDict(extra="forbid")
    role: Literal["assistant"]
    content: str | None
    refusal: None
    reasoning_content: str = ""
    tool_calls: list[MadeCall] = []


class ChatChoice(Reply):
    index: int
    message: ChatMessageReply
    logprobs: ChatLogprobs | None
    finish_reason: Finish


class TextChoice(Reply):
    index: int
    text: str
    logprobs: TextLogprobs | None
    finish_reason: Literal["stop", "length"]


class Head(Reply):
    id: str
    created: int
    model: str


class ChatCompletion(Head):
    object: Literal["chat.completion"]
    choices: list[ChatChoice]
    usage: Usage


class TextCompletion(Head):
    object: Literal["text_completion"]
    choices: list[TextChoice]
    usage: Usage


class ModelCard(Reply):
    """parent: the model that an adapter belongs to. max_tokens: the longest reply. chat: whether it has learnt to
    answer. embeddings: whether it makes vectors instead."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    parent: str | None
    context_length: int
    max_tokens: int
    chat: bool
    embeddings: bool


class ModelList(Reply):
    object: Literal["list"]
    data: list[ModelCard]


class Embedding(Reply):
    """embedding: numbers, or base64 of them as float32, little-endian."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingUsage(Reply):
    prompt_tokens: int
    total_tokens: int


class EmbeddingList(Reply):
    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage


class Tokenized(Reply):
    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None


class Detokenized(Reply):
    prompt: str


class Health(Reply):
    status: Literal["ok"]


EVENTS: dict[str, Any] = {
    "text/event-stream": {
        "schema": {"type": "string", "description": "with stream: true, one chunk an event and [DONE] at the end"}
    }
}
"""How a streamed reply is described."""
