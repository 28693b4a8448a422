"""Soft caps: cap·tanh(x/cap) keeps numbers inside (−cap, cap). Gemma team 2024, https://arxiv.org/abs/2408.00118."""

from __future__ import annotations

import torch

from hanlin.core.model.attention import Attend


def soft_cap(x: torch.Tensor, cap: float) -> torch.Tensor:
    return torch.tanh(x / cap) * cap


def capped_attention(cap: float) -> Attend:
    """Attention whose scores are capped before the mask. No fused kernel does this, so the scores are held."""

    def attend(
        q_BHTD: torch.Tensor,
        k_BHSD: torch.Tensor,
        v_BHSD: torch.Tensor,
        mask: torch.Tensor | None,
        causal: bool,
        scale: float,
    ) -> torch.Tensor:
        scores_BHTS = soft_cap(q_BHTD @ k_BHSD.mT * scale, cap)
        if causal:
            T, S = scores_BHTS.shape[-2:]
            mask = torch.ones(T, S, dtype=torch.bool, device=scores_BHTS.device).tril()
        if mask is not None:
            scores_BHTS = scores_BHTS.masked_fill(~mask, -torch.inf)
        return scores_BHTS.softmax(-1, dtype=torch.float32).to(q_BHTD.dtype) @ v_BHSD

    return attend
