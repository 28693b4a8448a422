"""A user's own preference for single tokens: OpenAI's `logit_bias`,
https://platform.openai.com/docs/api-reference/chat/create."""

from __future__ import annotations

from collections.abc import Mapping

import torch


def add(logits_V: torch.Tensor, biases: Mapping[int, float]) -> torch.Tensor:
    """z_i + b_i; ids the vocabulary doesn't have say nothing."""
    known = {token: number for token, number in biases.items() if 0 <= token < len(logits_V)}
    ids = torch.tensor(list(known), dtype=torch.int64, device=logits_V.device)
    numbers = torch.tensor(list(known.values()), dtype=logits_V.dtype, device=logits_V.device)
    return logits_V.index_put((ids,), numbers, accumulate=True)
