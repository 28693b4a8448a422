"""Frequency and presence penalties, as OpenAI's API defines them:
https://platform.openai.com/docs/api-reference/chat/create (frequency_penalty, presence_penalty)."""

from __future__ import annotations

import torch


def penalise(logits_V: torch.Tensor, reply: torch.Tensor, frequency: float, presence: float) -> torch.Tensor:
    """z_i − c_i·frequency − [c_i > 0]·presence; c_i: how often the reply (not the prompt) has token i so far."""
    ids, counts = reply.unique(return_counts=True)
    return logits_V.index_put((ids,), -(counts * frequency + presence).to(logits_V.dtype), accumulate=True)
