"""report.md: the figures as plain text, for a terminal, an editor or a code host."""

from __future__ import annotations

from typing import Any

from hanlin.make.collect.report.summary import metrics_of

NUM_SAMPLES = 5
NUM_NAMES = 10
SAMPLE_CHARS = 160

KINDS = {"text": "documents", "chat": "conversations", "preference": "preferences"}


def as_markdown(report: dict[str, Any]) -> str:
    metrics, script = metrics_of(report), report["script"]
    dropped = ", ".join(f"{count:,} {reason}" for reason, count in report["dropped"].items()) or "none"
    parts = [
        "# Corpus",
        f"{metrics['rows']:,} {KINDS.get(report['kind'], 'rows')} with {metrics['characters']:,} characters, made from "
        f"{report['rows_read']:,} rows read. Dropped: {dropped}.",
        f"Script: {100 * script['traditional_share']:.2f} % of the characters that tell are Traditional; "
        f"{script['simplified_per_1000']:.3f} Simplified ones in 1,000.",
        "The same with pictures and rows: report.html.",
        *_tables(report),
        *_found(report["found"]),
        *_mix(report.get("mix", [])),
        "## Sources",
        *(_source_line(source) for source in report["sources"]),
        "## Samples",
        *(_sample(sample) for sample in report["samples"][:NUM_SAMPLES]),
    ]
    return "\n\n".join(parts) + "\n"


def _tables(report: dict[str, Any]) -> list[str]:
    return [
        "## Splits",
        table(("split", "rows", "characters"), [(name, *_both(c)) for name, c in report["splits"].items()]),
        "## Steps",
        table(
            ("step", "rows in", "rows out", "characters out", "dropped"),
            [
                (step["step"], step["rows_in"], step["rows_out"], step["characters_out"], _reasons(step))
                for step in report["steps"]
            ],
        ),
        "## Types",
        table(
            ("type", "rows", "characters", "held-out rows"),
            [
                (name, _sum(c, "rows"), _sum(c, "characters"), c.get("heldout_rows", 0))
                for name, c in report["types"].items()
            ],
        ),
        "## Decades",
        table(("decade", "rows", "characters"), [(name, *_both(c)) for name, c in report["decades"].items()]),
        "## Languages",
        table(
            ("language", "rows", "characters"), [(n or "unknown", *_both(c)) for n, c in report["languages"].items()]
        ),
    ]


def table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = [" | ".join(head), " | ".join(["---"] + ["---:"] * (len(head) - 1))]
    lines += [" | ".join(f"{cell:,}" if isinstance(cell, int) else _cell(cell) for cell in row) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def _cell(text: Any) -> str:
    return " ".join(str(text).split()).replace("|", "\\|")


def _both(counts: dict[str, int]) -> tuple[int, int]:
    return counts["rows"], counts["characters"]


def _sum(counts: dict[str, int], name: str) -> int:
    return counts.get(f"train_{name}", 0) + counts.get(f"heldout_{name}", 0)


def _reasons(step: dict[str, Any]) -> str:
    return ", ".join(f"{rows:,} {reason}" for reason, (rows, _) in step["dropped"].items())


def _found(found: dict[str, Any]) -> list[str]:
    parts = []
    for subject, figures in found.items():
        rows = list(figures["kept"].items())[:NUM_NAMES]
        if rows:
            more = f", the first {len(rows)} of {figures['names']:,}" if figures["names"] > len(rows) else ""
            parts += [
                f"## Found by {_cell(subject)} (in {figures['rows']:,} kept rows{more})",
                table(("what", "times"), rows),
            ]
    return parts


def _mix(portions: list[dict[str, Any]]) -> list[str]:
    rows = [
        (_cell(each["source"]), f"{each['share']:.1%}", f"{each['epochs']:.3g}", f"{each['size']:,} {each['unit']}")
        for each in portions
    ]
    return ["## Mixture", table(("source", "share", "epochs", "size"), rows)] if rows else []


def _source_line(source: dict[str, Any]) -> str:
    licence = f" ({source['licence']})" if source["licence"] else ""
    skipped = ", ".join(f"{count} × {name}" for name, count in source["skipped"].items())
    return f"- `{source['address']}`{licence}: {source['files']:,} files, {source['rows']:,} rows" + (
        f"; not read: {skipped}" if skipped else ""
    )


def _sample(sample: dict[str, Any]) -> str:
    text = " ".join(sample["text"][:SAMPLE_CHARS].split())
    return f"**{sample['id']}** ({sample['type']}, {sample['year'] or 'no year'})\n\n> {text}…"
