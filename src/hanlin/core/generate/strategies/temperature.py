"""Temperature: z/T. Below 1 the likely tokens gain, above 1 the unlikely ones. Ackley, Hinton & Sejnowski 1985,
https://doi.org/10.1207/s15516709cog0901_7."""

from __future__ import annotations

import torch

COLDEST = 1e-6
"""Below this temperature the likeliest token is all that is left, and logits divided by it would overflow."""


def divide(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """Finite above COLDEST: float32 holds any model's logits times a million."""
    return logits if temperature == 1.0 else logits / temperature
