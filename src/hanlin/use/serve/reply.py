"""Replies as OpenAI's clients read them, whole or as server-sent events."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from hanlin.core.generate.reply import Piece
from hanlin.core.text.calls import Event
from hanlin.use.serve.errors import ApiError, as_api_error, error_body
from hanlin.use.serve.jobs import Together
from hanlin.use.serve.shapes import Shape
from hanlin.use.serve.spoken import Spoken

Numbered = AsyncIterator[tuple[int, Piece]]


@dataclass(frozen=True)
class Reply:
    """One response: its shape, the model's name, the jobs that write its choices, and what each has said."""

    shape: Shape
    model: str
    prompt_tokens: int
    jobs: Together
    spoken: Sequence[Spoken]
    include_usage: bool = False
    created: int = field(default_factory=lambda: int(time.time()))
    key: str = field(default_factory=lambda: uuid.uuid4().hex)

    async def whole(self) -> dict[str, Any]:
        """The body of a response that isn't streamed."""
        async for index, piece in self.jobs.pieces():
            self._hear(index, piece)
        choices = [
            {"index": index, **self.shape.whole(index, spoken), **self._ending(spoken)}
            for index, spoken in enumerate(self.spoken)
        ]
        return {**self._head(self.shape.whole_kind), "choices": choices, "usage": self._usage()}

    async def started(self) -> AsyncIterator[bytes]:
        """Server-sent events, `[DONE]` last. Waits for the first piece, so that what fails at once is raised here and
        answered with its status; a failure after it is an event."""
        pieces = self.jobs.pieces()
        first = await anext(pieces, None)

        async def all_pieces() -> Numbered:
            if first is not None:
                yield first
                async for item in pieces:
                    yield item

        return self._events(all_pieces())

    async def _events(self, pieces: Numbered) -> AsyncIterator[bytes]:
        for index in range(len(self.spoken)):
            if (content := self.shape.begin(index)) is not None:
                yield self._chunk(index, content)
        try:
            async for index, piece in pieces:
                for chunk in self._chunks(index, self._hear(index, piece)):
                    yield chunk
            for spoken in self.spoken:
                check_finished(spoken)
        except Exception as error:
            told = as_api_error(error)
            yield _event(error_body(told.message, told.status, told.param, told.code))
            return
        finally:
            self.jobs.cancel()
        for index, spoken in enumerate(self.spoken):
            yield self._chunk(index, self.shape.nothing(), **self._ending(spoken))
        if self.include_usage:
            yield _event({**self._head(self.shape.chunk_kind), "choices": [], "usage": self._usage()})
        yield b"data: [DONE]\n\n"

    def _hear(self, index: int, piece: Piece) -> Sequence[Event]:
        events = self.spoken[index].push(piece)
        if self.spoken[index].has_said_enough:
            self.jobs.end(index)
        return events

    def _chunks(self, index: int, events: Sequence[Event]) -> list[bytes]:
        """One chunk an event; the first tells of the tokens behind them."""
        spoken = self.spoken[index]
        logprobs = self._logprobs(spoken) if events else None
        num_calls = len(spoken.calls) - sum(event.kind == "call" for event in events)
        chunks = []
        for event in events:
            num_calls += event.kind == "call"
            chunks.append(self._chunk(index, self.shape.delta(event, spoken.calls[:num_calls]), logprobs))
            logprobs = None
        return chunks

    def _ending(self, spoken: Spoken) -> dict[str, Any]:
        check_finished(spoken)
        return {"logprobs": self._logprobs(spoken), "finish_reason": spoken.finish}

    def _logprobs(self, spoken: Spoken) -> dict[str, Any] | None:
        if spoken.log is None:
            return None
        return self.shape.logprobs(spoken.log.take())

    def _chunk(
        self, index: int, content: dict[str, Any], logprobs: Any = None, finish_reason: str | None = None
    ) -> bytes:
        choice = {"index": index, **content, "logprobs": logprobs, "finish_reason": finish_reason}
        usage = {"usage": None} if self.include_usage else {}
        return _event({**self._head(self.shape.chunk_kind), "choices": [choice], **usage})

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.shape.prefix + self.key, "object": kind, "created": self.created, "model": self.model}

    def _usage(self) -> dict[str, Any]:
        written = sum(spoken.num_tokens for spoken in self.spoken)
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": written,
            "total_tokens": self.prompt_tokens + written,
            "prompt_tokens_details": {"cached_tokens": self.jobs.num_shared},
            "completion_tokens_details": {"reasoning_tokens": sum(spoken.num_thought_tokens for spoken in self.spoken)},
        }


def check_finished(spoken: Spoken) -> None:
    """A reply without its end was cancelled: its client has gone, or the server is stopping."""
    if not spoken.finish:
        raise ApiError(503, "The server is stopping.", code="stopping")


def _event(value: dict[str, Any]) -> bytes:
    """JSON escapes line ends, so one `data:` line holds it; Chinese stays readable."""
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n".encode()
