"""AdamW whose moments are 8-bit codes: 2.03 bytes a parameter instead of 8. Dettmers et al. 2021,
https://arxiv.org/abs/2110.02861; AdamW: Loshchilov & Hutter 2017, https://arxiv.org/abs/1711.05101.

    m ← β₁·m + (1 − β₁)·g;  v ← β₂·v + (1 − β₂)·g²
    W ← W·(1 − η·decay) − η/(1 − β₁ᵗ) · m / (√v/√(1 − β₂ᵗ) + ε)

Between steps m and v are dynamic codes with one range for 256 neighbours (core/model/blockwise.py), as in bitsandbytes'
AdamW8bit. Tensors of fewer than 4,096 numbers keep float32: they cost nothing, and norms are sensitive.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from hanlin.core.model.blockwise import BLOCK, dequantize, num_blocks, quantize

RATE = 0.003
SMALLEST_IN_CODES = 4096
PIECE_ON_CPU, PIECE = 2**17, 2**24
"""Numbers worked on at a time, whole blocks. On a CPU what they need fits its cache; a GPU wants long pieces."""


def new_state(weight: torch.Tensor) -> dict[str, torch.Tensor]:
    """Both moments 0. `first` and `second` are codes, of the weight's shape, where there are ranges beside them."""
    if weight.numel() < SMALLEST_IN_CODES:
        return {"first": torch.zeros_like(weight), "second": torch.zeros_like(weight)}
    blocks = num_blocks(weight.numel())
    return {
        "first": torch.zeros(weight.shape, dtype=torch.uint8, device=weight.device),
        "first_ranges": torch.zeros(blocks, dtype=torch.float32, device=weight.device),
        "second": torch.zeros(weight.shape, dtype=torch.uint8, device=weight.device),
        "second_ranges": torch.zeros(blocks, dtype=torch.float32, device=weight.device),
    }


def step(
    weights: list[torch.Tensor],
    gradients: list[torch.Tensor],
    states: list[dict[str, torch.Tensor]],
    rate: float,
    num_steps: int,
    weight_decay: float,
    betas: tuple[float, float],
    eps: float,
) -> None:
    """One step, in place. num_steps counts from 1. Beside the states a CPU needs a few megabytes."""

    def move(weight: torch.Tensor, gradient: torch.Tensor, m: torch.Tensor, v: torch.Tensor) -> None:
        m.mul_(betas[0]).add_(gradient, alpha=1 - betas[0])
        v.mul_(betas[1]).addcmul_(gradient, gradient, value=1 - betas[1])
        size = v.sqrt().div_(math.sqrt(1 - betas[1] ** num_steps)).add_(eps)
        weight.mul_(1 - rate * weight_decay)
        weight.addcdiv_(m, size, value=-rate / (1 - betas[0] ** num_steps))

    for weight, gradient, state in zip(weights, gradients, states):
        if "first_ranges" in state:
            _move_in_pieces(weight, gradient, state, move)
        else:
            move(weight, gradient, state["first"], state["second"])


def _move_in_pieces(
    weight: torch.Tensor, gradient: torch.Tensor, state: dict[str, torch.Tensor], move: Callable[..., None]
) -> None:
    """`move` with the moments of a piece at a time out of their codes, and back into them."""
    weight_whole = weight.contiguous()
    size = PIECE_ON_CPU if weight.device.type == "cpu" else PIECE
    pieces = zip(
        weight_whole.view(-1).split(size),
        gradient.reshape(-1).split(size),
        state["first"].view(-1).split(size),
        state["first_ranges"].split(size // BLOCK),
        state["second"].view(-1).split(size),
        state["second_ranges"].split(size // BLOCK),
    )
    for weight_n, gradient_n, first_n, first_ranges, second_n, second_ranges in pieces:
        m_n = dequantize(first_n, first_ranges, signed=True)
        v_n = dequantize(second_n, second_ranges, signed=False)
        move(weight_n, gradient_n, m_n, v_n)
        _store(quantize(m_n, signed=True), first_n, first_ranges)
        _store(quantize(v_n, signed=False), second_n, second_ranges)
    if weight_whole is not weight:
        weight.copy_(weight_whole)


def _store(found: tuple[torch.Tensor, torch.Tensor], codes_n: torch.Tensor, ranges: torch.Tensor) -> None:
    codes_n.copy_(found[0])
    ranges.copy_(found[1])
