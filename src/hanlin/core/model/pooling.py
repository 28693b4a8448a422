"""States of tokens → one vector a text. Reimers & Gurevych 2019 (Sentence-BERT), https://arxiv.org/abs/1908.10084.

A sentence embedding is `unit(mean(states, present))`, or `unit(first(…))` where the model was trained so (BGE): the
dot product of two is the cosine of their angle. present_BT: bool, False for padding; None when there is none.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


def mean(states_BTC: torch.Tensor, present_BT: torch.Tensor | None = None) -> torch.Tensor:
    """The mean of the real tokens' states, (B, T, C) → (B, C); zeros for a row that is all padding."""
    if present_BT is None:
        return states_BTC.mean(dim=1)
    sum_BC = states_BTC.masked_fill(~present_BT[..., None], 0).sum(dim=1)
    return sum_BC / present_BT.sum(dim=1, keepdim=True).clamp(min=1)


def first(states_BTC: torch.Tensor, present_BT: torch.Tensor | None = None) -> torch.Tensor:
    """The state of the first real token, [CLS] in BERT: (B, T, C) → (B, C)."""
    if present_BT is None:
        return states_BTC[:, 0]
    rows_B = torch.arange(len(states_BTC), device=states_BTC.device)
    return states_BTC[rows_B, present_BT.int().argmax(dim=1)]


def unit(vectors_BC: torch.Tensor) -> torch.Tensor:
    """v / ‖v‖₂; zeros stay zeros."""
    return F.normalize(vectors_BC, dim=-1)
