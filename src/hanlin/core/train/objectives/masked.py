"""Masked language modelling: guess the hidden tokens of a text from both sides. Devlin et al. 2018,
https://arxiv.org/abs/1810.04805, section 3.1.

15 % of a row's tokens are chosen. Of these 80 % are replaced by the mask token, 10 % by a random token, 10 % stay as
they are: the model can't tell which of the tokens it sees are right. The loss is −Σ log p(token) over the chosen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from hanlin.core.model.cross_entropy import CrossEntropy
from hanlin.core.train.batch import IGNORED, Batch

MASKED, RANDOM = 0.8, 0.1
"""Shares of the chosen tokens; the rest stays."""


@dataclass(frozen=True)
class Masked:
    """`extras["present"]`: bool (B, T), False for padding."""

    cross_entropy: CrossEntropy = CrossEntropy()

    def __call__(self, model: Any, batch: Batch) -> torch.Tensor:
        """The sum over the batch's chosen tokens, in nats. The head works on these alone."""
        return self.cross_entropy(model, model.states(batch.ids_BT, batch.extras["present"]), batch.targets_BT)


@dataclass(frozen=True)
class Masking:
    """mask_id: the mask token. ordinary_V: bool, the tokens that may be chosen, and put in others' places: all but
    special ones and padding. share: of a row's ordinary tokens."""

    mask_id: int
    ordinary_V: torch.Tensor
    share: float = 0.15


def mask_tokens(
    ids_BT: torch.Tensor,
    present_BT: torch.Tensor,
    masking: Masking,
    random: np.random.Generator,
    rows: tuple[int, ...] = (),
) -> Batch:
    """Hide tokens of each row: the rounded share, at least one where the row has an ordinary token."""
    choosable_BT = masking.ordinary_V[ids_BT] & present_BT
    draws_BT = torch.from_numpy(random.random(ids_BT.shape)).masked_fill(~choosable_BT, 2.0)
    place_BT = draws_BT.argsort(dim=-1, stable=True).argsort(-1)  # each token's place in a random order of its row
    wanted_B = (choosable_BT.sum(-1).double() * masking.share).round().clamp(min=1)
    chosen_BT = choosable_BT & (place_BT < wanted_B[:, None])
    kind_BT = torch.from_numpy(random.random(ids_BT.shape))
    ordinary_N = masking.ordinary_V.nonzero()[:, 0]
    others_BT = ordinary_N[torch.from_numpy(random.integers(len(ordinary_N), size=ids_BT.shape))]
    seen_BT = torch.where(chosen_BT & (kind_BT < MASKED), masking.mask_id, ids_BT)
    swapped_BT = chosen_BT & (kind_BT >= MASKED) & (kind_BT < MASKED + RANDOM)
    targets_BT = torch.where(chosen_BT, ids_BT, IGNORED)
    return Batch(torch.where(swapped_BT, others_BT, seen_BT), targets_BT, rows, extras={"present": present_BT})
