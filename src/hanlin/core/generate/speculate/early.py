"""Guesses by the model's own first layers: its last norm and its head read what they have made so far of the text.
Zhang et al. 2024 (Draft & Verify), https://arxiv.org/abs/2309.08168; Elhoushi et al. 2024 (LayerSkip),
https://arxiv.org/abs/2404.16710, section 4.

The layers have read the text already, for the model itself, so guessing goes on from the same cache: what it writes
there is what the check of the guesses will write again.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from hanlin.core.generate.options import EngineOptions
from hanlin.core.generate.paged import Batch
from hanlin.core.generate.passes import Passes
from hanlin.core.generate.snapshots import States
from hanlin.core.generate.speculate import Draft, room
from hanlin.core.generate.speculate.writing import Guesses, write
from hanlin.core.generate.text import Text
from hanlin.core.model.pretrained import Pretrained
from hanlin.core.run.errors import HanlinError


@dataclass(eq=False)
class Ahead:
    """A text as the first layers have read it, guesses too; its blocks are the text's own."""

    length: int
    blocks: list[int]
    states: States


class Early:
    """The speculator. Nothing is kept of a text from one step to the next."""

    def __init__(self, loaded: Pretrained, options: EngineOptions, passes: Passes):
        count = num_early(len(loaded.model.layers), options.early_layers)
        self._num_draft, self._stop_ids, self._vocab_size = options.num_draft, loaded.stop_ids, loaded.model.vocab_size
        self._model, self._memory = first_layers(loaded.model, count), passes.memory.first(count)
        self._blocks, self._assign = passes.blocks, passes.assign
        self._num_states = self._memory.pages.count(None)

    def propose(self, texts: Sequence[Text]) -> dict[Text, Draft]:
        rooms = {text: count for text in texts if (count := room(text, self._num_draft))}
        if not rooms:
            return {}
        ahead = {text: self._ahead(text, count) for text, count in rooms.items()}

        def read(group: Sequence[Text], tokens: Sequence[int]) -> torch.Tensor:
            self._assign(group)
            return self._read([ahead[text] for text in group], tokens)

        guesses = [Guesses(text, count, self._stop_ids) for text, count in rooms.items()]
        logits_BV = read(list(rooms), [text.ids[-1] for text in rooms])
        return write(guesses, logits_BV, read, self._vocab_size)

    def drop(self, text: Text) -> None:
        pass

    def _ahead(self, text: Text, num_guesses: int) -> Ahead:
        assert len(text.unread) == 1, "a text that is being written has been read but for its last token"
        # The check of the guesses takes as many blocks.
        needed = 0 if self._memory.recurrent else self._blocks.needed(text.length + 1 + num_guesses)
        while len(text.blocks) < needed:
            text.blocks.append(self._blocks.take(text.blocks[-1] if text.blocks else None))
        return Ahead(text.length, text.blocks, text.states[: self._num_states])

    def _read(self, rows: Sequence[Ahead], tokens: Sequence[int]) -> torch.Tensor:
        batch = Batch(self._memory, rows, 1)
        hidden_B1C = self._model.hidden(torch.tensor(tokens, device=self._memory.device)[:, None], batch)
        batch.keep_states()
        for row in rows:
            row.length += 1
        return self._model.head(hidden_B1C[:, 0])


def first_layers(model: Any, count: int) -> Any:
    """A model of the same parameters that ends after `count` layers."""
    shallow = copy.copy(model)
    shallow._modules = dict(model._modules)  # a copied module shares this with the one it was copied from
    shallow.layers = model.layers[:count]
    return shallow


def num_early(num_layers: int, asked: int) -> int:
    """What was asked for; a third where nothing was. Raises HanlinError where that is the whole model, or more."""
    count = asked or max(1, round(num_layers / 3))
    if count >= num_layers:
        raise HanlinError(
            f"early_layers={count}: the model has {num_layers} layers.",
            "fewer layers to guess with than to check with",
            f"engine.early_layers={max(1, num_layers // 3)}" if num_layers > 1 else "engine.speculate=lookup",
            "docs/speculate.md",
        )
    return count
