"""Beam search: the likeliest texts as a whole, several kept side by side. Sutskever et al. 2014,
https://arxiv.org/abs/1409.3215, section 3.2; groups that differ: Vijayakumar et al. 2016,
https://arxiv.org/abs/1610.02424. A text's score is Σ log P / length^length_penalty (Wu et al. 2016,
https://arxiv.org/abs/1609.08144, in transformers' form), and when to stop is transformers' choice.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch

from hanlin.core.generate.continuations import Continuations
from hanlin.core.generate.strategies.largest import largest
from hanlin.core.generate.strategies.softmax import log_probabilities
from hanlin.core.model.pretrained import Pretrained

EarlyStopping = bool | Literal["never"]
"""True: stop with as many finished texts as beams. False: when the best unfinished one, as short as it is, is no better
than the worst of them. "never": when it could not be even at full length."""


@dataclass(frozen=True)
class Beam:
    """A reply's ids, the stop token included, and its score."""

    ids: tuple[int, ...]
    score: float


@torch.inference_mode()
def beam_search(
    loaded: Pretrained,
    prompt: Sequence[int],
    num_beams: int,
    length_penalty: float = 1.0,
    max_tokens: int = 256,
    num_groups: int = 1,
    diversity_penalty: float = 0.0,
    num_returned: int = 1,
    early_stopping: EarlyStopping = False,
) -> list[Beam]:
    """The best replies, best first.

    num_groups: num_beams are divided among them; at each place a token costs `diversity_penalty` (in the score, too)
    for each beam of the groups before that has it there. Raises HanlinError where `Continuations` does.
    """
    assert num_beams % num_groups == 0 and num_returned <= num_beams, "checked in Search"
    texts = Continuations(loaded, prompt, max_tokens)
    rules = Rules(num_beams // num_groups, length_penalty, early_stopping, texts.budget, loaded.stop_ids)
    groups = [Group(rules) for _ in range(num_groups)]
    logits_BV = texts.logits(texts.begun_TC[-1:]).repeat(num_groups, 1)
    texts.select([0] * num_groups)
    while going := [group for group in groups if not group.done]:
        rows = _advance(going, log_probabilities(logits_BV), diversity_penalty)
        tokens = [text.ids[-1] for group in going if not group.done for text in group.running]
        if tokens:
            texts.select(rows)
            logits_BV = texts.logits(texts.read(tokens))
    finished = [beam for group in groups for beam in group.finished]
    return sorted(finished, key=lambda beam: -beam.score)[:num_returned]


def _advance(groups: Sequence[Group], log_probabilities_BV: torch.Tensor, diversity_penalty: float) -> list[int]:
    """One token more for each group, whose beams are rows one after the other. Returns the rows that those who are not
    done go on from."""
    rows, first = [], 0
    times_V = torch.zeros_like(log_probabilities_BV[0])
    for group in groups:
        size = len(group.running)
        parents = group.advance(log_probabilities_BV[first : first + size] - diversity_penalty * times_V)
        if not group.done:
            rows += [first + parent for parent in parents]
        chosen = times_V.new_tensor([text.ids[-1] for text in group.running], dtype=torch.long)
        times_V.index_add_(0, chosen, torch.ones_like(times_V[chosen]))
        first += size
    return rows


class Rules(NamedTuple):
    """size: beams in a group. budget: tokens a text may have."""

    size: int
    length_penalty: float
    early_stopping: EarlyStopping
    budget: int
    stop_ids: Collection[int]

    def score(self, log_probability: float, length: int) -> float:
        return log_probability / length**self.length_penalty


class Group:
    """Beams that compete with each other. running: texts that go on, best first, `score` the sum of log P."""

    def __init__(self, rules: Rules):
        self._rules = rules
        self.running = [Beam((), 0.0)]
        self.finished: list[Beam] = []
        self.done = False

    def advance(self, log_probabilities_GV: torch.Tensor) -> list[int]:
        """Choose the next tokens, given those of each running text. Returns which text each goes on from."""
        rules, V = self._rules, log_probabilities_GV.shape[1]
        sums = log_probabilities_GV.new_tensor([text.score for text in self.running])
        totals = (log_probabilities_GV + sums[:, None]).flatten()
        # So many that, whichever of them end, enough go on.
        look = max(2, 1 + len(rules.stop_ids)) * rules.size
        best, places = (found.tolist() for found in largest(totals, min(look, len(totals))))
        length = len(self.running[0].ids) + 1
        going: list[tuple[int, Beam]] = []
        for rank, (total, place) in enumerate(zip(best, places)):
            parent, token = divmod(place, V)
            text = Beam((*self.running[parent].ids, token), total)
            if token not in rules.stop_ids:
                going.append((parent, text))
            if rank < rules.size and (token in rules.stop_ids or length == rules.budget):
                self.finished.append(Beam(text.ids, rules.score(total, length)))
        self.finished = sorted(self.finished, key=lambda beam: -beam.score)[: rules.size]
        going = going[: rules.size]
        self.running = [text for _, text in going]
        self.done = length == rules.budget or not going or self._cannot_improve(length)
        return [parent for parent, _ in going]

    def _cannot_improve(self, length: int) -> bool:
        rules = self._rules
        if len(self.finished) < rules.size:
            return False
        if rules.early_stopping is True:
            return True
        at_full_length = rules.early_stopping == "never" and rules.length_penalty > 0
        possible = rules.score(self.running[0].score, rules.budget if at_full_length else length)
        return possible <= self.finished[-1].score
