"""What each token adds to a reply's text: the one view of a tokenizer that constraints are computed from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary, ref

import torch

from hanlin.core.model.pretrained import Pretrained
from hanlin.core.text.tokenizer import StreamDecoder, Tokenizer


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """texts: (V,) bytes a token adds in the middle of a reply, b"" for one that adds none and for ids without a token.

    special: names of the special tokens, which add no text. stop_ids end a reply. first: what tokens add at its very
    start, where that differs: Llama's ▁ is no space there. tokenize: text that follows other text → ids.
    """

    texts: list[bytes]
    special: dict[int, bytes]
    stop_ids: frozenset[int]
    first: dict[int, bytes]
    tokenize: Callable[[str], list[int]]

    @property
    def size(self) -> int:
        """V, the rows of the model's head."""
        return len(self.texts)

    @property
    def silent(self) -> frozenset[int]:
        """Tokens that add no text, and may be drawn."""
        return self.stop_ids | self.special.keys()

    @cached_property
    def id_of(self) -> dict[bytes, int]:
        """One token of each text."""
        return {text: token for token, text in enumerate(self.texts) if text}

    @cached_property
    def longest(self) -> int:
        """Bytes of the longest token."""
        return max(map(len, self.texts), default=0)

    @cached_property
    def same_as_first(self) -> torch.Tensor:
        """(V,) int64: the token that adds later what this one adds at the start; −1 where none does."""
        same = torch.arange(self.size)
        for token, text in self.first.items():
            same[token] = self.id_of.get(text, -1)
        return same

    @cached_property
    def spells_everything(self) -> bool:
        """Whether every byte of UTF-8 is a token, so that any text can be written."""
        return all(bytes([byte]) in self.id_of for byte in (*range(0xC0), *range(0xC2, 0xF5)))

    def encode(self, text: str) -> list[int]:
        """Ids that add exactly this text, for a vocabulary that spells everything: the tokenizer's own if they do. It
        may put a space before whatever it reads (Llama 2), or change letters; then the longest tokens that fit."""
        wanted = text.encode()
        for before in ("", "\n"):
            ids = self.tokenize(before + text)
            for start in range(min(3, len(ids)) + 1):
                if b"".join(self.texts[token] for token in ids[start:]) == wanted:
                    return ids[start:]
        return self._greedy(wanted)

    def _greedy(self, wanted: bytes) -> list[int]:
        ids: list[int] = []
        while wanted:
            pieces = (wanted[:length] for length in range(min(self.longest, len(wanted)), 0, -1))
            piece = next(piece for piece in pieces if piece in self.id_of)
            ids.append(self.id_of[piece])
            wanted = wanted[len(piece) :]
        return ids


_KNOWN: WeakKeyDictionary[Tokenizer, dict[tuple[int, frozenset[int]], Vocabulary]] = WeakKeyDictionary()


def vocabulary_of(loaded: Pretrained) -> Vocabulary:
    """Made once for a tokenizer and kept as long as it is."""
    tokenizer, size, stop_ids = loaded.tokenizer, loaded.model.vocab_size, loaded.stop_ids
    known = _KNOWN.setdefault(tokenizer, {})
    if (size, stop_ids) not in known:
        known[size, stop_ids] = new_vocabulary(tokenizer, size, stop_ids)
    return known[size, stop_ids]


def new_vocabulary(tokenizer: Tokenizer, size: int, stop_ids: frozenset[int]) -> Vocabulary:
    """size: rows of the model's head, at least the tokenizer's."""
    stop_ids = frozenset(token for token in stop_ids if token < size)
    special = {token: tokenizer.token_bytes[token] for token in tokenizer.special_ids}
    texts = [*tokenizer.token_bytes, *[b""] * (size - tokenizer.vocab_size)]
    for token in (*special, *stop_ids):
        texts[token] = b""
    # Only a weak reference: what is kept for a tokenizer must not keep the tokenizer.
    weak = ref(tokenizer)

    def tokenize(text: str) -> list[int]:
        alive = weak()
        return [] if alive is None else alive.encode(text, at_start=False)

    return Vocabulary(texts, special, stop_ids, _first_texts(tokenizer, texts), tokenize)


_NUM_PROBES = 32


def _first_texts(tokenizer: Tokenizer, texts: list[bytes]) -> dict[int, bytes]:
    """Tokens whose text is another one at the start of a reply. A tokenizer treats all alike or none, so few tell."""
    spaced = [token for token, text in enumerate(texts) if text.startswith(b" ")][:_NUM_PROBES]
    joined = [token for token, text in enumerate(texts) if text and not text.startswith(b" ")][-_NUM_PROBES:]
    if not any(_first_text(tokenizer, token, texts[token]) != texts[token] for token in (*spaced, *joined)):
        return {}
    found = {token: _first_text(tokenizer, token, text) for token, text in enumerate(texts) if text}
    return {token: text for token, text in found.items() if text != texts[token]}


def _first_text(tokenizer: Tokenizer, token: int, text: bytes) -> bytes:
    try:
        text.decode()
    except UnicodeDecodeError:  # half a character shows nothing yet, and is the same everywhere
        return text
    decoder = StreamDecoder(tokenizer)
    return (decoder.push(token) + decoder.finish()).encode()
