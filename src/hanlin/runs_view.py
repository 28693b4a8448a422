"""`hanlin runs`: what has been made and what is unfinished as a table, and one run as a page of text."""

from __future__ import annotations

import difflib
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hanlin.columns import aligned, cut, display_width, one_line
from hanlin.core.run.errors import HanlinError
from hanlin.curves import PLAIN, Ink, draw
from hanlin.report.comparison import figure, figures_of
from hanlin.report.history import By, History, Measure, read_samples
from hanlin.report.plotting import Axis, Curve, short
from hanlin.report.record import Checkpoint, Record, checkpoints, read_record, runs_below
from hanlin.terminal import alert_words

MEASURES: dict[Measure, str] = {"bpc": "bits per character", "loss": "loss, nats per token"}

STATE_COLOURS = {"finished": "32", "running": "1;36", "interrupted": "33", "unfinished": "33", "failed": "1;31"}
ALERT_COLOUR = "1;31"

CURVE_HEIGHT, RATE_HEIGHT = 20, 7
LATEST_ALERTS, LONGEST_VALUE = 12, 44

DEFAULT_FOLDER = Path("runs")

HEAD = ("path", "kind", "made by", "state", "key figure", "steps", "minutes", "alerts")
OPTIONAL = ("kind", "minutes", "steps")
"""Columns left out on a narrow terminal, the first ones first."""

KEY_FIGURES: dict[str, Callable[[float], str]] = {
    "heldout_bpc": "{:.3f} bits/char".format,
    "heldout_loss": "{:.3f} held-out loss".format,
    "reply_loss": "{:.3f} reply loss".format,
    "loss": "{:.3f} loss".format,
    "formats.q8_0.kl_nats_mean": "KL {:.2g} (q8_0)".format,
    "characters_per_token.hanlin": "{:.2f} chars/token".format,
    "characters": lambda value: f"{short(value)} characters",
}
"""A run is known by the first of these that it has."""


# ── the list ──────────────────────────────────────────────────────────────────────────────────────────────────────


def list_lines(folder: Path, width: int | None = None, ink: Ink = PLAIN) -> list[str]:
    """A table of the runs below `folder`, in the order of their paths. width: None keeps every column."""
    runs = list(runs_below(folder))
    if not folder.exists() and folder != DEFAULT_FOLDER:
        near = difflib.get_close_matches(str(folder), [str(p) for p in folder.parent.glob("*") if p.is_dir()], n=1)
        raise HanlinError(
            f"{folder} does not exist.",
            f'did you mean "{near[0]}"?' if near else "a folder with runs in it",
            "hanlin runs list FOLDER",
            "docs/runs.md",
        )
    if not runs:
        return [f"Nothing in {folder} yet. Start with: hanlin demo"]
    rows: list[tuple[str, ...]] = []
    problems: dict[int, str] = {}
    for path in runs:
        try:
            record = read_record(path, every_step=False)
        except ValueError as error:  # one broken folder must not hide the others
            problems[len(rows)] = str(error).partition("\n")[0]
            rows.append((str(path), "", "", "unreadable", "", "", "", ""))
            continue
        if record.reason:
            problems[len(rows)] = one_line(record.reason)
        rows.append(_list_row(record))
    return _list_table(rows, problems, width, ink)


def _list_row(record: Record) -> tuple[str, ...]:
    history = record.history()
    last = history.steps[-1] if history.steps else None
    seconds = last["seconds"] if last else record.seconds
    return (
        str(record.path),
        record.kind,
        " ".join(filter(None, (record.room, record.method))),
        state_words(record),
        key_figure(record, history),
        f"{last['step']:,}" if last else "",
        f"{seconds / 60:.1f}",
        str(len(history.alerts) or ""),
    )


def state_words(record: Record) -> str:
    """finished · running 43% · interrupted 43% · failed 43% · unfinished"""
    if record.state == "finished" or record.progress is None:
        return record.state
    return f"{record.state} {record.progress:.0%}"


def key_figure(record: Record, history: History) -> str:
    """The held-out figure where there is one; else the loss, or what the room is about."""
    facts = figures_of(record, history)
    if "heldout_bpc" not in facts and history.heldout:
        point = history.heldout[-1]
        measured = {"heldout_bpc": point.bpc, "heldout_loss": point.loss}
        facts |= {name: value for name, value in measured.items() if value is not None}
    if "loss" not in facts and history.steps and "loss" in history.steps[-1]:
        facts["loss"] = history.steps[-1]["loss"]
    return next((form(facts[name]) for name, form in KEY_FIGURES.items() if name in facts), "")


def _list_table(rows: Sequence[tuple[str, ...]], problems: dict[int, str], width: int | None, ink: Ink) -> list[str]:
    places = [place for place in range(len(HEAD)) if place == 0 or any(row[place] for row in rows)]
    for name in OPTIONAL:
        if width is None or max(map(display_width, _table(rows, places))) <= width:
            break
        places = [place for place in places if HEAD[place] != name]
    head, *lines = _table(rows, places)
    shown = [ink.paint(head, "2")]
    for place, (row, line) in enumerate(zip(rows, lines)):
        shown.append(_coloured(line, row, ink))
        if place in problems:
            shown.append(ink.paint(f"    {problems[place]}", ALERT_COLOUR))
    return shown


def _table(rows: Sequence[tuple[str, ...]], places: Sequence[int]) -> list[str]:
    right = frozenset(at for at, place in enumerate(places) if HEAD[place] in ("steps", "minutes", "alerts"))
    return aligned([[row[place] for place in places] for row in (HEAD, *rows)], right)


def _coloured(line: str, row: tuple[str, ...], ink: Ink) -> str:
    """The state in its colour, and alerts in red. Searched from the right: a path may hold any word."""
    if row[-1] and line.endswith(row[-1]):
        line = line[: -len(row[-1])] + ink.paint(row[-1], ALERT_COLOUR)
    before, state, after = line.rpartition(f" {row[3]} ") if f" {row[3]} " in line else line.rpartition(row[3])
    return before + ink.paint(state, STATE_COLOURS.get(row[3].partition(" ")[0], ALERT_COLOUR)) + after


# ── one run ───────────────────────────────────────────────────────────────────────────────────────────────────────


def show_lines(record: Record, by: By = "steps", width: int = 80, ink: Ink = PLAIN) -> list[str]:
    """Everything a person asks of one run, for a terminal of this width."""
    history = record.history()
    parts = [
        _title(record, history, ink),
        _section("Options that are not the room's defaults", _options(record, width), ink),
        _section("Inputs", _inputs(record), ink),
        _section("Figures", _figures(record, history), ink),
        _section("Speed", _speed(history), ink),
        _section(f"Curve over {by}", _curve(history, by, width, ink), ink),
        _section(f"Alerts ({len(history.alerts)})", _alerts(history, ink), ink),
        _section("Samples", _samples(record, width), ink),
        _section("Checkpoints", _checkpoints(record), ink),
    ]
    return [line for part in parts for line in part]


def _section(title: str, lines: Sequence[str], ink: Ink) -> list[str]:
    return ["", ink.paint(title, "1"), *lines] if lines else []


def _title(record: Record, history: History, ink: Ink) -> list[str]:
    state = ink.paint(state_words(record), STATE_COLOURS[record.state])
    made_by = " ".join(filter(None, (record.room, record.method)))
    facts = [f"id {record.id[:8]}"] if record.id else []
    if record.events:
        facts.append(f"begun {time.strftime('%Y-%m-%d %H:%M', time.localtime(record.events[0]['time']))}")
        facts.append(f"{record.seconds / 60:.1f} minutes at work")
    if history.num_resumed:
        facts.append(f"resumed {history.num_resumed} times" if history.num_resumed > 1 else "resumed once")
    lines = [f"{ink.paint(str(record.path), '1')}: {record.kind or 'run'} made by {made_by}, {state}"]
    lines += [ink.paint(f"  {one_line(record.reason)}", ALERT_COLOUR)] if record.reason else []
    return [*lines, "  " + "  ".join(facts)] if facts else lines


def _options(record: Record, width: int) -> list[str]:
    rows = [(f"  {name}", _written(value), f"default {_written(default)}") for name, value, default in record.given]
    return [cut(line, width) for line in aligned(rows)] if rows else ["  none"]


def _written(value: Any) -> str:
    """As it is typed on the command line, cut when long."""
    return cut(
        one_line(value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)), LONGEST_VALUE
    )


def _inputs(record: Record) -> list[str]:
    rows = [
        (f"  {e['name']}", e.get("kind", ""), e["path"], f"id {e['id'][:8]}" if e.get("id") else "")
        for e in record.inputs
    ]
    return aligned(rows) if rows else []


def _figures(record: Record, history: History) -> list[str]:
    facts = figures_of(record, history)
    rows = [(f"  {name}", figure(name, value)) for name, value in facts.items() if name not in _ELSEWHERE]
    return aligned(rows, frozenset({1})) if rows else []


_ELSEWHERE = ("tokens_per_second", "peak_share", "alerts")


def _speed(history: History) -> list[str]:
    speed, share = history.median("tokens_per_second"), history.median("peak_share")
    if speed is None:
        return []
    peak = f", {share:.0%} of the machine's matrix peak" if share is not None else ""
    return [f"  {speed:,.0f} tokens/s{peak} (median of the steps)"]


def _curve(history: History, by: By, width: int, ink: Ink) -> list[str]:
    measure = history.measure
    curve = history.curve("", measure, by)
    if not (curve.points or curve.dots):
        return []
    legend = [MEASURES[measure], "line: median, dots: spread"]
    legend += ["o held-out"] if curve.dots else []
    legend += ["! alert"] if curve.marks else []
    lines = draw([curve], width, CURVE_HEIGHT, "   ".join(legend), ink)
    if curve.dots:
        lines += ["", "  held-out: " + "  ".join(f"{p.at:.0%} {_measured(p, measure)}" for p in history.heldout)]
    if rates := history.rates(by):
        highest = max(1.0, *(y for _, y in rates))
        title = "learning rate, share of the highest"
        lines += ["", *draw([Curve("", tuple(rates))], width, RATE_HEIGHT, title, ink, Axis(0.0, highest))]
    return lines


def _measured(point: Any, measure: Measure) -> str:
    value = getattr(point, measure)
    return f"{value:.3f}" if value is not None else "·"


def _alerts(history: History, ink: Ink) -> list[str]:
    lines = [
        ink.paint(f"  {alert_words(a.what, a.text, a.step)}", ALERT_COLOUR) for a in history.alerts[-LATEST_ALERTS:]
    ]
    left = len(history.alerts) - len(lines)
    return [f"  … {left} before these", *lines] if left else lines


def _samples(record: Record, width: int) -> list[str]:
    lines = []
    for prompt, by_share in read_samples(record.events).items():
        at = max(by_share)
        lines.append(cut(f"  [{at:4.0%}] {one_line(prompt)}▸{one_line(by_share[at])}", 3 * width))
    return lines


def _checkpoints(record: Record) -> list[str]:
    if record.state == "finished":
        return []
    rows = [(f"  {c.name}", f"step {c.step:,}", f"{c.bytes / 1e6:,.1f} MB") for c in _kept(record)]
    lines = aligned(rows, frozenset({1, 2})) if rows else []
    if record.state != "running":
        lines.append("  The command that makes it goes on from here." if rows else "  none: its command begins again.")
    return lines


def _kept(record: Record) -> list[Checkpoint]:
    return sorted(checkpoints(record.path), key=lambda c: c.step)
