"""Guesses by another model, much smaller, with the same tokenizer. Leviathan et al. 2023,
https://arxiv.org/abs/2211.17192. `hanlin finetune method=draft` makes one.

It reads what the large one reads, into a cache of its own, a long prompt in chunks: until it has caught up with a text
it has nothing to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from hanlin.core.generate.blocks import Blocks
from hanlin.core.generate.capacity import cache_blocks
from hanlin.core.generate.options import EngineOptions
from hanlin.core.generate.paged import Batch, Memory
from hanlin.core.generate.snapshots import States
from hanlin.core.generate.speculate import Draft, room
from hanlin.core.generate.speculate.writing import Guesses, write
from hanlin.core.generate.text import Text
from hanlin.core.model.decoder import Decoder
from hanlin.core.model.opening import open_model
from hanlin.core.model.pretrained import Pretrained
from hanlin.core.run.errors import HanlinError


@dataclass(eq=False)
class Shadow:
    """What the small model has read of a text: `read`, the first `length` tokens of which are cached.

    sure: tokens of it that are the text's own and not a guess. marks: lengths it can go back to, the states there.
    """

    read: list[int]
    blocks: list[int]
    marks: list[tuple[int, States]]
    sure: int = 0
    named: int = 0
    length: int = field(init=False)
    states: States = field(init=False)

    def __post_init__(self) -> None:
        self.length, self.states = self.marks[-1]

    def mark(self) -> None:
        self.marks.append((self.length, self.states))

    def follow(self, ids: Sequence[int]) -> None:
        """Go back to where the text became something else than was guessed."""
        while self.sure < min(len(self.read), len(ids) - 1) and self.read[self.sure] == ids[self.sure]:
            self.sure += 1
        while self.marks[-1][0] > self.sure:
            self.marks.pop()
        self.length, self.states = self.marks[-1]
        self.marks, self.sure = self.marks[-1:], self.length
        del self.read[self.length :]


class SmallModel:
    """The speculator. num_blocks: of its cache, as many as the large model's, so that there is room for the same texts;
    where there is none all the same, a text goes on without guesses."""

    def __init__(self, small: Pretrained, large: Pretrained, options: EngineOptions, num_blocks: int):
        refuse_other_kind(small)
        refuse_other_tokenizer(small, large)
        self._options, self._context = options, small.context
        self._model, self._vocab_size, self._stop_ids = small.model, large.model.vocab_size, large.stop_ids
        tokens = min(num_blocks * options.block_tokens, options.max_streams * small.context)
        as_large = options.model_copy(update={"cache_tokens": tokens})
        self._blocks = Blocks(cache_blocks(small.model, small.context, as_large), options.block_tokens)
        self._memory = Memory(small.model, self._blocks.num_blocks, options.block_tokens, options.cache)
        self._shadows: dict[Text, Shadow] = {}

    def propose(self, texts: Sequence[Text]) -> dict[Text, Draft]:
        ready: dict[int, list[Text]] = {}
        for text in texts:
            if self._room(text) and (unread := self._catch_up(text)):
                ready.setdefault(unread, []).append(text)
        drafts: dict[Text, Draft] = {}
        for unread, group in ready.items():
            logits_BV = self._read(group, [text.ids[-unread:] for text in group])
            for text in group:
                self._let_find(self._shadows[text])
            guesses = [Guesses(text, self._room(text), self._stop_ids) for text in group]
            drafts |= write(guesses, logits_BV, self._read_one, self._vocab_size)
        return drafts

    def drop(self, text: Text) -> None:
        shadow = self._shadows.pop(text, None)
        if shadow is not None:
            self._blocks.release(shadow.blocks)

    def _room(self, text: Text) -> int:
        return max(0, min(room(text, self._options.num_draft), self._context - len(text.ids)))

    def _catch_up(self, text: Text) -> int:
        """How many tokens are still unread before guesses can be written; 0 where that has to wait."""
        shadow = self._shadow(text)
        shadow.follow(text.ids)
        unread = len(text.ids) - shadow.length
        chunk = min(unread, self._options.chunk_tokens)
        if max(text.ids[-unread:]) >= self._model.vocab_size:  # an embedding may have rows that no token names
            return 0
        if not self._make_room(shadow, chunk + (self._room(text) if chunk == unread else 0)):
            return 0
        if chunk == unread:
            return unread
        self._read([text], [text.ids[shadow.length : shadow.length + chunk]])
        return 0

    def _shadow(self, text: Text) -> Shadow:
        if text not in self._shadows:
            self._shadows[text] = self._begin(text)
        return self._shadows[text]

    def _begin(self, text: Text) -> Shadow:
        found = self._blocks.find(text.ids[:-1]) if self._shares_blocks else []
        length = len(found) * self._blocks.block_tokens
        mark = (length, self._memory.empty_states())
        return Shadow(text.ids[:length], found, [mark], sure=length, named=len(found))

    @property
    def _shares_blocks(self) -> bool:
        return self._options.share_prefixes and not self._memory.recurrent

    def _let_find(self, shadow: Shadow) -> None:
        if self._shares_blocks:
            self._blocks.name(shadow.blocks, shadow.read, shadow.named)
            shadow.named = shadow.length // self._blocks.block_tokens

    def _make_room(self, shadow: Shadow, num_tokens: int) -> bool:
        needed = 0 if self._memory.recurrent else self._blocks.needed(shadow.length + num_tokens)
        while len(shadow.blocks) < needed:
            if not self._blocks.num_available:
                return False
            shadow.blocks.append(self._blocks.take(shadow.blocks[-1] if shadow.blocks else None))
        return True

    def _read_one(self, texts: Sequence[Text], tokens: Sequence[int]) -> torch.Tensor:
        return self._read(texts, [[token] for token in tokens])

    def _read(self, texts: Sequence[Text], new: Sequence[Sequence[int]]) -> torch.Tensor:
        """As many new tokens of each text; logits (B, V') behind the last."""
        shadows = [self._shadows[text] for text in texts]
        batch = Batch(self._memory, shadows, len(new[0]))
        ids_BT = torch.tensor([list(ids) for ids in new], device=self._memory.device)
        hidden_BTC = self._model.hidden(ids_BT, batch)
        batch.keep_states()
        for shadow, ids in zip(shadows, new):
            shadow.read += ids
            shadow.length += len(ids)
            shadow.mark()
        return self._model.head(hidden_BTC[:, -1])


def open_small(loaded: Pretrained, options: EngineOptions, num_blocks: int) -> SmallModel:
    """The speculator that `draft=` names."""
    if not options.draft:
        raise HanlinError(
            "speculate=draft needs a small model to guess with.",
            "engine.draft=…, a model with the same tokenizer",
            f"hanlin finetune method=draft model={loaded.path} data=… out=runs/draft  makes one",
            "docs/speculate.md",
        )
    small = open_model(options.draft, loaded.model.dtype)
    small.model.to(loaded.model.embed_tokens.weight.device)
    if options.weights != "keep":
        from hanlin.core.generate.kernels import with_weights

        small = with_weights(small, options.weights)
    return SmallModel(small, loaded, options, num_blocks)


def refuse_other_kind(small: Pretrained) -> None:
    """Raises HanlinError for what doesn't go on with a text token by token."""
    if not isinstance(small.model, Decoder):
        raise HanlinError(
            f"{small.path} is an {small.family.KIND} ({small.family.MODEL_TYPE}): it can't guess how a text goes on.",
            "a decoder",
            "engine.draft=… with a small model of the large one's family",
            "docs/speculate.md",
        )


def refuse_other_tokenizer(small: Pretrained, large: Pretrained) -> None:
    """Raises HanlinError where an id does not mean the same text to both."""
    theirs, ours = (dict[str, int](side.tokenizer.backend.get_vocab(with_added_tokens=True)) for side in (small, large))
    different = first_difference(theirs, ours)
    if different:
        raise HanlinError(
            f"{small.path} has another tokenizer than {large.path}: {different!r} is "
            f"{theirs.get(different, 'unknown')} there and {ours.get(different, 'unknown')} here.",
            "a draft whose tokens mean the same",
            f"hanlin finetune method=draft model={large.path} data=… out=runs/draft  makes one",
            "docs/speculate.md",
        )


def first_difference(theirs: Mapping[str, int], ours: Mapping[str, int]) -> str:
    """A token that one of them doesn't know, or knows by another id; "" where there is none."""
    return next((token for token in (*ours, *theirs) if theirs.get(token) != ours.get(token)), "")
