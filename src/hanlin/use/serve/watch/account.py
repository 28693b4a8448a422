"""What one HTTP request is and what becomes of it: who asks, what it may use, what it used. Made before anything else
looks at the request; the answerer begins its replies here; the log, the metrics and the spans read it at the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, cast

from fastapi import Request

from hanlin.core.generate.reply import Piece
from hanlin.core.generate.sampling import Sampling
from hanlin.core.generate.text import Times
from hanlin.use.serve.access.keys import Key
from hanlin.use.serve.access.quotas import Quotas, Reservation
from hanlin.use.serve.backend import Job, Served, ServedEncoder
from hanlin.use.serve.errors import ApiError


@dataclass(eq=False)
class Account:
    """Of one request. began: seconds of `time.monotonic`; wall: the same moment in seconds since 1970."""

    id: str
    quotas: Quotas
    timeout_seconds: float = 0.0
    keeps_texts: bool = False
    method: str = ""
    route: str = ""
    traceparent: str = ""
    tracestate: str = ""
    client: str = ""
    """The key's name; "" where nobody has to say who asks."""
    key: Key | None = None
    model: str = ""
    adapter: str = ""
    read_tokens: int = 0
    """Of texts that became vectors; those of replies are in `replies`."""
    replies: list[WatchedJob] = field(default_factory=list)
    body: bytes = b""
    status: int = 0
    code: str = ""
    ended_by: str = ""
    """Why the server ended it: "timeout", "stopping"."""
    began: float = field(default_factory=time.monotonic)
    wall: float = field(default_factory=time.time)
    seconds: float = 0.0
    _reservations: list[tuple[Reservation, WatchedJob | None, int]] = field(default_factory=list)
    _timer: asyncio.TimerHandle | None = None

    def start(self, model: Served, prompt: list[int], sampling: Sampling, *, adapter: str = "") -> Job:
        """Begin a reply for this request.

        Raises ApiError: 403 for a model that its key may not use, 429 where a limit is reached, 504 and 503 when the
        request has had its time, and what the backend raises.
        """
        self._use(model, adapter)
        self.refuse_ended()
        reservation = self._reserve(len(prompt) + sampling.max_tokens)
        try:
            job = WatchedJob(
                model.backend.start(prompt, sampling, adapter=adapter, client=self.client), len(prompt), sampling, self
            )
        except BaseException:
            if reservation is not None:
                reservation.settle(0)
            raise
        if reservation is not None:
            self._reservations.append((reservation, job, len(prompt)))
        self.replies.append(job)
        return job

    def read(self, model: ServedEncoder, num_tokens: int) -> None:
        """Texts are about to become vectors. Raises ApiError as `start` does."""
        self._use(model, "")
        self.refuse_ended()
        reservation = self._reserve(num_tokens)
        if reservation is not None:
            self._reservations.append((reservation, None, num_tokens))
        self.read_tokens += num_tokens

    def begin(self) -> None:
        """Its time runs from here."""
        if self.timeout_seconds:
            self._timer = asyncio.get_running_loop().call_later(self.timeout_seconds, self.end, "timeout")

    def end(self, reason: str) -> None:
        """End its replies, and begin no more: "timeout" or "stopping"."""
        self.ended_by = self.ended_by or reason
        for job in self.replies:
            job.cancel()

    def close(self) -> None:
        """The answer is sent, or nobody waits for it: give back what was not used."""
        self.seconds = time.monotonic() - self.began
        if self._timer is not None:
            self._timer.cancel()
        for job in self.replies:
            job.cancel()
        for reservation, reply, num_prompt in self._reservations:
            reservation.settle(num_prompt + (reply.num_tokens if reply is not None else 0))

    def refuse_ended(self) -> None:
        """Raises ApiError once the server has ended the request."""
        if self.ended_by == "timeout":
            message = f"The request took longer than {self.timeout_seconds:g} seconds and was ended."
            raise ApiError(504, message, code="timeout")
        if self.ended_by:
            raise ApiError(503, "The server is stopping.", code="stopping")

    def may_use(self, name: str) -> bool:
        """Whether its key allows the model or adapter of this name."""
        return self.key is None or self.key.may_use(name)

    def refuse_model(self, name: str) -> None:
        """Raises ApiError 403 for a model or adapter that its key may not use."""
        if not self.may_use(name):
            raise ApiError(403, f"This key may not use {name[:100]!r}.", param="model", code="model_not_allowed")

    @property
    def num_prompt_tokens(self) -> int:
        return self.read_tokens + sum(job.num_prompt for job in self.replies)

    @property
    def num_reply_tokens(self) -> int:
        return sum(job.num_tokens for job in self.replies)

    @property
    def num_shared_tokens(self) -> int:
        """Prompt tokens that were in the cache already."""
        return sum(job.num_shared for job in self.replies)

    def _use(self, model: Served | ServedEncoder, adapter: str) -> None:
        self.model, self.adapter = model.name, adapter
        self.refuse_model(adapter or model.name)

    def _reserve(self, tokens: int) -> Reservation | None:
        return self.quotas.reserve(self.key, tokens) if self.key is not None else None


class WatchedJob:
    """A backend's job, and what of it an account has to know."""

    def __init__(self, job: Job, num_prompt: int, sampling: Sampling, account: Account):
        self._job, self._account = job, account
        self.num_prompt, self.sampling = num_prompt, sampling
        self.num_tokens = 0
        self.finish = ""
        self.failed = False
        self.texts: list[str] = []
        """What was said, kept only where the log is to show it."""

    @property
    def times(self) -> Times:
        return self._job.times

    @property
    def num_shared(self) -> int:
        return self._job.num_shared

    def cancel(self) -> None:
        self._job.cancel()

    async def pieces(self) -> AsyncIterator[Piece]:
        """The job's own, counted. Raises ApiError where the server ended the request before the reply's end."""
        try:
            async for piece in self._job.pieces():
                self.num_tokens, self.finish = piece.num_tokens, piece.finish
                if self._account.keeps_texts:
                    self.texts.append(piece.text)
                yield piece
        except Exception:
            self.failed = True
            raise
        if not self.finish:
            self._account.refuse_ended()


def account_of(request: Request) -> Account:
    return cast(Account, request.state.account)


def scope_account(scope: Any) -> Account:
    """The same, for what stands before the routes."""
    return cast(Account, scope["state"]["account"])
