"""Several continuations of one prompt, read side by side: what searches over whole texts stand on."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from hanlin.core.generate.capacity import refuse_unfit
from hanlin.core.model.pretrained import Pretrained
from hanlin.core.run.errors import HanlinError


class Continuations:
    """A prompt that has been read, as one row; `select` makes more of it. Used under inference mode.

    budget: tokens a continuation may have. prompt_TC: the prompt's normed states.
    Raises HanlinError for a model that doesn't continue text and for a prompt that leaves no room.
    """

    def __init__(self, loaded: Pretrained, prompt: Sequence[int], max_tokens: int):
        refuse_unfit(loaded)
        if not 0 < len(prompt) < loaded.context:
            raise HanlinError(
                f"The prompt has {len(prompt)} tokens.",
                f"1 to {loaded.context - 1} tokens for this model",
                "shorten the prompt",
                "docs/generate.md",
            )
        self._model = loaded.model
        self._device = loaded.model.embed_tokens.weight.device
        self.budget = min(max_tokens, loaded.context - len(prompt))
        self._cache = self._model.new_cache(1, len(prompt) + self.budget)
        self.prompt_TC = self._model.hidden(torch.tensor([list(prompt)], device=self._device), self._cache)[0]

    def select(self, rows: Sequence[int]) -> None:
        """Row b becomes what row `rows[b]` was."""
        self._cache.select(torch.tensor(rows, device=self._device))

    def read(self, tokens: Sequence[int]) -> torch.Tensor:
        """The next token of each row; their normed states (B, C)."""
        return self._model.hidden(torch.tensor(tokens, device=self._device)[:, None], self._cache)[:, -1]

    def logits(self, states_BC: torch.Tensor) -> torch.Tensor:
        """(B, V) float32. Raises HanlinError where they are not numbers."""
        logits_BV = self._model.head(states_BC).float()
        if not torch.isfinite(logits_BV).all():
            raise HanlinError(
                "The model's logits are not finite numbers.",
                "a model whose training did not diverge",
                "hanlin evaluate model=…  shows its state",
                "docs/models.md",
            )
        return logits_BV
