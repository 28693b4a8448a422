"""The funnel of a corpus as lines: rows and characters after each step, and what was dropped there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hanlin.columns import aligned, one_line


def funnel_lines(report: Mapping[str, Any]) -> list[str]:
    """report: report.json, or the event that says the same: steps, splits and dropped."""
    rows: list[Sequence[str]] = []
    told: set[str] = set()
    for step in report["steps"]:
        rows.append(_line(step["step"], step["rows_out"], step["characters_out"], _dropped(step["dropped"])))
        told |= set(step["dropped"])
    late = {reason: (number, 0) for reason, number in report["dropped"].items() if reason not in told}
    kept = report["splits"].values()
    splits = ", ".join(f"{name} {counts['rows']:,}" for name, counts in report["splits"].items())
    last = _line("kept", _sum(kept, "rows"), _sum(kept, "characters"), _dropped(late))
    return [*aligned([*rows, last], frozenset({1, 2})), f"{'':{max(len(row[0]) for row in rows)}}  {splits}"]


def size(number: float) -> str:
    """950 · 14.2 k · 3.1 M · 2.0 G"""
    for least, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if number >= least:
            return f"{number / (1e3 if letter == 'k' else least):,.1f} {letter}"
    return f"{number:,.0f}"


def _line(step: str, rows: int, characters: int, dropped: str) -> Sequence[str]:
    return step, f"{rows:,} rows", f"{size(characters)} characters", dropped


def _dropped(dropped: Mapping[str, Sequence[int]]) -> str:
    """−103 duplicate, −2 too short"""
    most = sorted(dropped.items(), key=lambda entry: -entry[1][0])
    return ", ".join(f"−{entry[0]:,} {one_line(reason)}" for reason, entry in most)


def _sum(counts: Any, name: str) -> int:
    return sum(each[name] for each in counts)
