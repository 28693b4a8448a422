"""`hanlin collect … --dry-run`: what would happen, as lines to read before it does."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hanlin.columns import cut, one_line
from hanlin.curves import Ink
from hanlin.shows.funnel import funnel_lines, size

if TYPE_CHECKING:
    from hanlin.make.collect.config import Collect
    from hanlin.make.collect.dry_run import Sample, Trial

ALERT, HEAD, BEFORE, AFTER = "1;31", "1", "31", "32"

WORKERS = {"one": "one process", "pool": "a pool of {} processes", "ray": "Ray, {} tasks at once"}
COMPRESSED = re.compile(r"\.(gz|bz2|xz|zst|zip|7z|tgz|epub|docx|pptx|xlsx|pdf)$")


def show_dry_run(
    values: Mapping[str, Any], sample_rows: int, show: Callable[[Iterable[str]], None], width: int, ink: Ink
) -> None:
    """Print the plan, and what becomes of the sources' first rows. `out=` is not touched."""
    from hanlin.core.run.config import build
    from hanlin.make.collect.dry_run import dry_run
    from hanlin.rooms import ROOMS
    from hanlin.workflow import open_inputs, split_values

    room = ROOMS["collect"]
    named, options = split_values(room, {name: value for name, value in values.items() if name != "out"})
    config = build(room.config_class, options, room.name)
    inputs = open_inputs(room, named, Path(str(values.get("out") or "runs/collect")), {}, ())
    show(lines_of(dry_run(config, inputs, sample_rows), config, sample_rows, width, ink))  # type: ignore[arg-type]


def lines_of(trial: Trial, config: Collect, sample_rows: int, width: int, ink: Ink) -> list[str]:
    what = "all rows" if trial.is_whole else f"{sample_rows:,} rows of each source, the first of its files"
    lines = [f"Dry run on {what}; nothing is kept", *_head("Sources", ink)]
    for sample in trial.samples:
        lines += [f"  {line}" for line in _source(sample)]
    lines += _head("Plan", ink)
    lines.append(f"  {trial.num_units:,} {_units(trial.num_units)} in {WORKERS[trial.engine].format(trial.workers)}")
    lines += [f"  {number}. {_step(step)}" for number, step in enumerate(config.steps, start=1)]
    held = f"{config.heldout_share:.1%} held out, by {config.heldout}" if config.heldout_share else "nothing held out"
    lines += [f"  rows={config.rows}, {held}"]
    if trial.report:
        lines += [*_head("What becomes of them", ink), *(f"  {line}" for line in funnel_lines(trial.report))]
        lines += _changes(trial, width, ink)
    if trial.warnings:
        lines += _head("Warnings", ink)
        lines += [f"  {ink.paint(f'! {one_line(text)}', ALERT)}" for text in trial.warnings]
    if trial.report:
        lines += ["", _all(trial)]
    return lines


def _head(title: str, ink: Ink) -> Iterator[str]:
    yield from ("", ink.paint(title, HEAD))


def _units(number: int) -> str:
    return "unit of work" if number == 1 else "units of work"


def _source(sample: Sample) -> Iterator[str]:
    source = sample.source
    yield one_line(source.address) + (f" ({one_line(source.licence)})" if source.licence else "")
    readers = ", ".join(f"{number:,} by {name}" for name, number in sample.readers.items())
    skipped = ", ".join(f"{number:,} × {one_line(name)}" for name, number in list(source.skipped.items())[:8])
    yield f"  {source.files:,} {'file' if source.files == 1 else 'files'} ({readers})" + (
        f"; not read: {skipped}" if skipped else ""
    )
    of_it = "all of it" if sample.share == 1 else f"about {sample.share:.1%} of it"
    read = f"  {sample.rows:,} rows, {size(sample.characters)} characters in {sample.seconds:.1f} s, {of_it}"
    rough = sample.share < 1 and COMPRESSED.search(source.address.lower())
    yield read + (" (a compressed source: roughly)" if rough else "")
    yield from (f"  note: {one_line(note)}" for note in sample.notes[:5])


def _step(step: Any) -> str:
    """near (threshold=0.9)"""
    given = {name: getattr(step, name) for name in step.model_fields_set if name != "step"}
    told = ", ".join(f"{name}={value}" for name, value in given.items())
    return f"{step.step} ({told})" if told else step.step


def _changes(trial: Trial, width: int, ink: Ink) -> Iterator[str]:
    if not trial.num_changed:
        return
    yield from _head(f"Changed by the steps: {trial.num_changed:,} rows, as", ink)
    for change in trial.changes:
        yield f"  {one_line(change.id)}"
        before, after = parting(change.before, change.after, width - 6)
        yield ink.paint(f"    - {cut(before, width - 6)}", BEFORE)
        yield ink.paint(f"    + {cut(after, width - 6)}", AFTER)


def parting(before: str, after: str, characters: int) -> tuple[str, str]:
    """Both texts where they part, on one line each; line ends are ⏎, and blanks stay: they may be what was changed."""
    from hanlin.make.collect.report.differences import around_first_difference

    first, second = map(_on_one_line, around_first_difference(before, after, characters))
    return first, second


def _on_one_line(text: str) -> str:
    text = text.replace("\n", "⏎").replace("\t", "⇥")
    return "".join(c if c.isprintable() or c == "\u3000" else "�" for c in text)


def _all(trial: Trial) -> str:
    kept = sum(counts["rows"] for counts in trial.report["splits"].values())
    share = kept / (trial.report["rows_read"] or 1)
    if trial.is_whole:
        return f"That was all: {trial.rows:,} rows in {_time(trial.seconds)}."
    return (
        f"All of it: about {size(trial.rows)} rows with {size(trial.characters)} characters, {share:.0%} kept, "
        f"in about {_time(trial.seconds)}."
    )


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{max(seconds, 0.1):.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
