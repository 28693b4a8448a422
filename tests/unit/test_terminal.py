"""What a person sees while a room works: one bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from hanlin.columns import aligned, cut, display_width, one_line, pad
from hanlin.core.run.events import EVENTS_FILE, EventLog, read_events
from hanlin.core.train.watch import Watch
from hanlin.output import is_terminal, print_lines, terminal_ink
from hanlin.terminal import LiveView, PlainView, clock, describe, live_bars, step_figures, terminal_view

STEP: dict[str, Any] = {
    "event": "step",
    "step": 12,
    "progress": 0.25,
    "seconds": 90.0,
    "tokens": 24_576,
    "loss": 5.0678,
}
STEP |= {"bpc": 4.1, "norm": 1.0, "rate": 1.0, "tokens_per_second": 12_345.6, "peak_share": 0.4123}
ALERT = {
    "event": "alert",
    "what": "spike",
    "step": 12,
    "text": "step 12: loss 9.1, usually 5.0 (documents: [red]甲)\n\x1b[31m",
}


@pytest.mark.parametrize("narrow", [False, True])
def test_a_step_says_loss_bits_speed_share_and_time_left(narrow: bool) -> None:
    words = step_figures(STEP, narrow).split("  ")
    speed, share = ("12.3k tok/s", "41% peak") if narrow else ("12,346 tok/s", "41% of peak")
    assert words == ["loss 5.068", "4.10 bits/char", speed, share, "4:30 left"]


def test_what_is_not_known_is_left_out() -> None:
    step = {name: value for name, value in STEP.items() if name not in ("bpc", "peak_share")} | {"progress": 0.0}
    assert step_figures(step) == "loss 5.068  12,346 tok/s"


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0, "0:00"), (271, "4:31"), (3_871, "1:04:31"), (180_000, "2 d 2 h")]
)
def test_time_left(seconds: float, expected: str) -> None:
    assert clock(seconds) == expected


@pytest.mark.parametrize(
    ("event", "line"),
    [
        ({"event": "progress", "what": "near", "done": 3}, "   near 3"),
        (
            {"event": "progress", "what": "collect", "done": 1, "total": 2, "rows": 12_345},
            "   collect 1/2, 12,345 rows",
        ),
        ({"event": "heldout", "at": 0.5, "bpc": 4.2}, "   [ 50%] held-out: 4.20 bits per character"),
        ({"event": "heldout", "at": 0.5, "loss": 4.2}, "   [ 50%] held-out: loss 4.200"),
        ({"event": "heldout_replies", "at": 1.0, "loss": 2.0}, "   [100%] held-out replies: loss 2.000"),
        ({"event": "best", "step": 9, "loss": 2.0}, "   best so far: held-out loss 2.000 at step 9; kept"),
        (
            {"event": "certified", "steps": 12, "killed_after_steps": [3, 7], "weights_sha256": "ab"},
            "   resume is exact: 12 steps, killed after 3 and 7, ended with the same bits",
        ),
        ({"event": "alert", "what": "disk", "step": 9, "text": "only 1 GB"}, "   ! disk at step 9: only 1 GB"),
        ({"event": "alert", "what": "nan", "text": "no step"}, "   ! nan: no step"),
        (ALERT, "   ! spike: step 12: loss 9.1, usually 5.0 (documents: [red]甲) �[31m"),
        ({"event": "checkpoint", "step": 9}, ""),
        ({"event": "made up later"}, ""),
    ],
)
def test_each_event_is_one_line(event: dict, line: str) -> None:
    assert describe(event) == line


def live(events: list[dict], width: int = 80, **console: Any) -> str:
    screen = io.StringIO()
    bars = live_bars(Console(file=screen, force_terminal=True, width=width, color_system="standard", **console))
    with bars:
        view = LiveView(bars)
        for event in [{"event": "started", "room": "pretrain"}, *events]:
            view(event)
        bars.refresh()
    return screen.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_the_bar_is_one_line_with_every_figure(width: int) -> None:
    assert step_figures(STEP, width < 100) in live([STEP], width)


def test_an_alert_is_printed_in_red_and_is_not_markup() -> None:
    screen = live([STEP, ALERT])
    assert "\x1b[1;31m   ! spike: step 12" in screen and "[red]甲" in screen
    assert "�[31m" in screen, "what a document holds is not obeyed"


def test_a_bar_shows_the_figures_of_other_work_too() -> None:
    screen = live([{"event": "progress", "what": "counting [x]", "done": 1200, "total": None}])
    assert "counting [x] 1,200" in screen


def test_plain_lines_come_at_once_but_steps_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    view = PlainView()
    for event in (STEP, {**STEP, "step": 13}, ALERT, {"event": "heldout", "at": 0.5, "bpc": 4.2}):
        view(event)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["25%", "!", "["]
    assert "step 12" in lines[0] and "\x1b" not in "".join(lines)


def test_without_a_terminal_there_is_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with terminal_view() as listener:
        assert isinstance(listener, PlainView)


def test_colours_are_for_terminals_that_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert is_terminal() and terminal_ink().colours
    monkeypatch.setenv("NO_COLOR", "1")
    assert is_terminal() and not terminal_ink().colours
    monkeypatch.setenv("NO_COLOR", "")
    monkeypatch.setenv("TERM", "dumb")
    assert not is_terminal() and not terminal_ink().colours


def test_an_output_without_the_characters_gets_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Big5 has neither braille nor ▸; a list of runs is printed all the same."""
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="cp950", newline="\n"))
    assert not terminal_ink().unicode
    print_lines(["台灣▸⣿"])
    sys.stdout.flush()
    assert written.getvalue().decode("cp950") == "台灣??\n"


def test_what_the_loop_alerts_is_what_is_told(tmp_path: Path) -> None:
    """The loop's own watch, through a real log."""
    log = EventLog(tmp_path / EVENTS_FILE)
    watch = Watch(log, tmp_path)
    for step in range(1, 31):
        watch.step(step, 3.0 + 0.01 * (step % 3), 0.1, "甲.txt")
    watch.step(31, 9.0, 0.1, "乙.txt")
    log.close()
    (alert,) = read_events(tmp_path / EVENTS_FILE, "alert")
    assert describe(alert).startswith("   ! spike: step 31: loss 9.000") and "乙.txt" in describe(alert)


def test_columns_of_full_width_characters() -> None:
    assert display_width("台灣a") == 5 and display_width("e\u0301") == 1
    assert pad("台", 4) == "台  " and pad("台", 4, right=True) == "  台"
    assert cut("台灣大學", 5) == "台灣…" and cut("abc", 3) == "abc" and cut("abc", 0) == ""
    assert aligned([["a", "", "1"], ["台灣", "", "22"]], frozenset({2})) == ["a      1", "台灣  22"]


def test_a_model_can_not_write_to_the_terminal() -> None:
    assert one_line("a\n b\u3000c\x1b[2J\x07") == "a b c�[2J�"


def test_the_funnel_of_a_corpus() -> None:
    steps = [
        {
            "step": "read",
            "rows_out": 1200,
            "characters_out": 34_567,
            "dropped": {"too short": [3, 9], "empty": [10, 0]},
        },
        {"step": "normalise", "rows_out": 1200, "characters_out": 2_500_000, "dropped": {}},
    ]
    counts = {"train": {"rows": 1_100, "characters": 10}, "heldout": {"rows": 90, "characters": 5}}
    dropped = {"too short": 3, "empty": 10, "other\x1b kind": 10}
    event = {"event": "funnel", "steps": steps, "splits": counts, "dropped": dropped}
    assert describe(event).splitlines() == [
        "   read       1,200 rows  34.6 k characters  −10 empty, −3 too short",
        "   normalise  1,200 rows   2.5 M characters",
        "   kept       1,190 rows      15 characters  −10 other� kind",
        "              train 1,100, heldout 90",
    ]
