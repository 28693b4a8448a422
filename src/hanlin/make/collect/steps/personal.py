"""Personal data: masked, replaced by consistent fakes, or the row is dropped. Taiwan's kinds first; see
core/text/personal.

What was found is counted by kind in the notes. No original is kept: not in notes, not in reasons, and a row that is
dropped is masked, because rejected.parquet keeps it. Rows that earlier steps dropped never come here, so this step
belongs before those that drop many. Tool calls are left as they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from hanlin.core.text.documents import Row
from hanlin.core.text.personal.fakes import fake
from hanlin.core.text.personal.match import KINDS, Match
from hanlin.core.text.personal.recognise import find_all
from hanlin.make.collect.options.sensitive import Action, Personal
from hanlin.make.collect.steps.matching.parts import texts_of, with_texts
from hanlin.make.collect.steps.step import Context, RowStep

_THOUGHTS = "reasoning_content"


def make(options: Personal, context: Context) -> RowStep:
    changes = {kind: _change(options.actions.get(kind, options.action), kind, context.seed) for kind in options.kinds}
    dropping = frozenset(kind for kind in options.kinds if options.actions.get(kind, options.action) == "drop")

    def step(rows: list[Row]) -> Iterable[Row]:
        for row in rows:
            texts = spoken(row)
            found = find_all(texts, options.kinds, options.min_confidence)
            counts = Counter(match.kind for matches in found for match in matches)
            if not counts:
                yield row
                continue
            covered = [
                cover(text, matches, lambda match, original: changes[match.kind](original))
                for text, matches in zip(texts, found)
            ]
            fatal = sorted(dropping & counts.keys())
            yield replace(
                with_spoken(row, covered),
                notes={**row.notes, options.step: dict(sorted(counts.items()))},
                reason=f"personal data: {', '.join(fatal)}" if fatal else "",
            )

    return step


def spoken(row: Row) -> list[str]:
    """The row's texts, and behind them what its assistants thought (reasoning_content)."""
    return [*texts_of(row), *(message[_THOUGHTS] for message in row.all_messages if message.get(_THOUGHTS))]


def with_spoken(row: Row, texts: Sequence[str]) -> Row:
    """The row with these in place of `spoken(row)`."""
    thoughts = iter(texts[len(texts_of(row)) :])
    row = with_texts(row, texts)
    changed: dict[str, Any] = {
        name: tuple(
            {**message, _THOUGHTS: next(thoughts)} if message.get(_THOUGHTS) else message
            for message in getattr(row, name)
        )
        for name in ("messages", "chosen", "rejected")
    }
    return replace(row, **changed)


def cover(text: str, matches: list[Match], by: Callable[[Match, str], str]) -> str:
    """The text with each match replaced by what `by` makes of it and of its words."""
    parts, end = [], 0
    for match in matches:
        parts += [text[end : match.start], by(match, text[match.start : match.end])]
        end = match.end
    return "".join([*parts, text[end:]])


def _change(action: Action, kind: str, seed: int) -> Callable[[str], str]:
    match action:
        case "mask" | "drop":
            return lambda original: f"[{KINDS[kind]}]"
        case "characters":
            return hide
        case "replace":
            return lambda original: fake(kind, original, seed)
        case "note":
            return lambda original: original


def hide(original: str) -> str:
    """王小明 → ○○○, 0912-345-678 → ****-***-***."""
    return "".join(("*" if char.isascii() else "○") if char.isalnum() else char for char in original)
