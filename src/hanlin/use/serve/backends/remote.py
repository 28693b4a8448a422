"""Another program as a Backend: prompt ids go to it, its tokens come back and become pieces here. Text, stop texts and
the reply's length are ours, so that they are the same whoever writes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from time import monotonic
from typing import Any, NamedTuple, Protocol, TypeVar

from hanlin.core.generate.logprobs import Logprobs
from hanlin.core.generate.reply import Piece, Reply
from hanlin.core.generate.requests import wording
from hanlin.core.generate.sampling import Sampling
from hanlin.core.generate.text import Times
from hanlin.core.text.tokenizer import Tokenizer
from hanlin.use.serve.backends.child import Child
from hanlin.use.serve.backends.link import Link
from hanlin.use.serve.errors import ApiError

Value = TypeVar("Value")


class Said(NamedTuple):
    """What an event brings. tokens: ids, each with its log-probabilities where they were asked for. finish: "" while it
    goes on, then "stop" or "length". num_shared: prompt tokens it knew already; None where it doesn't say. num_unheard:
    tokens it wrote before these and doesn't name; negative where it is given more than it wrote."""

    tokens: Sequence[tuple[int, Logprobs | None]] = ()
    finish: str = ""
    num_shared: int | None = None
    num_unheard: int = 0


class Dialect(Protocol):
    """How a program is asked, and what its events mean."""

    path: str

    def body(self, prompt: Sequence[int], sampling: Sampling) -> dict[str, Any]:
        """Raises ApiError 400 for what it can't do."""
        ...

    def said(self, event: Mapping[str, Any], num_tokens: int) -> Said:
        """num_tokens: of the reply so far."""
        ...


class RemoteJob:
    """One reply that the other program writes. Cancelling closes its connection."""

    def __init__(self, events: AsyncIterator[Said], reply: Reply, when_over: Callable[[RemoteJob], None]):
        self.times, self.num_shared = Times(), 0
        self._reply = reply
        self._items: asyncio.Queue[Piece | Exception | None] = asyncio.Queue()
        self._task = asyncio.create_task(self._run(events))
        self._when_over = when_over
        self._task.add_done_callback(self._end)  # also of a task that is cancelled before its first step

    async def pieces(self) -> AsyncIterator[Piece]:
        try:
            while (item := await self._items.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            self.cancel()

    def cancel(self) -> None:
        if not self._task.done():
            self._task.cancel()

    def _end(self, _: asyncio.Task[None]) -> None:
        self.times.ended = monotonic()
        self._items.put_nowait(None)
        self._when_over(self)

    async def _run(self, events: AsyncIterator[Said]) -> None:
        self.times.begun = monotonic()
        try:
            self._items.put_nowait(await self._last(events))
        except Exception as error:
            self._items.put_nowait(error)

    async def _last(self, events: AsyncIterator[Said]) -> Piece:
        """The last piece, after the others have been handed on. It waits for one event more, which may say how much of
        the prompt was known."""
        last: Piece | None = None
        async with aclosing(events):  # type: ignore[type-var]
            async for said in events:
                if said.num_shared is not None:
                    self.num_shared = said.num_shared
                if last is not None:
                    break
                last = self._hear(said)
        if last is None:
            raise ApiError(502, "The program that writes broke off in the middle of a reply.", code="backend_gone")
        return last

    def _hear(self, said: Said) -> Piece | None:
        """Hand the pieces on; the last one comes back."""
        self._reply.num_tokens += said.num_unheard
        for token, logprobs in said.tokens:
            self.times.first = self.times.first or monotonic()
            piece = self._reply.push(token, logprobs)
            if piece.finish:
                return piece
            self._items.put_nowait(piece)
        return self._reply.end(said.finish) if said.finish else None


class Remote:
    """max_jobs: replies made or waiting at a time. child: the program's process, where it is ours."""

    def __init__(
        self,
        link: Link,
        dialect: Dialect,
        tokenizer: Tokenizer,
        stop_ids: Collection[int],
        context: int,
        max_jobs: int,
        child: Child | None = None,
    ):
        self._link, self._dialect, self.child = link, dialect, child
        self._tokenizer, self._stop_ids = tokenizer, stop_ids
        self._context, self._max_jobs = context, max_jobs
        self._jobs: set[RemoteJob] = set()
        self._tokenizer_thread = ThreadPoolExecutor(1, thread_name_prefix="hanlin-tokenizer")

    async def encode(self, work: Callable[[], Value]) -> Value:
        """As `Turns.encode`."""
        return await asyncio.get_running_loop().run_in_executor(self._tokenizer_thread, work)

    def start(self, prompt: list[int], sampling: Sampling, *, adapter: str = "", client: str = "") -> RemoteJob:
        """Raises ApiError: 400 for what the program can't do, 429 when it has enough to do, 503 when it has died."""
        if self.child is not None and self.child.has_ended:
            message = (
                f"{self._link.name} has stopped ({self.child.last_words()}); hanlin serve has to be started again."
            )
            raise ApiError(503, message, code="backend_gone")
        if len(self._jobs) >= self._max_jobs:
            raise ApiError(429, f"{self._max_jobs} requests are under way; try again soon.", code="queue_full")
        most = min(sampling.max_tokens, self._context - len(prompt))
        body = self._dialect.body(prompt, sampling.model_copy(update={"max_tokens": most}))
        reply = Reply(self._tokenizer, self._stop_ids, sampling.stop, most, wording(sampling))
        job = RemoteJob(self._said(body, reply), reply, self._jobs.discard)
        self._jobs.add(job)
        return job

    @property
    def num_jobs(self) -> int:
        return len(self._jobs)

    def close(self) -> None:
        for job in list(self._jobs):
            job.cancel()
        self._tokenizer_thread.shutdown()
        if self.child is not None:
            self.child.stop()

    async def _said(self, body: dict[str, Any], reply: Reply) -> AsyncIterator[Said]:
        async with aclosing(self._link.events(self._dialect.path, body)) as events:  # type: ignore[type-var]
            async for event in events:
                yield self._dialect.said(event, reply.num_tokens)


def refuse(sampling: Sampling, wanted: Mapping[str, str], program: str) -> None:
    """Raises ApiError 400 for the first option that is set and that the program has nothing for.

    wanted: the option's name → what to do instead."""
    for name, instead in wanted.items():
        if getattr(sampling, name) != Sampling.model_fields[name].default:
            message = f"{name}: {program} can't do that. Instead: {instead}; or serve with engine=hanlin."
            raise ApiError(400, message, param=name, code="unsupported_parameter")
