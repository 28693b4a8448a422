"""What a person sees while a room works: one live bar, samples and notes above it; plain lines when not a terminal."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hanlin.core.run.artifact import is_artifact, read_manifest
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import Event, Listener

PLAIN_SECONDS = 15.0


@contextmanager
def terminal_view() -> Iterator[Listener]:
    """A listener that shows events: a bar on a terminal, a line now and then in a log."""
    if not sys.stdout.isatty():
        yield PlainView()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=28),
        TextColumn("{task.fields[figures]}"),
    )
    with Progress(*columns, console=Console(), transient=True) as bars:
        yield LiveView(bars)


class PlainView:
    """Lines for a log file or a pipe."""

    def __init__(self) -> None:
        self._shown_at = 0.0

    def __call__(self, event: Event) -> None:
        if event["event"] in ("step", "progress"):
            if time.monotonic() - self._shown_at < PLAIN_SECONDS:
                return
            self._shown_at = time.monotonic()
        line = describe(event)
        if line:
            print(line, flush=True)


class LiveView:
    """A rich bar for the step under way; everything worth keeping is printed above it."""

    def __init__(self, bars: Any):
        self._bars = bars
        self._task: Any = None
        self._room = ""

    def __call__(self, event: Event) -> None:
        kind = event["event"]
        if kind == "started":
            self._begin(event["room"])
        elif kind in ("step", "progress"):
            self._advance(event)
        elif line := describe(event):
            self._bars.console.print(line, highlight=False, markup=False)
        if kind in ("finished", "interrupted", "failed") and self._task is not None:
            self._bars.remove_task(self._task)
            self._task = None

    def _begin(self, room: str) -> None:
        self._room = room
        self._task = self._bars.add_task(room, total=1.0, figures="")

    def _advance(self, event: Event) -> None:
        if self._task is None:
            return
        if event["event"] == "step":
            self._bars.update(self._task, completed=event["progress"], total=1.0, figures=step_figures(event))
        else:
            total = event.get("total")
            figures = f"{event['what']} {event['done']:,}" + (f"/{total:,}" if total else "")
            self._bars.update(self._task, completed=event["done"] if total else 0, total=total, figures=figures)


def step_figures(event: Event) -> str:
    """loss, bits per character, tokens/s and the time left, as estimated from the progress so far."""
    progress, seconds = event["progress"], event["seconds"]
    parts = [f"loss {event['loss']:.3f}"]
    if "bpc" in event:
        parts.append(f"{event['bpc']:.2f} bits/char")
    parts.append(f"{event['tokens_per_second']:,.0f} tok/s")
    if progress > 0.002:
        left = seconds * (1 - progress) / progress
        parts.append(f"{int(left // 60)}:{int(left % 60):02d} left")
    return "  ".join(parts)


def describe(event: Event) -> str:
    """One line for an event, or "" when it is not worth one."""
    shown: dict[str, Callable[[Event], str]] = {
        "recipe": lambda e: f"── {e['number']}/{e['of']} {e['step']} ({e['room']}) " + "─" * 30,
        "skipped": lambda e: f"   already made: {e['out']} (id {e['id'][:8]})",
        "download": lambda e: f"   downloading {e['source'].partition('#')[0]}",
        "note": lambda e: f"   note: {e['text']}",
        "model": lambda e: f"   model: {e['parameters'] / 1e6:.1f} M parameters",
        "ready": lambda e: f"   ready after {e['seconds']:.0f} s (compiling)" if e["seconds"] >= 5 else "",
        "resumed": lambda e: (
            f"   resumed at step {e['step']}" + (f"; {e['again']} steps are run again" if e["again"] else "")
        ),
        "sample": lambda e: f"   [{e['at']:4.0%}] {e['prompt']}▸{_one_line(e['text'])}",
        "heldout": lambda e: f"   [{e['at']:4.0%}] held-out: {e['bpc']:.2f} bits per character",
        "finished": lambda e: f"   done: {_figures(e['metrics'])}",
        "step": lambda e: f"   {e['progress']:4.0%} step {e['step']}  {step_figures(e)}",
        "progress": lambda e: f"   {e['what']} {e['done']:,}" + (f"/{e['total']:,}" if e.get("total") else ""),
    }
    return shown[event["event"]](event) if event["event"] in shown else ""


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _figures(metrics: dict[str, Any]) -> str:
    plain = {k: v for k, v in metrics.items() if isinstance(v, int | float)}
    return ", ".join(f"{k} {v:,.4g}" if isinstance(v, float) else f"{k} {v:,}" for k, v in list(plain.items())[:6])


def list_runs(folder: Path) -> None:
    """A table of finished and unfinished artifacts below `folder`."""
    found = (
        sorted(p.parent for p in folder.rglob("manifest.json") if ".history" not in p.parts) if folder.exists() else []
    )
    for path in found:
        manifest = read_manifest(path)
        print(f"{path!s:36} {manifest.kind:10} {manifest.room:10} id {manifest.id[:8]}  {_figures(manifest.metrics)}")
    unfinished = sorted(folder.rglob("*.partial")) if folder.exists() else []
    for path in unfinished:
        if path.is_dir() and not is_artifact(path):
            print(f"{path!s:36} unfinished: the command that makes it continues it")
    if not found and not unfinished:
        print(f"Nothing in {folder} yet. Start with: hanlin demo")


def converse(model_path: str, options: dict[str, Any]) -> None:
    """A conversation in the terminal: the history is kept, Ctrl-C stops a reply, an empty line ends."""
    import hanlin

    model = hanlin.load(model_path)
    if not model.tokenizer.chat_template:
        raise HanlinError(
            f"{model_path} has no chat template: it is a base model, which continues text.",
            "a model that was taught to answer",
            f"hanlin generate {model_path} 從前",
            "docs/chat.md",
        )
    messages: list[dict[str, str]] = []
    print(f"{model_path}: {model.model.num_parameters() / 1e6:.1f} M parameters. 空白行結束對話。")
    while question := _ask():
        messages.append({"role": "user", "content": question})
        reply = ""
        try:
            for piece in hanlin.chat(model, messages, **options):
                print(piece, end="", flush=True)
                reply += piece
        except KeyboardInterrupt:
            pass
        print()
        messages.append({"role": "assistant", "content": reply or "…"})


def _ask() -> str:
    try:
        return input("› ").strip()
    except EOFError:
        return ""


def show_conversation(model: str, path: Path, plain: bool) -> None:
    """A conversation file as the model reads it: trained pieces green (or in 【】), special tokens blue."""
    from rich.console import Console
    from rich.text import Text

    from hanlin.core.model.opening import open_source
    from hanlin.core.text.chat import chat_tokenizer, render
    from hanlin.core.text.chat_view import pieces

    body = _read_conversation(path)
    tokenizer = chat_tokenizer(open_source(model).tokenizer)
    rendered = render(body["messages"], tokenizer, tools=body.get("tools"))
    text = Text()
    for piece in pieces(rendered, tokenizer):
        if plain:
            text.append(f"【{piece.text}】" if piece.trained else piece.text)
        else:
            text.append(piece.text, style=("bold green" if piece.trained else "cyan" if piece.special else ""))
    Console().print(text, soft_wrap=True)
    num_trained = sum(rendered.trained)
    print(f"\n{len(rendered.ids):,} tokens, {num_trained:,} trained", end="")
    print(f", {rendered.num_untrained_replies} replies can't be trained" if rendered.num_untrained_replies else "")


def _read_conversation(path: Path) -> dict[str, Any]:
    """{"messages": […], "tools": […]}, or the list of messages alone."""
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise HanlinError(
            f"{path} is not a readable conversation ({error}).",
            'JSON: {"messages": […]}',
            "correct the file",
            "docs/chat.md",
        ) from None
    body = {"messages": body} if isinstance(body, list) else body
    if not isinstance(body, dict) or not isinstance(body.get("messages"), list):
        raise HanlinError(f"{path} has no messages.", 'JSON: {"messages": […]}', "correct the file", "docs/chat.md")
    return body
