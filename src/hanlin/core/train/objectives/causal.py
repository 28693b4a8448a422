"""The next token, −Σ log p(target): pretraining, and fine-tuning on replies alone, where all other targets are IGNORED.
Bengio et al. 2003, https://www.jmlr.org/papers/v3/bengio03a.html."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from hanlin.core.model.cross_entropy import CrossEntropy
from hanlin.core.train.batch import Batch


@dataclass(frozen=True)
class Causal:
    cross_entropy: CrossEntropy = CrossEntropy()

    def __call__(self, model: Any, batch: Batch) -> torch.Tensor:
        """The sum over the batch's trained tokens, in nats."""
        return self.cross_entropy(model, model.states(batch.ids_BT, batch.documents_BT), batch.targets_BT)
