"""An encoder in a thread of its own: long texts delay nobody's stream."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from hanlin.core.generate.embedding import embed_ids
from hanlin.core.model.pretrained import Pretrained

Value = TypeVar("Value")


class EncoderThread:
    """Texts of one encoder, one request after another."""

    def __init__(self, loaded: Pretrained):
        self._loaded = loaded
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hanlin-encoder")

    async def encode(self, work: Callable[[], Value]) -> Value:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def embed(self, texts: Sequence[Sequence[int]]) -> np.ndarray:
        return await self.encode(lambda: embed_ids(self._loaded, texts).numpy())

    def close(self) -> None:
        self._thread.shutdown(cancel_futures=True)
