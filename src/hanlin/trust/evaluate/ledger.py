"""The quality ledger: one row a measure, one column a model, so that a loss shows beside a gain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

MEASURES: dict[str, tuple[str, str, str]] = {
    "heldout_bpc": ("保留文字：每字元位元數", "越低越好", "{:.3f}"),
    "reply_loss": ("保留回答：損失（每詞元 nats）", "越低越好", "{:.3f}"),
    "stop_rate": ("自行停止的回答", "越高越好", "{:.0%}"),
    "repetition_rate": ("重複的片段（8 字）", "越低越好", "{:.1%}"),
    "simplified_per_1000": ("簡體字（每千字）", "越低越好", "{:.2f}"),
}
"""Name → (what a person reads, which way is better, how it is written)."""


@dataclass(frozen=True)
class Column:
    """One model's figures and the replies they were taken from."""

    name: str
    id: str
    figures: dict[str, float]
    samples: list[dict[str, str]] = field(default_factory=list)


def ledger_table(columns: Sequence[Column]) -> str:
    """Markdown. A measure nobody took is left out."""
    head = (
        "| 量測 | " + " | ".join(column.name for column in columns) + " | |\n|---|" + "---:|" * len(columns) + "---|\n"
    )
    lines = []
    for key, (title, direction, form) in MEASURES.items():
        if any(key in column.figures for column in columns):
            cells = [form.format(column.figures[key]) if key in column.figures else "" for column in columns]
            lines.append(f"| {title} | {' | '.join(cells)} | {direction} |")
    return head + "\n".join(lines) + "\n"
