"""From three steps to the whole run: hours, tokens, epochs, memory, disk."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Any

from hanlin.columns import aligned
from hanlin.core.run.events import EVENTS_FILE, read_events
from hanlin.report.plotting import short

HEAD = ("step", "hours", "compiling", "tokens", "epochs", "peak memory", "disk", "of peak")


@dataclass(frozen=True)
class Scale:
    """Characters and rows of the real data for each of the rehearsed; None where the sources are too large to count."""

    characters: float | None = 1.0
    rows: float | None = 1.0


WHOLE = Scale()


@dataclass(frozen=True)
class Pace:
    """What the three steps showed, all on the longest batch: trained tokens a step and a second, the share of the
    machine's peak, seconds until the first step."""

    tokens_per_step: float
    tokens_per_second: float
    peak_share: float
    ready_seconds: float


@dataclass(frozen=True)
class Estimate:
    """Of a training step's real run. None is what can't be known here. disk_bytes: at its fullest, checkpoints
    included."""

    name: str
    seconds: float
    compile_seconds: float | None
    tokens: float
    epochs: float | None
    peak_bytes: int
    gpu_bytes: int
    disk_bytes: float
    peak_share: float


def read_pace(folder: Path) -> Pace:
    """Of a run that has logged its steps in `folder`."""
    steps = list(read_events(folder / EVENTS_FILE, "step"))
    ready = [event["seconds"] for event in read_events(folder / EVENTS_FILE, "ready")]
    return Pace(
        tokens_per_step=steps[0]["tokens"],
        tokens_per_second=statistics.median(event["tokens_per_second"] for event in steps),
        peak_share=statistics.median(event["peak_share"] for event in steps),
        ready_seconds=ready[0] if ready else 0.0,
    )


def tokens_per_step(pace: Pace, metrics: Mapping[str, Any], options: Any, made_of: Scale) -> float:
    """Trained tokens of an average step. Windows and packed rows are all of one size; of conversations the longest
    batch says little, so it is the mean of all."""
    if "conversations" not in metrics or options.pack:
        return pace.tokens_per_step
    rows = min(options.train.batch_rows, metrics["conversations"])
    longer = (made_of.characters or 1.0) / (made_of.rows or 1.0)
    return metrics["trained_tokens_per_epoch"] * longer * rows / metrics["conversations"]


def tokens_and_seconds(pace: Pace, train: Any, per_step: float) -> tuple[float, float]:
    """(trained tokens, seconds of training) until the run's end."""
    if train.minutes is not None:
        return train.minutes * 60 * pace.tokens_per_second, train.minutes * 60
    tokens = train.tokens if train.tokens is not None else train.steps * per_step
    return tokens, tokens / pace.tokens_per_second


def epochs(
    tokens: float, per_step: float, metrics: Mapping[str, Any], folder: Path, options: Any, made_of: Scale
) -> float | None:
    """How often the data is read. Of replayed text not a word: it is another corpus; nor of a draft's lessons."""
    if made_of.characters is None:
        return None
    if "trained_tokens_per_epoch" in metrics:
        return tokens / max(1.0, metrics["trained_tokens_per_epoch"] * made_of.characters)
    windows = next((event.get("windows") for event in read_events(folder / EVENTS_FILE, "model")), None)
    rows = tokens / per_step * options.train.batch_rows
    return rows / (windows * made_of.characters) if windows else None


def disk_bytes(partial: Mapping[str, int], model_bytes: int, train: Any, scale: float | None) -> float:
    """A checkpoint is written before an old one goes; what grows with the data (tokens, a teacher's answers) is scaled.

    partial: bytes below each entry of the unfinished folder.
    """
    checkpoint = max((size for name, size in partial.items() if name.startswith("checkpoint-")), default=0)
    of_data = sum(partial.get(name, 0) for name in ("tokens", "replay", "teacher"))
    return checkpoint * (train.keep_last + 1 + train.keep_best) + model_bytes + of_data * (scale or 1.0)


def sizes(folder: Path) -> dict[str, int]:
    """Bytes below each entry of a folder."""
    entries = folder.iterdir() if folder.is_dir() else ()
    return {entry.name: _size(entry) for entry in entries}


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else sum(p.stat().st_size for p in path.rglob("*") if p.is_file())


def table(estimates: Sequence[Estimate]) -> list[str]:
    """A line for each training step, and the totals; no column that has nothing to say."""
    rows = [_row(estimate) for estimate in estimates]
    if len(estimates) > 1:
        rows.append(_row(total(estimates)))
    told = [any(row[at] for row in rows) for at in range(len(HEAD))]
    return aligned([[*compress(row, told)] for row in (HEAD, *rows)], frozenset(range(1, len(HEAD))))


def total(estimates: Sequence[Estimate]) -> Estimate:
    """Hours and disk add up; memory is that of the greediest."""
    compiling = [e.compile_seconds for e in estimates if e.compile_seconds is not None]
    return Estimate(
        "in all",
        sum(e.seconds for e in estimates),
        sum(compiling) if compiling else None,
        sum(e.tokens for e in estimates),
        None,
        max(e.peak_bytes for e in estimates),
        max(e.gpu_bytes for e in estimates),
        sum(e.disk_bytes for e in estimates),
        0.0,
    )


def _row(e: Estimate) -> tuple[str, ...]:
    memory = f"{e.peak_bytes / 1e9:.2f} GB" if e.peak_bytes else "?"
    return (
        e.name,
        hours(e.seconds),
        f"{e.compile_seconds:.0f} s" if e.compile_seconds is not None else "",
        short(e.tokens),
        f"{e.epochs:.2f}" if e.epochs is not None else "",
        memory + (f" + GPU {e.gpu_bytes / 1e9:.1f} GB" if e.gpu_bytes else ""),
        f"{e.disk_bytes / 1e9:.2f} GB",
        f"{e.peak_share:.0%}" if e.peak_share else "",
    )


def hours(seconds: float) -> str:
    """0.08 · 12.5 · 340"""
    value = seconds / 3600
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"
