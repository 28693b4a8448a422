"""Text of the other side, in characters and wording: mainland → Taiwan and back. Phrases come from OpenCC's dictionaries
(https://github.com/BYVoid/OpenCC, Apache-2.0)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any


def to_taiwan(text: str) -> str:
    """Traditional characters as Taiwan writes them, and Taiwan's words: 软件 → 軟體."""
    return str(_opencc("s2twp").convert(text))


def to_mainland(text: str) -> str:
    """Simplified characters, and the mainland's words: 軟體 → 软件."""
    return str(_opencc("tw2sp").convert(text))


@lru_cache
def _opencc(conversion: str) -> Any:
    import opencc

    return opencc.OpenCC(conversion)
