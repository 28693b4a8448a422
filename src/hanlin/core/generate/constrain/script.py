"""script=zh-TW: no token that completes a character which only Simplified Chinese uses, or begins one that has to.

A token may end in the middle of a character and the next one complete it, so what is allowed depends on the bytes
pending. Between characters that is one mask over the vocabulary. With bytes pending only the few tokens that begin
with continuation bytes (10xxxxxx) come into question, and these are found by the bytes they begin with. Bytes that
are no UTF-8 are never allowed.
"""

from __future__ import annotations

import codecs
from collections.abc import Collection
from weakref import WeakKeyDictionary

import torch

from hanlin.core.generate.constrain.utf8 import Split, pending_bytes, split_tokens
from hanlin.core.generate.constrain.vocabulary import Vocabulary
from hanlin.core.text.script import simplified_only


class TraditionalOnly:
    """The constraint of one reply. There is always a way on: no character is begun that tokens can't end."""

    def __init__(self, vocabulary: Vocabulary):
        self._table = script_table(vocabulary)
        self._pending = [b""]

    def allowed(self) -> torch.Tensor:
        """(V,) bool, not to be written to. A reply may end, and special tokens stand, between characters only."""
        return self._table.allowed(self._pending[-1])

    def accept(self, token: int) -> None:
        self._pending.append(pending_bytes(self._pending[-1] + self._table.texts[token]))

    def rollback(self, num_tokens: int) -> None:
        assert num_tokens < len(self._pending)
        del self._pending[len(self._pending) - num_tokens :]


_TABLES: WeakKeyDictionary[Vocabulary, ScriptTable] = WeakKeyDictionary()


def script_table(vocabulary: Vocabulary) -> ScriptTable:
    """Made once for a vocabulary: a quarter of a second for 262,144 tokens."""
    if vocabulary not in _TABLES:
        _TABLES[vocabulary] = ScriptTable(vocabulary.texts, vocabulary.silent)
    return _TABLES[vocabulary]


class ScriptTable:
    """What may follow which pending bytes. texts: (V,), what tokens add; silent: those that may stand between
    characters though they add nothing."""

    def __init__(self, texts: list[bytes], silent: Collection[int]):
        self.texts = texts
        tokens = split_tokens(texts, simplified_only())
        self._inside, self._ending = _by_beginning(texts, tokens)
        self._ends: dict[bytes, bool] = {}
        self._ids: dict[bytes, torch.Tensor] = {}
        dead = [token for token, tail in tokens.tails.items() if not self._can_end(tail)]
        good_V = tokens.good_V.copy()
        good_V[dead] = False
        self._good_V = good_V
        between_V = good_V & (tokens.num_continuing_V == 0)
        between_V[list(silent)] = True
        self._between_V = torch.from_numpy(between_V)

    def allowed(self, pending: bytes) -> torch.Tensor:
        if not pending:
            return self._between_V
        if pending not in self._ids:
            self._ids[pending] = torch.tensor(self._continuing(pending), dtype=torch.long)
        return torch.zeros_like(self._between_V).index_fill_(0, self._ids[pending], True)

    def _continuing(self, pending: bytes) -> list[int]:
        ending = [ids for begin, ids in self._ending.items() if _character(pending + begin)]
        inside = [ids for more, ids in self._inside.items() if self._can_end(pending + more)]
        return [token for ids in (*ending, *inside) for token in ids if self._good_V[token]]

    def _can_end(self, begun: bytes) -> bool:
        """Whether these bytes are a good character, or tokens of continuation bytes can make them one."""
        character = _character(begun)
        if character != "":
            return character is not None
        if begun not in self._ends:
            self._ends[begun] = any(self._can_end(begun + more) for more in self._inside)
        return self._ends[begun]


def _by_beginning(texts: list[bytes], tokens: Split) -> tuple[dict[bytes, list[int]], dict[bytes, list[int]]]:
    """Tokens by the continuation bytes they begin with: those that are nothing else, and those that go on."""
    inside: dict[bytes, list[int]] = {}
    ending: dict[bytes, list[int]] = {}
    for token in (tokens.good_V & (tokens.num_continuing_V > 0)).nonzero()[0].tolist():
        begin = texts[token][: tokens.num_continuing_V[token]]
        group = inside if len(begin) == len(texts[token]) else ending
        group.setdefault(begin, []).append(token)
    return inside, ending


def _character(begun: bytes) -> str | None:
    """The one character these bytes are; "" if they may become one; None if they are a bad one or no UTF-8."""
    try:
        text, num_bytes = codecs.utf_8_decode(begun, "strict", False)
    except UnicodeDecodeError:
        return None
    one = num_bytes == len(begun) and len(text) == 1
    return text if not text or (one and text not in simplified_only()) else None
