"""The corpus's report: what is in it, what was dropped and why, as JSON for programs and as a page for people."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hanlin.core.text.documents import KEPT, Row, Split, read_rows
from hanlin.core.text.script import ScriptCount, count_script
from hanlin.make.collect.pipeline.stages import Count
from hanlin.make.collect.reading.walk import Source

_NUM_SAMPLES = 5
_SAMPLE_CHARS = 160


def summarise(corpus: Path, sources: Sequence[Source], counts: Sequence[Count]) -> dict[str, Any]:
    """Figures of a written corpus. Characters, scripts and samples are of kept rows only."""
    tally = _Tally()
    for split in KEPT:
        for row in read_rows(corpus, split):
            tally.add(row, split)
    dropped = Counter(reason_name(row) for row in read_rows(corpus, "rejected"))
    return {
        "kind": tally.kind,
        "rows_read": counts[0].rows_in,
        "splits": {split: dict(tally.splits[split]) for split in KEPT},
        "dropped": dict(dropped.most_common()),
        "types": {name: dict(counts) for name, counts in sorted(tally.types.items())},
        "decades": {name: dict(counts) for name, counts in sorted(tally.decades.items())},
        "script": _script_figures(tally.script, tally.script_rows),
        "sources": [asdict(source) for source in sources],
        "steps": [asdict(count) for count in counts],
        "samples": tally.samples,
    }


@dataclass
class _Tally:
    """What is counted of the kept rows as they pass."""

    kind: str = ""
    splits: dict[str, Counter[str]] = field(
        default_factory=lambda: {split: Counter(rows=0, characters=0) for split in KEPT}
    )
    types: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    decades: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    script: ScriptCount = field(default_factory=ScriptCount)
    script_rows: Counter[str] = field(default_factory=Counter)
    samples: list[dict[str, Any]] = field(default_factory=list)

    def add(self, row: Row, split: Split) -> None:
        figures = {"rows": 1, "characters": row.characters}
        self.kind = self.kind or row.kind
        self.splits[split].update(figures)
        self.types[row.type].update({f"{split}_{name}": count for name, count in figures.items()})
        self.decades[_decade(row)].update(figures)
        self.script += count_script(row.content)
        self.script_rows[row.script] += 1
        if _is_sample(row, self.samples):
            self.samples.append({"id": row.id, "type": row.type, "year": row.year, "text": row.content[:_SAMPLE_CHARS]})


def reason_name(row: Row) -> str:
    """The reason without its detail: "duplicate: notes.jsonl:3" counts as "duplicate"."""
    return row.reason.partition(":")[0]


def metrics_of(report: dict[str, Any]) -> dict[str, Any]:
    """The figures that go into the manifest."""
    train, heldout = report["splits"]["train"], report["splits"]["heldout"]
    return {
        "kind": report["kind"],
        "rows_read": report["rows_read"],
        "rows": train["rows"] + heldout["rows"],
        "characters": train["characters"] + heldout["characters"],
        "heldout_rows": heldout["rows"],
        "heldout_characters": heldout["characters"],
        "dropped": report["dropped"],
        "traditional_share": report["script"]["traditional_share"],
        "simplified_per_1000": report["script"]["simplified_per_1000"],
    }


def as_markdown(report: dict[str, Any]) -> str:
    metrics, script = metrics_of(report), report["script"]
    dropped = ", ".join(f"{count:,} {reason}" for reason, count in report["dropped"].items()) or "none"
    parts = [
        "# Corpus",
        f"{metrics['rows']:,} {'conversations' if report['kind'] == 'chat' else 'documents'} with "
        f"{metrics['characters']:,} characters, made from {report['rows_read']:,} rows read. Dropped: {dropped}.",
        f"Script: {100 * script['traditional_share']:.2f} % of the characters that tell are Traditional; "
        f"{script['simplified_per_1000']:.3f} Simplified ones in 1,000.",
        "## Splits",
        _table(
            ("split", "rows", "characters"),
            [(name, c["rows"], c["characters"]) for name, c in report["splits"].items()],
        ),
        "## Types",
        _table(
            ("type", "rows", "characters", "held-out rows"),
            [
                (name, _sum(c, "rows"), _sum(c, "characters"), c.get("heldout_rows", 0))
                for name, c in report["types"].items()
            ],
        ),
        "## Decades",
        _table(
            ("decade", "rows", "characters"),
            [(name, c["rows"], c["characters"]) for name, c in report["decades"].items()],
        ),
        "## Sources",
        *(_source_line(source) for source in report["sources"]),
        "## Samples",
        *(
            f"**{sample['id']}** ({sample['type']}, {sample['year'] or 'no year'})\n\n> {_one_line(sample['text'])}…"
            for sample in report["samples"]
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _decade(row: Row) -> str:
    return f"{row.year // 10 * 10}s" if row.year else "unknown"


def _is_sample(row: Row, samples: list[dict[str, Any]]) -> bool:
    """The first row of each type, then of whatever comes, up to a handful."""
    new_type = all(sample["type"] != row.type for sample in samples)
    return len(samples) < _NUM_SAMPLES and (new_type or len(samples) < 2)


def _script_figures(count: ScriptCount, rows: Counter[str]) -> dict[str, Any]:
    figures = {"traditional_share": count.traditional_share, "simplified_per_1000": count.simplified_per_1000}
    return {
        **asdict(count),
        **{name: round(value, 6) for name, value in figures.items()},
        "rows": dict(rows.most_common()),
    }


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = [" | ".join(head), " | ".join(["---"] + ["---:"] * (len(head) - 1))]
    lines += [
        " | ".join(f"{cell:,}" if isinstance(cell, int) else str(cell).replace("|", "\\|") for cell in row)
        for row in rows
    ]
    return "\n".join(f"| {line} |" for line in lines)


def _sum(counts: dict[str, int], name: str) -> int:
    return counts.get(f"train_{name}", 0) + counts.get(f"heldout_{name}", 0)


def _source_line(source: dict[str, Any]) -> str:
    skipped = ", ".join(f"{count} × {name}" for name, count in source["skipped"].items())
    return f"- `{source['address']}`: {source['files']:,} files, {source['rows']:,} rows" + (
        f"; not read: {skipped}" if skipped else ""
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())
