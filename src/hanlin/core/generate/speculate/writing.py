"""Guesses written by a model that is small and fast: one token after the other, of several texts at once.

Of a greedy text each guess is the small model's likeliest token. Of any other it is drawn, with the request's own
sampling, from the small model's distribution, which goes along so that accept.py can weigh it against the large one's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import torch
import torch.nn.functional as F

from hanlin.core.generate.speculate import Draft
from hanlin.core.generate.speculate.accept import draw_from
from hanlin.core.generate.text import Text

Read = Callable[[Sequence[Text], Sequence[int]], torch.Tensor]
"""Read one more token of each of these texts; logits (B, V) behind it."""


class Guesses:
    """Of one text, as they are written; at most `room`. What depends on the text so far (penalties, a constraint) is
    done as if they stood."""

    def __init__(self, text: Text, room: int, stop_ids: Collection[int]):
        self.text, self.tokens = text, list[int]()
        self._room, self._stop_ids = room, stop_ids
        self._sampler = text.sampler.copy()
        self._shares: list[torch.Tensor] = []
        self._num_accepted = 0
        self.ended = room < 1

    def add(self, logits_V: torch.Tensor) -> None:
        """One more. Where none can be found there is none: if the model meets the same trouble, that is said then."""
        try:
            self._add(logits_V)
        except Exception:
            self.ended = True

    def draft(self) -> Draft:
        """What was guessed; the constraint is where it was before."""
        if self.text.constraint is not None and self._num_accepted:
            self.text.constraint.rollback(self._num_accepted)
        return Draft(self.tokens, torch.stack(self._shares) if self._shares else None)

    def _add(self, logits_V: torch.Tensor) -> None:
        if not torch.isfinite(logits_V.max()):
            self.ended = True
            return
        constraint = self.text.constraint
        allowed_V = None if constraint is None else constraint.allowed()
        if self._sampler.sampling.is_greedy:
            token = self._sampler.draw(logits_V, allowed_V)
        else:
            share_V = self._sampler.distribution(logits_V, allowed_V)
            token = draw_from(share_V, self._sampler.random)
            self._shares.append(share_V)
        self.tokens.append(token)
        self.ended = len(self.tokens) >= self._room or token in self._stop_ids
        if not self.ended:
            self._sampler.saw(token)
            if constraint is not None:
                constraint.accept(token)
                self._num_accepted += 1


def write(guesses: Sequence[Guesses], logits_BV: torch.Tensor, read: Read, vocab_size: int) -> dict[Text, Draft]:
    """Go on until all have ended. logits (B, V'): behind what is known of each text.

    vocab_size: of the model that checks, V; a smaller V' knows nothing of the tokens behind, a larger is cut."""
    writing = list(guesses)
    while True:
        for one, logits_V in zip(writing, fitted(logits_BV, vocab_size)):
            one.add(logits_V)
        writing = [one for one in writing if not one.ended]
        if not writing:
            drafts = {one.text: one.draft() for one in guesses}
            return {text: draft for text, draft in drafts.items() if draft.tokens}
        logits_BV = read([one.text for one in writing], [one.tokens[-1] for one in writing])


def fitted(logits_BV: torch.Tensor, vocab_size: int) -> torch.Tensor:
    missing = vocab_size - logits_BV.shape[-1]
    return logits_BV[..., :vocab_size] if missing <= 0 else F.pad(logits_BV, (0, missing), value=-torch.inf)
