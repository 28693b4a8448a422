"""Forward passes over texts that differ in length, and what they leave: blocks, states, beginnings to be found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from hanlin.core.generate.blocks import Blocks
from hanlin.core.generate.capacity import cache_blocks
from hanlin.core.generate.options import EngineOptions
from hanlin.core.generate.paged import Batch, Memory
from hanlin.core.generate.snapshots import Snapshots, States
from hanlin.core.generate.text import Text
from hanlin.core.model.adapters.switched import Assigned
from hanlin.core.model.encoder_decoder import EncoderDecoder
from hanlin.core.model.pretrained import Pretrained


class Passes:
    """One model, its cache, and who has read how far."""

    def __init__(self, loaded: Pretrained, options: EngineOptions, assigned: Assigned):
        self.model: Any = loaded.model
        self.reads_sources = isinstance(loaded.model, EncoderDecoder)
        """Whether the model reads the prompt apart from what it writes."""
        self.blocks = Blocks(cache_blocks(self.model, loaded.context, options), options.block_tokens)
        self.memory = Memory(self.model, self.blocks.num_blocks, options.block_tokens, options.cache)
        self._assigned = assigned
        self._snapshots = Snapshots()
        self._shares = options.share_prefixes and not self.reads_sources

    @property
    def capacity(self) -> int:
        """Tokens the cache can hold."""
        return self.blocks.num_blocks * self.blocks.block_tokens

    def needed(self, num_tokens: int) -> int:
        """Blocks for so many tokens; none where a text's memory doesn't grow."""
        return 0 if self.memory.recurrent else self.blocks.needed(num_tokens)

    def found(self, prompt: Sequence[int], adapter: str) -> list[int]:
        """Blocks in which the prompt begins, held from now on. Its last token is read in any case."""
        return self.blocks.find(prompt[:-1], adapter) if self._shares and not self.memory.recurrent else []

    def begin(self, text: Text, found: list[int]) -> None:
        """What is known of a text already becomes its own."""
        text.blocks, text.named = found, len(found)
        text.length = len(found) * self.blocks.block_tokens
        text.states = self.memory.empty_states()
        if self._shares and self.memory.recurrent:
            known = self._snapshots.find(text.ids[:-1], text.ticket.adapter)
            text.length, text.states = known or (0, text.states)

    def end(self, text: Text) -> None:
        """Free what a text holds."""
        self.blocks.release(text.blocks)
        text.blocks, text.states, text.source = [], [], None

    def read(self, texts: Sequence[Text], new: Sequence[Sequence[int]]) -> torch.Tensor:
        """Read as many new tokens of each text; their normed states (B, T, C)."""
        T = len(new[0])
        for text in texts:
            while len(text.blocks) < self.needed(text.length + T):
                text.blocks.append(self.blocks.take(text.blocks[-1] if text.blocks else None))
        batch = Batch(self.memory, texts, T)
        ids_BT = torch.tensor([list(ids) for ids in new], device=self.memory.device)
        self.assign(texts)
        hidden_BTC = self._with_sources(texts, ids_BT) if self.reads_sources else self.model.hidden(ids_BT, batch)
        batch.keep_states()
        for text in texts:
            text.length += T
            self._share(text)
        return hidden_BTC

    def head(self, texts: Sequence[Text], states: torch.Tensor) -> torch.Tensor:
        """Logits of the texts' normed states, (B, …, C) → (B, …, V)."""
        self.assign(texts)
        return self.model.head(states)

    def assign(self, texts: Sequence[Text]) -> None:
        """Say which adapters belong to the rows that the model is about to read."""
        self._assigned.assign([text.ticket.adapter for text in texts])

    def chunk_end(self, text: Text, budget: int) -> int:
        """How far a prompt is read with so many tokens. A recurrent state can't be taken back a token, so it is kept
        where the same prompt would come by again: before its last."""
        last = len(text.ids) - 1
        end = min(text.length + budget, len(text.ids))
        return min(end, last) if self.memory.recurrent and text.length < last else end

    def take_back(self, text: Text, length: int, states: States) -> None:
        """Forget wrong guesses, read after the text was `length` tokens long with `states`. Keys are written over; a
        recurrent state is the old one, and reads the right ones again."""
        known = len(text.ids) - 1
        if text.length > known and self.memory.recurrent:
            text.length, text.states = length, states
            if length < known:
                self.read([text], [text.ids[length:known]])
        text.length = min(text.length, known)
        self._share(text)

    def _with_sources(self, texts: Sequence[Text], ids_BT: torch.Tensor) -> torch.Tensor:
        """One text after the other: each looks at a source of its own length."""
        model, states = self.model, []
        assert isinstance(model, EncoderDecoder)
        for text, ids_T in zip(texts, ids_BT):
            self.assign([text])
            if text.source is None:
                text.source = model.encode(torch.tensor([text.ticket.prompt], device=self.memory.device))
            states.append(model.hidden(ids_T[None], text.source, Batch(self.memory, [text], len(ids_T))))
        return torch.cat(states)

    def _share(self, text: Text) -> None:
        """Let others find what has been read."""
        if not self._shares or text.length > len(text.ids):
            return
        if self.memory.recurrent:
            if text.length < len(text.ticket.prompt):
                self._snapshots.keep(text.ids[: text.length], text.states, text.ticket.adapter)
            return
        whole = text.length // self.blocks.block_tokens
        if whole > text.named:
            self.blocks.name(text.blocks, text.ids[: text.length], text.named, text.ticket.adapter)
            text.named = whole
