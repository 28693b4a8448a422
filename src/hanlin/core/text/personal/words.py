"""The word lists of words.yaml."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import yaml


@cache
def words(name: str) -> tuple[str, ...]:
    """A list of words."""
    return tuple(_lists()[name].split())


@cache
def characters(name: str) -> str:
    """A list whose words are single characters."""
    return "".join(words(name))


@cache
def _lists() -> dict[str, str]:
    return yaml.safe_load(Path(__file__).with_name("words.yaml").read_text(encoding="utf-8"))
