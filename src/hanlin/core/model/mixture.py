"""Mixtures of experts: a router sends each token to the best k of E feed-forward layers. Shazeer et al. 2017,
https://arxiv.org/abs/1701.06538; without noise, as in Mixtral: Jiang et al. 2024, https://arxiv.org/abs/2401.04088."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


class Mixture(nn.Module):
    """Σ p_e·expert_e(x) over the `top_k` experts e with the largest p = softmax(x·W_router), (B, T, C) → (B, T, C).

    normalised: the p of the chosen are divided by their sum, as if the softmax knew no other experts (Shazeer 2017,
    eq. 3). Raises ValueError for a `top_k` outside 1 … E.
    """

    def __init__(self, width: int, experts: Sequence[nn.Module], top_k: int, normalised: bool = True):
        super().__init__()
        if not 1 <= top_k <= len(experts):
            raise ValueError(f"{top_k} experts a token (there are {len(experts)})")
        self.router = nn.Linear(width, len(experts), bias=False)
        self.experts = nn.ModuleList(experts)
        self.top_k, self.normalised = top_k, normalised
        self.run_expert = plain_expert

    def forward(self, x_BTC: torch.Tensor) -> torch.Tensor:
        x_NC = x_BTC.flatten(0, -2)
        weights_Nk, chosen_Nk = self.route(x_NC)
        y_NC = torch.zeros_like(x_NC)
        for number in chosen_Nk.unique().tolist():  # an expert nobody chose does no work and gets no gradient
            tokens, places = (chosen_Nk == number).nonzero(as_tuple=True)
            weighted = self.run_expert(self.experts[number], x_NC, tokens) * weights_Nk[tokens, places, None]
            y_NC = y_NC.index_add(0, tokens, weighted.to(y_NC.dtype))
        return y_NC.view_as(x_BTC)

    def route(self, x_NC: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Weights (float32, whatever x is) and numbers of each token's experts, (N, top_k) each, the best first."""
        shares_NE = self.router(x_NC).softmax(-1, dtype=torch.float32)
        weights_Nk, chosen_Nk = shares_NE.topk(self.top_k)
        if self.normalised:
            weights_Nk = weights_Nk / weights_Nk.sum(-1, keepdim=True)
        return weights_Nk, chosen_Nk


def plain_expert(expert: nn.Module, x_NC: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """How an expert reads its tokens, whose numbers ascend; adapters that differ from row to row need another way."""
    return expert(x_NC[tokens])
