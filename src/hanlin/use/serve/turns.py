"""One model, one generation at a time, first come first served. The model works in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from hanlin.core.generate.sampling import Sampling
from hanlin.core.generate.stream import Piece, stream
from hanlin.core.model.pretrained import Pretrained
from hanlin.use.serve.errors import ApiError

Value = TypeVar("Value")


class Job:
    """One reply being made. Cancelling stops it before its next token, or takes it out of the queue."""

    def __init__(self, work: Callable[[], Iterator[Piece]]):
        self._work = work
        self._loop = asyncio.get_running_loop()
        self._items: asyncio.Queue[Piece | Exception | None] = asyncio.Queue()
        self._cancelled = threading.Event()
        self._future: Future[None] | None = None
        self.watch: asyncio.Task[None] | None = None
        """Who waits for the client's leaving; held here because the event loop itself holds tasks weakly."""

    def submit(self, executor: ThreadPoolExecutor, when_done: Callable[[Job], None]) -> None:
        self._future = executor.submit(self._run)
        self._future.add_done_callback(lambda _: when_done(self))

    async def pieces(self) -> AsyncIterator[Piece]:
        """The pieces as they are made; ends early when cancelled. Raises what the model's thread raised."""
        try:
            while (item := await self._items.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            self.cancel()

    def cancel(self) -> None:
        self._cancelled.set()
        if self._future is not None:
            self._future.cancel()
        self._items.put_nowait(None)

    def _run(self) -> None:
        """In the model's thread."""
        last: Exception | None = None
        try:
            for piece in self._work():
                if self._cancelled.is_set():
                    return
                self._loop.call_soon_threadsafe(self._items.put_nowait, piece)
        except Exception as error:  # whatever it is belongs to this request; the server goes on
            last = error
        if not self._cancelled.is_set():
            self._loop.call_soon_threadsafe(self._items.put_nowait, last)


class Turns:
    """The queue in front of one model. A single worker thread is the lock: it serves jobs in the order they came."""

    def __init__(self, loaded: Pretrained, max_waiting: int):
        self._loaded, self._max_waiting = loaded, max_waiting
        self._model_thread = ThreadPoolExecutor(1, thread_name_prefix="hanlin-model")
        # The tokenizer keeps a switch (special tokens or not) between calls, so only one thread may use it.
        self._tokenizer_thread = ThreadPoolExecutor(1, thread_name_prefix="hanlin-tokenizer")
        self._jobs: set[Job] = set()
        self._jobs_lock = threading.Lock()

    async def encode(self, work: Callable[[], Value]) -> Value:
        """Run a tokenizer's work beside the event loop, so that a long prompt delays nobody's stream."""
        return await asyncio.get_running_loop().run_in_executor(self._tokenizer_thread, work)

    def start(self, prompt: list[int], sampling: Sampling) -> Job:
        """Queue a reply to prompt ids. Raises ApiError 429 when too many wait already."""
        job = Job(lambda: stream(self._loaded, prompt, sampling))
        with self._jobs_lock:
            if len(self._jobs) > self._max_waiting:
                raise ApiError(429, f"{self._max_waiting} requests wait already; try again soon.", code="queue_full")
            self._jobs.add(job)
        job.submit(self._model_thread, self._done)
        return job

    @property
    def num_jobs(self) -> int:
        """Replies being made or waiting."""
        return len(self._jobs)

    def close(self) -> None:
        """Stop all replies and the threads."""
        with self._jobs_lock:
            jobs = list(self._jobs)
        for job in jobs:
            job.cancel()
        self._model_thread.shutdown()
        self._tokenizer_thread.shutdown()

    def _done(self, job: Job) -> None:
        with self._jobs_lock:
            self._jobs.discard(job)
