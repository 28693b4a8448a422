"""The replies to one request, made at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from hanlin.core.generate.reply import Piece
from hanlin.use.serve.backend import Job

Item = tuple[int, Piece] | Exception | None


class Together:
    """Several jobs as one stream, each piece with its job's number. What one of them meets ends them all.

    num_each: how many jobs in a row have the same prompt.
    """

    def __init__(self, jobs: Sequence[Job], num_each: int = 1):
        self.jobs, self._num_each = jobs, num_each

    async def pieces(self) -> AsyncIterator[tuple[int, Piece]]:
        """As they are made; ends early when cancelled. Raises what the first that fails met."""
        try:
            if len(self.jobs) == 1:
                async for piece in self.jobs[0].pieces():
                    yield 0, piece
            else:
                async for item in self._interleaved():
                    yield item
        finally:
            self.cancel()

    def end(self, number: int) -> None:
        """One reply has said enough."""
        self.jobs[number].cancel()

    def cancel(self) -> None:
        for job in self.jobs:
            job.cancel()

    @property
    def num_shared(self) -> int:
        """Prompt tokens that were known already: of each prompt, by the job that found fewest, for it read the rest."""
        shared, each = [job.num_shared for job in self.jobs], self._num_each
        return sum(min(shared[first : first + each]) for first in range(0, len(shared), each))

    async def _interleaved(self) -> AsyncIterator[tuple[int, Piece]]:
        items: asyncio.Queue[Item] = asyncio.Queue()
        readers = [asyncio.create_task(_read(number, job, items)) for number, job in enumerate(self.jobs)]
        left = len(readers)
        try:
            while left:
                item = await items.get()
                if isinstance(item, Exception):
                    raise item
                if item is None:
                    left -= 1
                else:
                    yield item
        finally:
            for reader in readers:
                reader.cancel()


async def _read(number: int, job: Job, items: asyncio.Queue[Item]) -> None:
    try:
        async for piece in job.pieces():
            items.put_nowait((number, piece))
        items.put_nowait(None)
    except Exception as error:  # whatever it is, who reads the stream is told
        items.put_nowait(error)
