"""The tokens inside a character that llama.cpp does not name: found again by their bytes."""

from __future__ import annotations

from functools import cached_property

from hanlin.core.text.tokenizer import Tokenizer


class Spelling:
    """A vocabulary by the bytes of its tokens."""

    def __init__(self, tokenizer: Tokenizer):
        self._tokenizer = tokenizer

    def ids_of(self, text: str, last: int, count: int) -> list[int]:
        """`count` ids that spell `text`, the last being `last`. Longer tokens first, as a tokenizer cuts: where several
        would do (a character of four bytes in three tokens) it is the likely one. Where none do, because bytes that
        are no character have been replaced by U+FFFD, other ids of the same text, one at least."""
        told, own = text.encode(), self._tokenizer.token_bytes[last]
        if own and told.endswith(own):
            before = self._cut(told[: len(told) - len(own)], count - 1)
            if before is not None:
                return [*before, last]
        return self._tokenizer.encode(text, at_start=False) or [last]

    def _cut(self, told: bytes, count: int) -> list[int] | None:
        if not count:
            return None if told else []
        for size in range(min(self._longest, len(told) - count + 1), 0, -1):
            token = self._by_bytes.get(told[:size])
            if token is not None and (rest := self._cut(told[size:], count - 1)) is not None:
                return [token, *rest]
        return None

    @cached_property
    def _by_bytes(self) -> dict[bytes, int]:
        """The first of those that spell the same."""
        added = self._tokenizer.added_ids
        spelled = [(text, token) for token, text in enumerate(self._tokenizer.token_bytes) if token not in added]
        return dict(reversed(spelled))

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self._by_bytes))
