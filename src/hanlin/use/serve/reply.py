"""Replies in OpenAI's two shapes, whole or as server-sent events."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Literal

from hanlin.core.generate.reply import Piece
from hanlin.use.serve.errors import ApiError, as_api_error, error_body


@dataclass(frozen=True)
class Reply:
    """What is known before the first token: which endpoint, which model, how long the prompt is."""

    kind: Literal["chat", "text"]
    model: str
    prompt_tokens: int
    include_usage: bool = False
    created: int = field(default_factory=lambda: int(time.time()))
    key: str = field(default_factory=lambda: uuid.uuid4().hex)

    def whole(self, text: str, last: Piece) -> dict[str, Any]:
        """The body of a reply that isn't streamed."""
        check_finished(last)
        content = (
            {"message": {"role": "assistant", "content": text, "refusal": None}}
            if self.kind == "chat"
            else {"text": text}
        )
        choice = {"index": 0, **content, "logprobs": None, "finish_reason": last.finish}
        kind = "chat.completion" if self.kind == "chat" else "text_completion"
        return {**self._head(kind), "choices": [choice], "usage": self._usage(last)}

    async def events(self, pieces: AsyncIterator[Piece]) -> AsyncIterator[bytes]:
        """Server-sent events, `[DONE]` last. A failure after the first token is an event: the status is sent."""
        last = Piece("", 0)
        if self.kind == "chat":
            yield self._chunk({"role": "assistant", "content": ""})
        try:
            async for last in pieces:
                if last.text:
                    yield self._chunk({"content": last.text} if self.kind == "chat" else last.text)
            check_finished(last)
        except Exception as error:
            told = as_api_error(error)
            yield _event(error_body(told.message, told.status, told.param, told.code))
            return
        yield self._chunk({} if self.kind == "chat" else "", last.finish)
        if self.include_usage:
            yield _event({**self._head(self._chunk_kind), "choices": [], "usage": self._usage(last)})
        yield b"data: [DONE]\n\n"

    def _chunk(self, content: Any, finish: str | None = None) -> bytes:
        name = "delta" if self.kind == "chat" else "text"
        choice = {"index": 0, name: content, "logprobs": None, "finish_reason": finish}
        usage = {"usage": None} if self.include_usage else {}
        return _event({**self._head(self._chunk_kind), "choices": [choice], **usage})

    @property
    def _chunk_kind(self) -> str:
        return "chat.completion.chunk" if self.kind == "chat" else "text_completion"

    def _head(self, kind: str) -> dict[str, Any]:
        prefix = "chatcmpl-" if self.kind == "chat" else "cmpl-"
        return {"id": prefix + self.key, "object": kind, "created": self.created, "model": self.model}

    def _usage(self, last: Piece) -> dict[str, int]:
        total = self.prompt_tokens + last.num_tokens
        return {"prompt_tokens": self.prompt_tokens, "completion_tokens": last.num_tokens, "total_tokens": total}


def check_finished(last: Piece) -> None:
    """A reply without its last piece was cancelled: its client has gone, or the server is stopping."""
    if not last.finish:
        raise ApiError(503, "The server is stopping.", code="stopping")


def _event(value: dict[str, Any]) -> bytes:
    """JSON escapes line ends, so one `data:` line holds it; Chinese stays readable."""
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n".encode()
