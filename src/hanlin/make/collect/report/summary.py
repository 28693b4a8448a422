"""report.json: the figures of a written corpus. The pages are made from it alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hanlin.core.text.documents import KEPT, SPLITS, Split, split_files
from hanlin.core.text.script import ScriptCount
from hanlin.make.collect.config import STEPS
from hanlin.make.collect.pipeline.engines import Map
from hanlin.make.collect.pipeline.stages import Count
from hanlin.make.collect.reading.walk import Source
from hanlin.make.collect.report.clusters import cluster_figures, find_rows, wanted_ids
from hanlin.make.collect.report.findings import number_figures, table_figures
from hanlin.make.collect.report.tally import LENGTHS, Tally, tally_files

BY_READERS = frozenset({"intake", "pdf", "code"})
"""What readers leave in `Row.notes` that is worth counting."""

MOST_TASKS = 256
"""Tallies that are held at once, however many files there are."""


def summarise(
    corpus: Path, sources: Sequence[Source], counts: Sequence[Count], mapping: Map = map, seed: int = 0
) -> dict[str, Any]:
    """Figures of a written corpus, file by file. Characters, scripts, languages and lengths are of kept rows only."""
    files = [(path, split) for split in SPLITS for path in split_files(corpus, split)]
    tally = _counted(files, frozenset(STEPS) | {count.step for count in counts} | BY_READERS, mapping, seed)
    return {
        "kind": tally.kind,
        "rows_read": counts[0].rows_in,
        "splits": {split: dict(tally.splits[split]) for split in KEPT},
        "dropped": {reason: counts["rows"] for reason, counts in _by_rows(tally.dropped)},
        "dropped_characters": {reason: counts["characters"] for reason, counts in _by_rows(tally.dropped)},
        "types": {name: dict(counts) for name, counts in sorted(tally.types.items())},
        "decades": {name: dict(counts) for name, counts in sorted(tally.decades.items())},
        "script": _script_figures(tally),
        "languages": {name: dict(counts) for name, counts in _by_rows(tally.languages)},
        "lengths": [
            {"from": LENGTHS[place], "rows": tally.lengths[place]}
            for place in range(min(tally.lengths, default=0), max(tally.lengths, default=-1) + 1)
        ],
        "sources": [asdict(source) for source in sources],
        "steps": [asdict(count) for count in counts],
        "found": table_figures(tally.kept_findings, tally.dropped_findings),
        "measured": number_figures(tally.kept_findings, tally.dropped_findings),
        "clusters": cluster_figures(tally.clusters, _found(files, wanted_ids(tally.clusters), mapping)),
        **_samples(tally),
    }


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


def _counted(files: Sequence[tuple[Path, Split]], steps: frozenset[str], mapping: Map, seed: int) -> Tally:
    """The tally of all files, added up in their order: whoever counts, the same comes out."""
    several = -(-len(files) // MOST_TASKS)
    parts = [files[start : start + several] for start in range(0, len(files), several)]
    tallies = dict(mapping(tally_files, [(number, part, seed, steps) for number, part in enumerate(parts)]))
    tally = Tally(seed)
    for number in range(len(parts)):
        tally.add(tallies.pop(number))
    return tally


def _found(files: Sequence[tuple[Path, Split]], wanted: frozenset[str], mapping: Map) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    for found in mapping(find_rows, [(path, wanted) for path, _ in files] if wanted else []):
        rows |= found
    return rows


def _samples(tally: Tally) -> dict[str, Any]:
    reasons = [reason for reason, _ in _by_rows(tally.dropped) if reason in tally.dropped_rows]
    return {
        "samples": list(tally.kept_rows),
        "changed": tally.changed_rows.offered,
        "changed_samples": list(tally.changed_rows),
        "dropped_samples": {reason: list(tally.dropped_rows[reason]) for reason in reasons},
    }


def _by_rows(figures: dict[str, Any]) -> list[tuple[str, Any]]:
    return sorted(figures.items(), key=lambda entry: (-entry[1]["rows"], entry[0]))


def _script_figures(tally: Tally) -> dict[str, Any]:
    count: ScriptCount = tally.script
    figures = {"traditional_share": count.traditional_share, "simplified_per_1000": count.simplified_per_1000}
    return {
        **asdict(count),
        **{name: round(value, 6) for name, value in figures.items()},
        "rows": {name: counts["rows"] for name, counts in _by_rows(tally.scripts)},
        "characters": {name: counts["characters"] for name, counts in _by_rows(tally.scripts)},
    }
