"""What guessing ahead does to one text: each pass of the model, what was guessed for it, and what of that stood."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

from hanlin.core.generate.engine import Engine
from hanlin.core.generate.options import EngineOptions
from hanlin.core.generate.sampling import Sampling
from hanlin.core.generate.speculate import Draft, Speculator
from hanlin.core.generate.text import Text
from hanlin.core.model.pretrained import Pretrained


@dataclass(frozen=True)
class Pass:
    """One pass of the model: token ids guessed for it, and those it wrote; the guesses that stood come first."""

    guessed: list[int]
    written: list[int]

    @property
    def num_stood(self) -> int:
        pairs = zip(self.guessed, self.written)
        return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


@dataclass(frozen=True)
class Writing:
    """A whole reply, pass by pass. seconds: from its first token to its last."""

    passes: list[Pass]
    seconds: float

    @property
    def tokens(self) -> list[int]:
        return [token for one in self.passes for token in one.written]

    @property
    def num_guessed(self) -> int:
        return sum(len(one.guessed) for one in self.passes)

    @property
    def num_stood(self) -> int:
        return sum(one.num_stood for one in self.passes)


def watch(loaded: Pretrained, prompt: Sequence[int], sampling: Sampling, options: EngineOptions) -> Writing:
    """Write a reply to the prompt, alone, and look on. Raises HanlinError as the engine does."""
    engine = Engine(loaded, alone(loaded, prompt, sampling, options))
    noted = Noted(engine.speculator) if engine.speculator else None
    engine.speculator = noted
    ticket, passes, seconds = engine.submit(prompt, sampling), list[Pass](), 0.0
    while not ticket.done:
        began, before = time.perf_counter(), len(ticket.pieces)
        engine.step()
        seconds += time.perf_counter() - began if passes else 0.0
        written = [piece.token for piece in list(ticket.pieces)[before:]]
        if written:
            passes += _passes(noted.guesses() if noted else [], written, is_first=not passes)
    engine.close()
    if ticket.error is not None:
        raise ticket.error
    return Writing(passes, seconds)


def alone(loaded: Pretrained, prompt: Sequence[int], sampling: Sampling, options: EngineOptions) -> EngineOptions:
    """The options for one text: a cache just large enough, unless one was asked for."""
    most = min(loaded.context, len(prompt) + sampling.max_tokens)
    return options.model_copy(update={"max_streams": 1, "cache_tokens": options.cache_tokens or most})


def _passes(guessed: list[int], written: list[int], is_first: bool) -> Iterator[Pass]:
    """Of one step. In its first one a prompt's last pass writes a token, and another pass may follow at once."""
    if is_first:
        yield Pass([], written[:1])
        written = written[1:]
    if written:
        yield Pass(guessed, written)


class Noted:
    """A speculator whose guesses are read by another as well."""

    def __init__(self, inner: Speculator):
        self._inner = inner
        self._latest: list[int] = []

    def propose(self, texts: Sequence[Text]) -> dict[Text, Draft]:
        drafts = self._inner.propose(texts)
        self._latest = [token for draft in drafts.values() for token in draft.tokens]
        return drafts

    def drop(self, text: Text) -> None:
        self._inner.drop(text)

    def guesses(self) -> list[int]:
        """Those of the latest step, once."""
        latest, self._latest = self._latest, []
        return latest
