"""What the ledger says of generated text. Pure functions on strings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hanlin.core.text.script import simplified_leak_per_1000

REPEATED_CHARACTERS = 8


@dataclass(frozen=True)
class Reply:
    """A generated text and how it ended: "stop" or "length"."""

    text: str
    finish: str


def stop_rate(replies: Sequence[Reply]) -> float:
    """Share of replies that ended by themselves."""
    return sum(reply.finish == "stop" for reply in replies) / max(1, len(replies))


def repetition_rate(replies: Sequence[Reply]) -> float:
    """Share of 8-character spans that stood in the same reply before (Welleck et al. 2019's seq-rep, on characters)."""
    spans = repeated = 0
    for reply in replies:
        seen: set[str] = set()
        for start in range(len(reply.text) - REPEATED_CHARACTERS + 1):
            span = reply.text[start : start + REPEATED_CHARACTERS]
            repeated += span in seen
            seen.add(span)
            spans += 1
    return repeated / max(1, spans)


def simplified_leak(replies: Sequence[Reply]) -> float:
    """Characters that exist only in Simplified Chinese, per 1,000 characters of all replies together."""
    return simplified_leak_per_1000("".join(reply.text for reply in replies))
