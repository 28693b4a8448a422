"""What a person sees while a room works: one live bar, samples and alerts above it; plain lines when not a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hanlin.columns import one_line
from hanlin.conversation.files import read_conversation
from hanlin.core.run.events import Event, Listener
from hanlin.core.run.ranks import is_first
from hanlin.output import is_terminal
from hanlin.shows.funnel import funnel_lines

PLAIN_SECONDS = 15.0

NARROW = 100
"""Columns below which the bar is short and its figures are too."""


@contextmanager
def terminal_view() -> Iterator[Listener]:
    """A listener that shows events: a bar on a terminal, a line now and then in a log."""
    if not is_first():
        yield lambda event: None
        return
    if not is_terminal():
        yield PlainView()
        return
    from rich.console import Console

    with live_bars(Console()) as bars:
        yield LiveView(bars)


def live_bars(console: Any) -> Any:
    """A rich Progress of one line."""
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
    from rich.table import Column

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", table_column=Column(no_wrap=True)),
        BarColumn(bar_width=28 if console.width >= NARROW else 8),
        TextColumn("{task.fields[figures]}", markup=False, table_column=Column(no_wrap=True)),
    )
    return Progress(*columns, console=console, transient=True)


class PlainView:
    """Lines for a log file or a pipe."""

    def __init__(self) -> None:
        self._shown_at = float("-inf")

    def __call__(self, event: Event) -> None:
        if event["event"] in ("step", "progress"):
            if time.monotonic() - self._shown_at < PLAIN_SECONDS:
                return
            self._shown_at = time.monotonic()
        line = describe(event)
        if line:
            print(line, flush=True)


class LiveView:
    """A rich bar for the step under way; everything worth keeping is printed above it, alerts in red."""

    def __init__(self, bars: Any):
        self._bars = bars
        self._task: Any = None

    def __call__(self, event: Event) -> None:
        kind = event["event"]
        if kind == "started":
            self._task = self._bars.add_task(event["room"], total=1.0, figures="")
        elif kind in ("step", "progress"):
            self._advance(event)
        elif line := describe(event):
            style = "bold red" if kind == "alert" else None
            self._bars.console.print(line, highlight=False, markup=False, style=style)
        if kind in ("finished", "interrupted", "failed") and self._task is not None:
            self._bars.remove_task(self._task)
            self._task = None

    def _advance(self, event: Event) -> None:
        if self._task is None:
            return
        if event["event"] == "step":
            figures = step_figures(event, self._bars.console.width < NARROW)
            self._bars.update(self._task, completed=event["progress"], total=1.0, figures=figures)
        else:
            total = event.get("total")
            figures = f"{event['what']} {event['done']:,}" + (f"/{total:,}" if total else "") + _rows(event)
            self._bars.update(self._task, completed=event["done"] if total else 0, total=total, figures=figures)


def step_figures(event: Event, narrow: bool = False) -> str:
    """loss, bits per character, tokens/s, share of the machine's peak, and the time left, if it goes on as so far."""
    progress, speed, share = event["progress"], event["tokens_per_second"], event.get("peak_share")
    parts = [f"loss {event['loss']:.3f}"]
    if "bpc" in event:
        parts.append(f"{event['bpc']:.2f} bits/char")
    parts.append(f"{speed / 1000:.1f}k tok/s" if narrow and speed >= 10_000 else f"{speed:,.0f} tok/s")
    if share is not None:
        parts.append(f"{share:.0%} peak" if narrow else f"{share:.0%} of peak")
    if progress > 0.002:
        parts.append(f"{clock(event['seconds'] * (1 - progress) / progress)} left")
    return "  ".join(parts)


def clock(seconds: float) -> str:
    """4:31 · 1:04:31 · 2 d 3 h"""
    whole = int(seconds)
    if whole >= 86_400:
        return f"{whole // 86_400} d {whole % 86_400 // 3600} h"
    minutes = f"{whole % 3600 // 60:02d}" if whole >= 3600 else f"{whole // 60}"
    return (f"{whole // 3600}:" if whole >= 3600 else "") + f"{minutes}:{whole % 60:02d}"


def describe(event: Event) -> str:
    """One line for an event, or "" when it is not worth one."""
    shown: dict[str, Callable[[Event], str]] = {
        "recipe": lambda e: f"── {e['number']}/{e['of']} {e['step']} ({e['room']}) " + "─" * 30,
        "skipped": lambda e: f"   already made: {e['out']} (id {e['id'][:8]})",
        "download": lambda e: f"   downloading {e['source'].partition('#')[0]}",
        "note": lambda e: f"   note: {one_line(e['text'])}",
        "model": lambda e: f"   model: {e['parameters'] / 1e6:.1f} M parameters",
        "ready": lambda e: f"   ready after {e['seconds']:.0f} s (compiling)" if e["seconds"] >= 5 else "",
        "resumed": lambda e: (
            f"   resumed at step {e['step']}" + (f"; {e['again']} steps are run again" if e["again"] else "")
        ),
        "alert": lambda e: f"   {alert_words(e['what'], e['text'], e.get('step'))}",
        "sample": lambda e: f"   [{e['at']:4.0%}] {one_line(e['prompt'])}▸{one_line(e['text'])}",
        "heldout": lambda e: f"   [{e['at']:4.0%}] held-out: {_measured(e)}",
        "heldout_replies": lambda e: f"   [{e['at']:4.0%}] held-out replies: {_measured(e)}",
        "best": lambda e: f"   best so far: held-out loss {e['loss']:.3f} at step {e['step']}; kept",
        "certified": lambda e: f"   resume is exact: {_certified(e)}",
        "funnel": lambda e: "\n".join(f"   {line}" for line in funnel_lines(e)),
        "finished": lambda e: f"   done: {_figures(e['metrics'])}",
        "step": lambda e: f"   {e['progress']:4.0%} step {e['step']}  {step_figures(e)}",
        "progress": lambda e: (
            f"   {e['what']} {e['done']:,}" + (f"/{e['total']:,}" if e.get("total") else "") + _rows(e)
        ),
    }
    return shown[event["event"]](event) if event["event"] in shown else ""


def _rows(event: Event) -> str:
    return f", {event['rows']:,} rows" if event.get("rows") else ""


def alert_words(what: str, text: str, step: int | None) -> str:
    """! spike: step 412: loss 8.1, usually 5.0 (the step is said once)"""
    told = one_line(text)
    return f"! {what}: {told}" if step is None or str(step) in told else f"! {what} at step {step}: {told}"


def _measured(event: Event) -> str:
    known = [f"{event['bpc']:.2f} bits per character"] if event.get("bpc") is not None else []
    return ", ".join([*known, *([f"loss {event['loss']:.3f}"] if event.get("loss") is not None else [])])


def _certified(event: Event) -> str:
    moments = " and ".join(map(str, event["killed_after_steps"]))
    return f"{event['steps']} steps, killed after {moments}, ended with the same bits"


def _figures(metrics: dict[str, Any]) -> str:
    plain = {k: v for k, v in metrics.items() if isinstance(v, int | float)}
    return ", ".join(f"{k} {v:,.4g}" if isinstance(v, float) else f"{k} {v:,}" for k, v in list(plain.items())[:6])


def show_conversation(model: str, path: Path, plain: bool) -> None:
    """A conversation file as the model reads it: trained pieces green (or in 【】), special tokens blue."""
    from rich.console import Console

    from hanlin.core.model.opening import open_source
    from hanlin.core.text.chat import chat_tokenizer, render
    from hanlin.shows.rows import painted, told

    body = read_conversation(path)
    tokenizer = chat_tokenizer(open_source(model).tokenizer)
    rendered = render(body["messages"], tokenizer, tools=body.get("tools"))
    Console().print(painted(rendered, tokenizer, not plain), soft_wrap=True)
    print(f"\n{told(rendered)}")
