"""Text that spells the name of a special token stays text.

The `tokenizers` library cuts special tokens out of a text before its model sees it, and can be told not to. The model
may then still make the name whole: a Unigram has "</s>" in its list of pieces, a converted BPE may have the merge
"<s" + ">". SentencePiece itself never does. Here is the same tokenizer with names no text can spell.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterable
from functools import cached_property
from typing import Any

from tokenizers import Tokenizer as Backend
from tokenizers import models

BYTE_NAME = re.compile("<0x[0-9A-Fa-f]{2}>")

_CUT_IN_BYTE_NAMES = {
    "type": "Split",
    "pattern": {"Regex": "(?<=<)0(?=x[0-9A-Fa-f]{2}>)"},
    "behavior": "MergedWithNext",
    "invert": False,
}
"""A Unigram needs the names of its byte pieces for its own fallback, so there the text is cut instead."""


class PlainText:
    """Watches over what one backend makes of plain text."""

    def __init__(self, backend: Backend):
        self.backend = backend

    def corrected(self, ids: list[int], text: str) -> list[int]:
        """`ids` of `text`, encoded anew where the model has made a token out of the spelling of its name."""
        return self._nameless.encode(text, add_special_tokens=False).ids if self._is_spelled(ids, text) else ids

    def _is_spelled(self, ids: list[int], text: str) -> bool:
        if not self._special_ids.isdisjoint(ids):
            return True
        if self._unknown is not None and self._unknown in text:
            # A Unigram with bytes to fall back to spells the unknown token in them: no id shows that it was found.
            return self._is_unigram or self.backend.token_to_id(self._unknown) in ids
        return "<0x" in text and not self._byte_ids.isdisjoint(ids)

    @cached_property
    def _nameless(self) -> Backend:
        unknown = self.backend.token_to_id(self._unknown) if self._unknown else None
        return without_names(self.backend, [*self._special_ids] + ([] if unknown is None else [unknown]))

    @cached_property
    def _special_ids(self) -> frozenset[int]:
        """What no plain text may become. The unknown token is special too, and is what foreign characters become."""
        added = self.backend.get_added_tokens_decoder().items()
        return frozenset(i for i, token in added if token.special and token.content != self._unknown)

    @cached_property
    def _unknown(self) -> str | None:
        if self._is_unigram:
            place = self._unigram["unk_id"]
            return None if place is None else self._unigram["vocab"][place][0]
        return self.backend.model.unk_token

    @cached_property
    def _byte_ids(self) -> frozenset[int]:
        falls_back = isinstance(self.backend.model, models.BPE) and self.backend.model.byte_fallback
        if self._is_unigram:
            falls_back = self._unigram["byte_fallback"]
        found = [self.backend.token_to_id(f"<0x{byte:02X}>") for byte in range(256)] if falls_back else []
        return frozenset(i for i in found if i is not None)

    @property
    def _is_unigram(self) -> bool:
        return isinstance(self.backend.model, models.Unigram)

    @cached_property
    def _unigram(self) -> dict[str, Any]:
        return json.loads(self.backend.model.__getstate__())


def without_names(backend: Backend, ids: Iterable[int]) -> Backend:
    """The same ids for every text, but tokens `ids` and those of single bytes come from no spelling of their name."""
    facts = json.loads(backend.to_str())
    model = facts["model"]
    secret = secrets.token_hex(8)
    renamed = {name: f"\U0010ffff{secret} {i}" for i in ids if (name := backend.id_to_token(i)) is not None}
    for token in facts["added_tokens"]:
        token["content"] = renamed.get(token["content"], token["content"])
    if isinstance(model["vocab"], list):
        model["vocab"] = [[renamed.get(piece, piece), score] for piece, score in model["vocab"]]
    else:
        model["vocab"] = {renamed.get(piece, piece): i for piece, i in model["vocab"].items()}
    if model.get("unk_token") is not None:
        model["unk_token"] = renamed.get(model["unk_token"], model["unk_token"])
    if "merges" in model:
        model["merges"] = [pair for pair in model["merges"] if not _makes_a_name(pair, renamed)]
    elif model.get("byte_fallback"):
        facts["pre_tokenizer"] = _sequence([_CUT_IN_BYTE_NAMES, facts["pre_tokenizer"]])
    facts["post_processor"] = None
    return Backend.from_str(json.dumps(facts))


def _makes_a_name(pair: list[str], renamed: dict[str, str]) -> bool:
    left, right = pair
    made = left + right
    return made in renamed or left in renamed or right in renamed or BYTE_NAME.fullmatch(made) is not None


def _sequence(steps: list[Any]) -> dict[str, Any]:
    return {"type": "Sequence", "pretokenizers": [step for step in steps if step]}
