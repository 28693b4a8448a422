"""Many replies from one engine. The engine works in a thread of its own; requests reach it between its steps."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from hanlin.core.generate.engine import Engine
from hanlin.core.generate.options import EngineOptions
from hanlin.core.generate.reply import Piece
from hanlin.core.generate.sampling import Sampling
from hanlin.core.generate.text import Ticket, Times
from hanlin.core.model.pretrained import Pretrained
from hanlin.use.serve.errors import ApiError

Value = TypeVar("Value")
Item = Piece | Exception | None


class Job:
    """One reply being made. Cancelling stops it before its next token, or takes it out of the line."""

    def __init__(
        self, prompt: list[int], sampling: Sampling, adapter: str, client: str, when_cancelled: Callable[[Job], None]
    ):
        self.prompt, self.sampling, self.adapter, self.client = prompt, sampling, adapter, client
        self.ticket: Ticket | None = None
        self.cancelled = False
        self._when_cancelled = when_cancelled
        self._before = Times()
        self.loop = asyncio.get_running_loop()
        self._items: asyncio.Queue[Item] = asyncio.Queue()

    @property
    def times(self) -> Times:
        return self.ticket.times if self.ticket is not None else self._before

    @property
    def num_shared(self) -> int:
        return self.ticket.num_shared if self.ticket is not None else 0

    async def pieces(self) -> AsyncIterator[Piece]:
        """The pieces as they are made; ends early when cancelled. Raises what the engine met with this request."""
        try:
            while (item := await self._items.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            self.cancel()

    def cancel(self) -> None:
        if not self.cancelled:
            self.cancelled = True
            self._items.put_nowait(None)
            self._when_cancelled(self)

    def take(self, item: Item) -> None:
        """In the event loop: the next piece, what went wrong, or None at the end."""
        self._items.put_nowait(item)


class Turns:
    """The engine and its thread. adapters: the model's, by name. Raises HanlinError for what can't be served."""

    def __init__(self, loaded: Pretrained, options: EngineOptions, adapters: Mapping[str, Path] | None = None):
        self._options = options
        self._engine = Engine(loaded, options, adapters)
        self.tokenizers = {name: known.tokenizer for name, known in self._engine.known.items()}
        """By the adapters' names, "" for none: their chat templates may differ."""
        self._asked: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._jobs: set[Job] = set()
        self._jobs_lock = threading.Lock()
        self._given: list[tuple[Job, Item]] = []
        # The tokenizer keeps a switch (special tokens or not) between calls, so only one thread may use it.
        self._tokenizer_thread = ThreadPoolExecutor(1, thread_name_prefix="hanlin-tokenizer")
        self._thread = threading.Thread(target=self._run, name="hanlin-model", daemon=True)
        self._thread.start()

    async def encode(self, work: Callable[[], Value]) -> Value:
        """Run a tokenizer's work beside the event loop, so that a long prompt delays nobody's stream."""
        return await asyncio.get_running_loop().run_in_executor(self._tokenizer_thread, work)

    def start(self, prompt: list[int], sampling: Sampling, *, adapter: str = "", client: str = "") -> Job:
        """Begin a reply to prompt ids. Raises ApiError 429 when too many wait already."""
        job = Job(prompt, sampling, adapter, client, lambda job: self._asked.put(lambda: self._cancel(job)))
        with self._jobs_lock:
            if len(self._jobs) >= self._options.max_streams + self._options.max_waiting:
                waiting = self._options.max_waiting
                raise ApiError(429, f"{waiting} requests wait already; try again soon.", code="queue_full")
            self._jobs.add(job)
        self._asked.put(lambda: self._submit(job))
        return job

    @property
    def num_jobs(self) -> int:
        """Replies being made or waiting."""
        return len(self._jobs)

    @property
    def num_blocks(self) -> int:
        """Blocks of the engine's cache."""
        return self._engine.blocks.num_blocks

    @property
    def num_free_blocks(self) -> int:
        """Those that no reply holds; asked by /metrics while the engine works, so it may be a step old."""
        return self._engine.blocks.num_available

    def close(self) -> None:
        """Stop all replies and the threads."""
        self._asked.put(None)
        self._thread.join()
        self._engine.close()
        self._tokenizer_thread.shutdown()

    def _run(self) -> None:
        while True:
            for work in self._requests():
                if work is None:
                    self._stop()
                    return
                work()
            if self._engine.busy:
                self._engine.step()
            self._hand_out()

    def _requests(self) -> list[Callable[[], None] | None]:
        """What has been asked since; waits where there is nothing else to do."""
        found = [] if self._engine.busy else [self._asked.get()]
        while not self._asked.empty():
            found.append(self._asked.get())
        return found

    def _submit(self, job: Job) -> None:
        if job.cancelled:
            return
        try:
            job.ticket = self._engine.submit(job.prompt, job.sampling, job.client, job.adapter)
        except Exception as error:
            self._end(job, error)

    def _hand_out(self) -> None:
        for job in list(self._jobs):
            ticket = job.ticket
            while ticket is not None and ticket.pieces:
                self._given.append((job, ticket.pieces.popleft()))
            if ticket is not None and ticket.done:
                self._end(job, ticket.error)
        self._send()

    def _send(self) -> None:
        """All that has been given, in one call of the event loop: it is woken once a step and not once a token."""
        given = [(job, item) for job, item in self._given if not job.cancelled]
        self._given.clear()
        for loop in {job.loop for job, _ in given}:
            loop.call_soon_threadsafe(_hand_over, [(job, item) for job, item in given if job.loop is loop])

    def _end(self, job: Job, last: Exception | None) -> None:
        self._given.append((job, last))
        self._cancel(job)

    def _cancel(self, job: Job) -> None:
        if job.ticket is not None:
            self._engine.cancel(job.ticket)
        with self._jobs_lock:
            self._jobs.discard(job)

    def _stop(self) -> None:
        for job in list(self._jobs):
            self._end(job, None)
        self._send()


def _hand_over(given: Sequence[tuple[Job, Item]]) -> None:
    for job, item in given:
        job.take(item)
