"""Rotary position embedding. Su et al. 2021, https://arxiv.org/abs/2104.09864, in the half-split layout of Llama and
Qwen."""

from __future__ import annotations

import torch


def rotation_tables(max_positions: int, head_width: int, theta: float) -> tuple[torch.Tensor, torch.Tensor]:
    """cos and sin of position · theta^(−2i/D), each (max_positions, D/2) in float32.

    On the CPU even inside `torch.device("meta")`: a model without weights yet still has its angles.
    """
    frequencies = 1.0 / theta ** (torch.arange(0, head_width, 2, dtype=torch.float32, device="cpu") / head_width)
    angles = torch.outer(torch.arange(max_positions, dtype=torch.float32, device="cpu"), frequencies)
    return angles.cos(), angles.sin()


def rotate(x_BTHD: torch.Tensor, cos_T1D: torch.Tensor, sin_T1D: torch.Tensor) -> torch.Tensor:
    """Turn each pair (x_i, x_{i + D/2}) by its position's angle. Tables are (T, 1, D/2) in x's dtype."""
    first, second = x_BTHD.chunk(2, dim=-1)
    return torch.cat((first * cos_T1D - second * sin_T1D, second * cos_T1D + first * sin_T1D), dim=-1)
