"""One text that the engine is reading or writing, and the ticket by which its owner knows it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Protocol

import torch

from hanlin.core.generate.reply import Piece, Reply
from hanlin.core.generate.sampling import Sampler, Sampling
from hanlin.core.model.adapters.switched import BASE
from hanlin.core.model.cross_attention import Source


class Constraint(Protocol):
    """What may come next, whatever the model thinks."""

    def allowed(self) -> torch.Tensor | None:
        """(V,) bool; None for all. May be asked in another thread, while nothing is accepted."""
        ...

    def accept(self, token: int) -> None: ...

    def rollback(self, num_tokens: int) -> None: ...


@dataclass
class Times:
    """Of a request, in seconds of `time.monotonic`; 0 for what has not come yet. begun: it left the line. first, ended:
    its first token and its last."""

    asked: float = field(default_factory=monotonic)
    begun: float = 0.0
    first: float = 0.0
    ended: float = 0.0


@dataclass(eq=False)
class Ticket:
    """A request's own end: pieces of its reply as they come, and what was done for it.

    adapter: the one asked for, by name. num_shared: prompt tokens that were known already. num_drafted, num_accepted:
    guessed tokens, and right ones.
    constraint: of its form, once it is known.
    """

    prompt: list[int]
    sampling: Sampling
    client: str = ""
    adapter: str = BASE
    pieces: deque[Piece] = field(default_factory=deque)
    error: Exception | None = None
    done: bool = False
    num_shared: int = 0
    num_drafted: int = 0
    num_accepted: int = 0
    times: Times = field(default_factory=Times)
    constraint: Constraint | None = None

    def end(self, error: Exception | None = None) -> None:
        self.error, self.done, self.times.ended = error, True, monotonic()


@dataclass(eq=False)
class Text:
    """The engine's end. ids: prompt and reply; the first `length` are cached, in `blocks` and `states`.

    reserved: blocks it may come to hold. named: blocks that others can find. source: what an encoder-decoder has read;
    then `ids` are the start token and the reply.
    """

    ticket: Ticket
    ids: list[int]
    sampler: Sampler
    reply: Reply
    constraint: Constraint | None
    reserved: int
    blocks: list[int] = field(default_factory=list)
    states: list[list[torch.Tensor]] = field(default_factory=list)
    length: int = 0
    named: int = 0
    source: Source | None = None

    @property
    def unread(self) -> Sequence[int]:
        return self.ids[self.length :]
