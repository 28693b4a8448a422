"""Several continuations of one prompt, read side by side: what searches over whole texts stand on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from hanlin.core.generate.capacity import refuse_unfit
from hanlin.core.model.cross_attention import Source
from hanlin.core.model.encoder_decoder import EncoderDecoder
from hanlin.core.model.pretrained import Pretrained
from hanlin.core.run.errors import HanlinError


class Continuations:
    """A prompt that has been read, as one row; `select` makes more of it. Used under inference mode.

    budget: tokens a continuation may have. begun_TC: the normed states of what they begin with: the prompt, or the
    start token of an encoder-decoder, which reads the prompt apart.
    Raises HanlinError for a model that doesn't write text and for a prompt that leaves no room.
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
        self._model: Any = loaded.model
        self._device = loaded.model.embed_tokens.weight.device
        self._source: Source | None = None
        begun = list(prompt)
        if isinstance(self._model, EncoderDecoder):
            self._source = self._model.encode(torch.tensor([begun], device=self._device))
            begun = [loaded.start_id]
        self.budget = min(max_tokens, loaded.context - len(begun))
        self._cache = self._model.new_cache(1, len(begun) + self.budget)
        self.begun_TC = self._hidden(torch.tensor([begun], device=self._device))[0]

    def select(self, rows: Sequence[int]) -> None:
        """Row b becomes what row `rows[b]` was."""
        self._cache.select(torch.tensor(rows, device=self._device))
        if self._source is not None and len(self._source.states_BSC) != len(rows):
            self._source = Source(self._source.states_BSC[:1].expand(len(rows), -1, -1))

    def read(self, tokens: Sequence[int]) -> torch.Tensor:
        """The next token of each row; their normed states (B, C)."""
        return self._hidden(torch.tensor(tokens, device=self._device)[:, None])[:, -1]

    def _hidden(self, ids_BT: torch.Tensor) -> torch.Tensor:
        if self._source is None:
            return self._model.hidden(ids_BT, self._cache)
        return self._model.hidden(ids_BT, self._source, self._cache)

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
