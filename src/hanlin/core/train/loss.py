"""Cross-entropy over trained tokens, as a sum. The loop divides by the global batch's number of trained tokens."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from hanlin.core.model.decoder import Decoder
from hanlin.core.train.batch import IGNORED


def next_token_loss(model: Decoder, x_BTC: torch.Tensor, targets_BT: torch.Tensor) -> torch.Tensor:
    """−Σ log p(target) in nats, for embeddings (B, T, C) and targets (B, T); IGNORED targets count nothing.

    It takes embeddings, not ids: the gathering of rows stays outside the compiled part, whose scattered atomic
    additions would make two equal runs differ in their last bits.
    """
    logits_NV = model.head(model.after_embedding(x_BTC)).flatten(0, 1)
    return F.cross_entropy(logits_NV.float(), targets_BT.flatten(), ignore_index=IGNORED, reduction="sum")
