"""No position at all: a causal decoder can infer order from what it sees. Haviv et al. 2022, https://arxiv.org/abs/2203.16634;
Kazemnejad et al. 2023 (NoPE), https://arxiv.org/abs/2305.19466."""

from __future__ import annotations

import torch

from hanlin.core.model.reading import Reading


class NoPosition:
    """Queries and keys as they are; the mask of the reading."""

    def turn(self, q_BTHD: torch.Tensor, k_BTKD: torch.Tensor, reading: Reading) -> tuple[torch.Tensor, torch.Tensor]:
        return q_BTHD, k_BTKD

    def mask(self, reading: Reading, window: int | None, dtype: torch.dtype) -> torch.Tensor | None:
        return reading.mask(window)
