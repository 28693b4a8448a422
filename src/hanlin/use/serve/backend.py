"""What writes the replies behind the server: our engine in its thread, or another program. Prompt ids in, pieces out;
the template, the options and everything a client sees stand in front of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from hanlin.core.generate.reply import Piece
from hanlin.core.generate.sampling import Sampling
from hanlin.core.generate.text import Times
from hanlin.core.text.tokenizer import Tokenizer

Value = TypeVar("Value")


class Job(Protocol):
    """One reply being made."""

    @property
    def times(self) -> Times: ...

    @property
    def num_shared(self) -> int:
        """Prompt tokens that were known already."""
        ...

    def pieces(self) -> AsyncIterator[Piece]:
        """As they are made; ends early when cancelled. Raises what was met with this request."""
        ...

    def cancel(self) -> None:
        """Stop before the next token, or leave the line. More than once is once."""
        ...


class Backend(Protocol):
    """One model, loaded."""

    async def encode(self, work: Callable[[], Value]) -> Value:
        """Run a tokenizer's work beside the event loop: one piece of work at a time."""
        ...

    def start(self, prompt: list[int], sampling: Sampling, *, adapter: str = "", client: str = "") -> Job:
        """Begin a reply. adapter: one of those loaded; "" for none. client: who asks; clients take turns.

        Raises ApiError: 429 when too many wait, 400 for what this backend can't do.
        """
        ...

    @property
    def num_jobs(self) -> int:
        """Replies being made or waiting."""
        ...

    def close(self) -> None:
        """Stop all replies."""
        ...


class Embedder(Protocol):
    """One encoder, loaded: texts become vectors."""

    async def encode(self, work: Callable[[], Value]) -> Value:
        """As a Backend's."""
        ...

    async def embed(self, texts: Sequence[Sequence[int]]) -> np.ndarray:
        """One vector of length 1 for the ids of each text, (N, C) float32."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Served:
    """A model that writes, as clients know it.

    adapters: their names and where each lies; clients ask for one as a model. reads_whole: an encoder-decoder, to which
    a plain prompt is a whole text and not a beginning. tokenizers: of the adapters that have one of their own.
    """

    name: str
    path: Path
    tokenizer: Tokenizer
    context: int
    backend: Backend
    adapters: Mapping[str, Path] = field(default_factory=dict)
    reads_whole: bool = False
    tokenizers: Mapping[str, Tokenizer] = field(default_factory=dict)

    def tokenizer_of(self, adapter: str) -> Tokenizer:
        """The tokenizer, with the chat template that the adapter was trained with."""
        return self.tokenizers.get(adapter, self.tokenizer)


@dataclass(frozen=True)
class ServedEncoder:
    """A model that makes vectors, as clients know it. context: the longest text, in tokens."""

    name: str
    path: Path
    tokenizer: Tokenizer
    context: int
    embedder: Embedder
