"""Corpus files, counted. Tallies of files add up to that of the corpus, each as small whatever it counted."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hanlin.core.text.documents import KEPT, Row, Split, read_file
from hanlin.core.text.script import ScriptCount, count_script
from hanlin.make.collect.report.clusters import Clusters
from hanlin.make.collect.report.findings import Findings
from hanlin.make.collect.report.samples import ORIGINAL, Draw, draw_key, excerpt

NUM_KEPT = 20
NUM_DROPPED = 5
NUM_CHANGED = 5
"""Rows that are shown: of the kept ones, of those dropped for each reason, of those that say what they were before."""

MOST_REASONS = 40

MOST_KINDS = 500
"""Types, languages or reasons that are told apart; files can name one for each row."""

OTHERS = "(others)"

LENGTHS = (0, 1, *(step * 10**power for power in range(1, 8) for step in (1, 2, 5)))
"""Where the bins of the histogram of lengths begin, in characters: three a decade."""

_BLOCK_CHARS = 1_000_000


def _figures() -> defaultdict[str, Counter[str]]:
    return defaultdict(Counter)


@dataclass
class Tally:
    """What is counted of rows as they pass. Characters, scripts, languages and lengths are of kept rows only."""

    seed: int = 0
    steps: frozenset[str] = frozenset()
    """Whose findings in `Row.notes` are counted: readers leave other things there, for builders."""
    kind: str = ""
    splits: dict[str, Counter[str]] = field(
        default_factory=lambda: {split: Counter(rows=0, characters=0) for split in KEPT}
    )
    types: defaultdict[str, Counter[str]] = field(default_factory=_figures)
    decades: defaultdict[str, Counter[str]] = field(default_factory=_figures)
    scripts: defaultdict[str, Counter[str]] = field(default_factory=_figures)
    languages: defaultdict[str, Counter[str]] = field(default_factory=_figures)
    lengths: Counter[int] = field(default_factory=Counter)
    script: ScriptCount = field(default_factory=ScriptCount)
    dropped: defaultdict[str, Counter[str]] = field(default_factory=_figures)
    kept_findings: Findings = field(default_factory=Findings)
    dropped_findings: Findings = field(default_factory=Findings)
    clusters: Clusters = field(default_factory=Clusters)
    kept_rows: Draw[dict[str, Any]] = field(default_factory=lambda: Draw(NUM_KEPT))
    changed_rows: Draw[dict[str, Any]] = field(default_factory=lambda: Draw(NUM_CHANGED))
    dropped_rows: dict[str, Draw[dict[str, Any]]] = field(default_factory=dict)

    def note(self, row: Row, split: Split) -> None:
        """Count a row, but for its script's characters."""
        key = draw_key(self.seed, row.id)
        if split == "rejected":
            self._note_dropped(key, row)
            return
        characters = row.characters
        self.kind = self.kind or row.kind
        _count(self.splits[split], characters)
        _count(self.types[_known(row.type, self.types)], characters, f"{split}_")
        _count(self.decades[decade(row)], characters)
        _count(self.scripts[row.script], characters)
        _count(self.languages[_known(row.language, self.languages)], characters)
        self.lengths[bisect_right(LENGTHS, characters) - 1] += 1
        if row.notes:
            self.kept_findings.note(key, self._found(row))
        _draw(self.kept_rows, key, row)
        if ORIGINAL in row.notes:
            _draw(self.changed_rows, key, row)

    def add(self, other: Tally) -> None:
        self.kind = self.kind or other.kind
        for mine, theirs in (
            (self.splits, other.splits),
            (self.types, other.types),
            (self.decades, other.decades),
            (self.scripts, other.scripts),
            (self.languages, other.languages),
            (self.dropped, other.dropped),
        ):
            for name, counts in theirs.items():
                mine[_known(name, mine)].update(counts)
        self.lengths.update(other.lengths)
        self.script += other.script
        self.kept_findings.add(other.kept_findings)
        self.dropped_findings.add(other.dropped_findings)
        self.clusters.add(other.clusters)
        self.kept_rows.add(other.kept_rows)
        self.changed_rows.add(other.changed_rows)
        for reason, draw in other.dropped_rows.items():
            if reason in self.dropped_rows or len(self.dropped_rows) < MOST_REASONS:
                self.dropped_rows.setdefault(reason, Draw(NUM_DROPPED)).add(draw)

    def _found(self, row: Row) -> dict[str, Any]:
        return {name: value for name, value in row.notes.items() if name in self.steps}

    def _note_dropped(self, key: int, row: Row) -> None:
        reason = _known(reason_name(row), self.dropped)
        _count(self.dropped[reason], row.characters)
        self.dropped_findings.note(key, self._found(row))
        self.clusters.note(key, row.id, row.reason)
        if reason in self.dropped_rows or len(self.dropped_rows) < MOST_REASONS:
            _draw(self.dropped_rows.setdefault(reason, Draw(NUM_DROPPED)), key, row)


def tally_files(
    task: tuple[int, Sequence[tuple[Path, Split]], int, frozenset[str]],
) -> tuple[int, Tally]:
    """The task's number, and what its files come to: the unit of work of any engine."""
    number, files, seed, steps = task
    tally = Tally(seed, steps)
    for path, split in files:
        _tally_file(tally, path, split)
    return number, tally


def _tally_file(tally: Tally, path: Path, split: Split) -> None:
    block: list[str] = []
    characters = 0
    for row in read_file(path):
        tally.note(row, split)
        if split != "rejected":
            block.append(row.content)
            characters += row.characters
        if characters >= _BLOCK_CHARS:
            tally.script += count_script("".join(block))
            block, characters = [], 0
    tally.script += count_script("".join(block))


def reason_name(row: Row) -> str:
    """The reason without its detail: "duplicate: notes.jsonl:3" counts as "duplicate"."""
    return row.reason.partition(":")[0]


def decade(row: Row) -> str:
    return f"{row.year // 10 * 10}s" if row.year else "unknown"


def _count(figures: Counter[str], characters: int, prefix: str = "") -> None:
    """One row more. Not by Counter.update, which takes five times as long."""
    figures[f"{prefix}rows"] += 1
    figures[f"{prefix}characters"] += characters


def _known(name: str, figures: Mapping[str, Any]) -> str:
    return name if name in figures or len(figures) < MOST_KINDS else OTHERS


def _draw(draw: Draw[dict[str, Any]], key: int, row: Row) -> None:
    if draw.wants(key):
        draw.offer(key, excerpt(row))
    else:
        draw.pass_by()
