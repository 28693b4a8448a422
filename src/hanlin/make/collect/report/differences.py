"""Where two texts differ, so that a reader sees 軟體 beside 軟件 at once."""

from __future__ import annotations

from difflib import SequenceMatcher

MOST_CHARS = 1500
"""Of each text; comparing takes time with the product of both lengths. What comes after that is not marked."""

Pieces = list[tuple[str, bool]]
"""(text, whether the other has something else there); the texts joined are the whole."""


def differences(first: str, second: str) -> tuple[Pieces, Pieces]:
    """Both texts in pieces. Texts that have little in common are not marked: all of them would be."""
    heads = first[:MOST_CHARS], second[:MOST_CHARS]
    matcher = SequenceMatcher(None, *heads, autojunk=False)
    if matcher.ratio() < 0.5:
        return [(first, False)], [(second, False)]
    pieces: tuple[Pieces, Pieces] = ([], [])
    for kind, start, end, other_start, other_end in matcher.get_opcodes():
        differs = kind != "equal"
        pieces[0].append((heads[0][start:end], differs))
        pieces[1].append((heads[1][other_start:other_end], differs))
    pieces[0].append((first[MOST_CHARS:], False))
    pieces[1].append((second[MOST_CHARS:], False))
    return [piece for piece in pieces[0] if piece[0]], [piece for piece in pieces[1] if piece[0]]


def around_first_difference(before: str, after: str, characters: int) -> tuple[str, str]:
    """At most so many characters of both, from a little before the place where they part."""
    place = next((at for at, (a, b) in enumerate(zip(before, after)) if a != b), min(len(before), len(after)))
    start = max(0, place - characters // 3)
    head = "…" if start else ""
    return head + before[start : start + characters], head + after[start : start + characters]
