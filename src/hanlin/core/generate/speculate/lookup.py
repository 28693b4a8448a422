"""Guesses from the text itself: what followed the last words where they stood before. Saxena 2023 (prompt lookup
decoding), https://github.com/apoorvumang/prompt-lookup-decoding. Quotations, code and tables are full of it."""

from __future__ import annotations

from collections.abc import Sequence

from hanlin.core.generate.speculate import Draft, room
from hanlin.core.generate.text import Text

LONGEST_NGRAM, SHORTEST_NGRAM = 4, 2
REACH_TOKENS = 4096
"""How far back it looks: the search grows with it and is done for each token."""


class Lookup:
    def __init__(self, num_draft: int):
        self.num_draft = num_draft

    def propose(self, texts: Sequence[Text]) -> dict[Text, Draft]:
        found = {text: continuation(text.ids[-REACH_TOKENS:], room(text, self.num_draft)) for text in texts}
        return {text: Draft(tokens) for text, tokens in found.items() if tokens}

    def drop(self, text: Text) -> None:
        pass


def continuation(ids: Sequence[int], count: int) -> list[int]:
    """Up to `count` tokens that stood behind the latest earlier place of the longest ending that has one."""
    if count < 1:
        return []
    for length in range(min(LONGEST_NGRAM, len(ids) - 1), SHORTEST_NGRAM - 1, -1):
        ending = list(ids[-length:])
        for start in range(len(ids) - length - 1, -1, -1):
            if ids[start] == ending[0] and list(ids[start : start + length]) == ending:
                return list(ids[start + length : start + length + count])
    return []
