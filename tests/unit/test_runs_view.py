"""`hanlin runs`: runs in every state, from folders made up here, read, listed, shown and compared."""

from __future__ import annotations

import json
import math
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
import yaml

from hanlin.cli_runs import Along
from hanlin.columns import display_width
from hanlin.core.run.artifact import Manifest, write_manifest
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.execute import _locked, is_being_written
from hanlin.core.train import checkpoint
from hanlin.curves import Ink
from hanlin.make.pretrain.config import Pretrain
from hanlin.report.comparison import compare
from hanlin.report.record import PROGRESS_FILE, checkpoints, find_run, find_runs, read_record, runs_below
from hanlin.report.run_page import comparison_page, run_page
from hanlin.runs_compare import compare_lines
from hanlin.runs_view import list_lines, show_lines

HOSTILE = "<script>x</script> \x1b[31mred"


def events_of(steps: int, last: float = 3.0, speed: float = 1000.0, alerts: tuple[int, ...] = ()) -> list[dict]:
    """A training run of 100 tokens a step whose bits per character fall in a straight line from 9 to `last`."""
    events: list[dict] = [{"event": "sample", "at": 0.0, "prompt": "台灣", "text": HOSTILE}]
    events.append({"event": "heldout", "at": 0.0, "bpc": 9.1})
    for n in range(1, steps + 1):
        bpc = 9 + (last - 9) * (n - 1) / max(1, steps - 1)
        figures = {"loss": bpc * math.log(2), "bpc": bpc, "norm": 1.0, "rate": 1 - n / steps, "peak_share": 0.25}
        where = {"step": n, "progress": (n - 1) / steps, "seconds": n * 100 / speed, "tokens": 100 * n}
        events.append({"event": "step", **where, **figures, "tokens_per_second": speed})
        if n in alerts:
            events.append({"event": "alert", "what": "spike", "step": n, "text": f"step {n}: {HOSTILE}"})
    return [*events, {"event": "heldout", "at": 1.0, "bpc": last + 0.5}]


def put_log(folder: Path, events: list[dict], room: str = "pretrain") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    started = {"event": "started", "room": room, "inputs": {"corpus": "runs/語料", "tokenizer": "runs/tok"}}
    timed = [{"event": e["event"], "time": 1e9 + 2 * at, **e} for at, e in enumerate([started, *events])]
    lines = [json.dumps(event, ensure_ascii=False) for event in timed]
    (folder / "events.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def put_run(folder: Path, events: list[dict], options: dict | None = None, metrics: dict | None = None) -> Path:
    """A finished run of pretrain."""
    put_log(folder, events)
    config = Pretrain.model_validate(options or {}).model_dump(mode="json")
    inputs = [{"name": n, "kind": n, "id": f"{n[:3]}0123456789", "path": f"runs/{n}"} for n in ("corpus", "tokenizer")]
    facts: dict[str, Any] = {"config": config, "inputs": inputs, "files": {}, "metrics": metrics or {}, "version": 1}
    write_manifest(folder, Manifest(kind="model", room="pretrain", method="qwen3", id="0123456789ab", **facts))
    return folder


def put_partial(folder: Path, events: list[dict], options: dict | None = None) -> Path:
    put_log(folder, events)
    body = {"room": "pretrain", **Pretrain.model_validate(options or {}).model_dump(mode="json")}
    (folder / "config.yaml").write_text(f"# id: abcdef012345\n{yaml.safe_dump(body)}", encoding="utf-8")
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """One run of each state."""
    folder = tmp_path / "runs"
    put_run(
        folder / "示範" / "基礎", events_of(50, alerts=(20, 30)), metrics={"heldout_bpc": 3.25, "parameters": 5_000}
    )
    put_partial(folder / "killed.partial", events_of(10))
    put_partial(folder / "stopped.partial", [*events_of(10), {"event": "interrupted", "room": "pretrain"}])
    failed = {"event": "failed", "room": "pretrain", "error": "The loss is nan at step 11.\n  expected: …"}
    put_partial(folder / "failed.partial", [*events_of(10), failed])
    put_partial(folder / "begun.partial", [])
    return folder


def row_of(lines: list[str], name: str) -> str:
    return next(line for line in lines if name in line)


# ── the list ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_state_is_told(runs: Path) -> None:
    lines = list_lines(runs)
    assert len(lines) == 1 + 5 + 1, "a head, a row each, and the reason of the failure"
    for name, words in {
        "基礎": ["model", "pretrain qwen3", "finished", "3.250 bits/char", "50", "2"],
        "killed": ["unfinished 90%", "3.500 bits/char", "10"],
        "stopped": ["interrupted 90%"],
        "failed": ["failed 90%"],
        "begun": ["unfinished"],
    }.items():
        row = row_of(lines, name)
        assert all(re.search(rf"(^|\s){re.escape(word)}(\s|$)", row) for word in words), row
        assert str(runs) in row, "the path as it was given"
    assert lines[lines.index(row_of(lines, "failed.partial")) + 1].strip() == "The loss is nan at step 11."


def test_columns_stand_below_each_other_whatever_the_width_of_a_character(runs: Path) -> None:
    head, *rows = [line for line in list_lines(runs) if not line.startswith("    ")]
    at = display_width(head.partition("made by")[0])
    for row in rows:
        assert display_width(row.partition("pretrain")[0]) == at


def test_what_runs_now_is_told_by_its_lock(runs: Path) -> None:
    partial = runs / "killed.partial"
    assert not is_being_written(partial)
    with _locked(partial):
        assert is_being_written(partial)
        assert "running 90%" in row_of(list_lines(runs), "killed")
        with pytest.raises(HanlinError, match="Another run is writing"), _locked(partial):
            pass
    assert not is_being_written(partial)
    lock = runs / ".killed.partial.lock"
    lock.touch()  # what a killed run leaves behind
    assert not is_being_written(partial)
    with _locked(partial):  # looking has not taken it
        pass


def test_a_torn_last_line_and_a_broken_one(runs: Path) -> None:
    """A run is read while it is written; a log that was damaged does not hide the other runs."""
    log = runs / "killed.partial" / "events.jsonl"
    with log.open("a", encoding="utf-8") as file:
        file.write('{"event": "step", "st')
    assert len(read_record(log.parent).history().steps) == 10
    log.write_text("garbage\n" + log.read_text(encoding="utf-8"), encoding="utf-8")
    assert "unreadable" in row_of(list_lines(runs), "killed")
    with pytest.raises(HanlinError, match="not JSON"):
        read_record(log.parent)


def test_a_narrow_terminal_leaves_columns_out_and_a_pipe_none(runs: Path) -> None:
    wide, narrow = list_lines(runs), list_lines(runs, width=10)
    assert {"kind", "minutes", "steps"} <= set(wide[0].split())
    assert not {"kind", "minutes", "steps"} & set(narrow[0].split())
    assert "3.250 bits/char" in row_of(narrow, "基礎") and "alerts" in narrow[0]


def test_only_colours_differ_on_a_terminal(runs: Path) -> None:
    coloured = list_lines(runs, ink=Ink(colours=True))
    assert [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in coloured] == list_lines(runs)
    assert any("\x1b[" in line for line in coloured)


def test_runs_are_found_in_a_natural_order_and_not_inside_each_other(tmp_path: Path) -> None:
    for name in ("run-10", "run-2", "a/b/c", ".history/old"):
        put_run(tmp_path / name, [])
    put_run(tmp_path / "run-2" / "inside", [])
    assert [run.relative_to(tmp_path).as_posix() for run in runs_below(tmp_path)] == ["run-2", "run-10", "a/b/c"]


def test_an_empty_and_a_missing_folder(tmp_path: Path) -> None:
    assert list_lines(tmp_path) == [f"Nothing in {tmp_path} yet. Start with: hanlin demo"]
    (tmp_path / "runs").mkdir()
    with pytest.raises(HanlinError, match="does not exist") as error:
        list_lines(tmp_path / "rnus")
    assert error.value.expected == f'did you mean "{tmp_path / "runs"}"?'


# ── one run ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_one_run_is_shown_whole(runs: Path) -> None:
    path = put_run(runs / "own", events_of(50, alerts=(20, 30)), {"model": {"depth": 6}}, {"heldout_bpc": 3.25})
    text = "\n".join(show_lines(read_record(path)))
    for told in (
        "model made by pretrain qwen3, finished",
        "model.depth  6  default 4",
        "corpus     corpus     runs/corpus     id cor01234",
        "heldout_bpc  3.250",
        "1,000 tokens/s, 25% of the machine's matrix peak",
        "bits per character",
        "held-out: 0% 9.100  100% 3.500",
        "learning rate",
        "Alerts (2)",
        "! spike: step 20: <script>",
        "台灣▸",
    ):
        assert told in text, told
    assert "\x1b" not in text, "no colours, and none that the model wrote"
    assert text.count("!") >= 4, "two on the axis, two below"
    assert max(map(display_width, show_lines(read_record(path), width=80))) <= 3 * 80


@pytest.mark.parametrize("by", Along)
def test_an_unfinished_run_is_shown_with_what_it_goes_on_from(runs: Path, by: Along) -> None:
    kept = runs / "killed.partial" / f"{checkpoint.PREFIX}00000009"
    kept.mkdir()
    (kept / PROGRESS_FILE).write_text(json.dumps({"step": 9, "seconds": 1.0}), encoding="utf-8")
    (kept / "state.safetensors").write_bytes(b"0" * 1_500_000)
    text = "\n".join(show_lines(read_record(find_run(runs / "killed")), by.value))
    assert "unfinished 90%" in text and "checkpoint-00000009  step 9  1.5 MB" in text
    assert "runs/語料" in text and "id abcdef01" in text and f"Curve over {by.value}" in text
    (kept / PROGRESS_FILE).write_text("torn", encoding="utf-8")
    assert checkpoints(runs / "killed.partial") == [], "replaced while it was read"


def test_what_a_checkpoint_holds_has_one_name() -> None:
    assert PROGRESS_FILE == checkpoint.PROGRESS_FILE


def test_a_run_that_has_only_begun(runs: Path) -> None:
    assert show_lines(read_record(runs / "begun.partial"))[0].endswith("made by pretrain, unfinished")
    (runs / "empty.partial").mkdir()
    assert show_lines(read_record(runs / "empty.partial"))
    assert "<svg" not in run_page(read_record(runs / "empty.partial"))


def test_a_resumed_run_counts_each_step_once(tmp_path: Path) -> None:
    """Killed after step 10, taken up at 8; the alert of step 9 came twice."""
    first, again = events_of(10, alerts=(9,))[:-1], events_of(20, alerts=(9,))
    later = [e for e in again if e.get("step", 0) > 8 or e.get("at") == 1.0]
    path = put_partial(tmp_path / "a.partial", [*first, {"event": "resumed", "step": 8, "again": 2}, *later])
    history = read_record(path).history()
    assert [event["step"] for event in history.steps] == list(range(1, 21))
    assert [(alert.step, alert.place["step"]) for alert in history.alerts] == [(9, 9)]
    assert [(point.at, point.place["step"]) for point in history.heldout] == [(0.0, 0), (1.0, 20)]
    assert history.num_resumed == 1
    assert "resumed once" in show_lines(read_record(path))[1]


def test_the_short_reading_finds_the_same(runs: Path) -> None:
    path = runs / "示範" / "基礎"
    whole, short = read_record(path), read_record(path, every_step=False)
    assert len(short.events) < 10
    assert short.history().steps[-1] == whole.history().steps[-1]
    assert len(short.history().alerts) == len(whole.history().alerts) and short.seconds == whole.seconds


def test_the_measure_is_one_that_both_steps_and_held_out_points_have(tmp_path: Path) -> None:
    replies = [{**e, "event": "heldout_replies", "loss": 2.0} if e["event"] == "heldout" else e for e in events_of(5)]
    for event in replies:
        if event["event"] == "heldout_replies":
            del event["bpc"]
    history = read_record(put_partial(tmp_path / "a.partial", replies)).history()
    assert history.measure == "loss" and len(history.measured("loss", "steps")) == 2


# ── names ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_run_is_found_by_its_name_and_a_near_one_is_offered(runs: Path) -> None:
    assert find_run(runs / "killed") == find_run(runs / "killed.partial") == runs / "killed.partial"
    with pytest.raises(HanlinError, match="There is no run") as error:
        find_run(runs / "kiled")
    assert error.value.do == f"hanlin runs show {runs / 'killed.partial'}"
    with pytest.raises(HanlinError, match="is a folder of 5 runs") as error:
        find_run(runs, "hanlin runs compare")
    assert error.value.do.startswith("hanlin runs compare ")
    with pytest.raises(HanlinError, match="There is no run") as error:
        find_run(runs / "nothing-alike-at-all")
    assert error.value.do == "hanlin runs list"
    (runs / "notes").mkdir()
    with pytest.raises(HanlinError, match="is not a run"):
        find_run(runs / "notes")


def test_a_name_alone_is_looked_for_under_runs(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(runs.parent)
    with pytest.raises(HanlinError) as error:
        find_run(Path("基礎"))
    assert error.value.do == "hanlin runs show runs/示範/基礎"


def test_two_different_runs_are_needed(runs: Path) -> None:
    with pytest.raises(HanlinError, match="nothing to compare"):
        find_runs([runs / "killed", runs / "killed.partial"])


# ── side by side ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def pair(tmp_path: Path) -> list[Path]:
    """B learns faster, at half the speed."""
    slow = put_run(
        tmp_path / "a", events_of(100, 5.0), {"train": {"steps": 100}}, {"heldout_bpc": 5.5, "parameters": 7}
    )
    fast = put_run(
        tmp_path / "b",
        events_of(50, 3.0, 500.0, alerts=(3,)),
        {"train": {"steps": 50, "seed": 1}},
        {"heldout_bpc": 3.5, "parameters": 7},
    )
    return [slow, fast]


def test_runs_side_by_side(pair: list[Path]) -> None:
    found = compare([read_record(path) for path in pair])
    assert {row.name: row.cells for row in found.options} == {"train.steps": ("100", "50"), "train.seed": ("0", "1")}
    best = {row.name: row.best for row in found.figures}
    assert best["heldout_bpc"] == {1} and best["tokens_per_second"] == {0} and best["alerts"] == {0}
    assert best["parameters"] == best["steps"] == best["peak_share"] == frozenset()
    assert [row.name for row in found.equal] == ["5", "12", "25", "38", "50"], "of the shorter run"
    assert all(row.best == {1} for row in found.equal)
    assert found.measure == "bpc" and found.notes == ()


def test_the_loss_at_equal_places_is_the_mean_before_them(pair: list[Path]) -> None:
    """A line from 9 to 5 in 100 steps; at 50 the mean of the last 2.5 steps is that of 48, 49 and 50."""
    found = compare([read_record(path) for path in pair])
    expected = sum(9 - 4 * (n - 1) / 99 for n in (48, 49, 50)) / 3
    assert found.equal[-1].cells[0] == f"{expected:.3f}"


@pytest.mark.parametrize(("by", "faster"), [("steps", 1), ("tokens", 1), ("minutes", 1)])
def test_when_both_had_reached_the_same(pair: list[Path], by: Any, faster: int) -> None:
    found = compare([read_record(path) for path in pair], by)
    assert found.reached is not None and found.reached.best == {faster}
    if by == "steps":
        first, second = (int(cell) for cell in found.reached.cells)
        assert first == 100 and 33 <= second <= 36, "B falls to 5 in two thirds of its 50 steps"


def test_what_can_not_be_compared_is_said(pair: list[Path], tmp_path: Path) -> None:
    other = put_run(tmp_path / "c", events_of(5))
    manifest = json.loads((other / "manifest.json").read_text(encoding="utf-8"))
    manifest["inputs"][0]["id"] = "another"
    (other / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    assert compare([read_record(pair[0]), read_record(other)]).notes == ("data",)
    manifest |= {"room": "finetune"}
    (other / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    found = compare([read_record(pair[0]), read_record(other)])
    assert "rooms" in found.notes and found.equal == () and found.reached is None
    assert "different rooms" in "\n".join(compare_lines(found))


def test_the_comparison_is_drawn_and_marked(pair: list[Path]) -> None:
    found = compare([read_record(path) for path in pair])
    text = "\n".join(compare_lines(found))
    assert re.search(r"heldout_bpc\s+5\.500\s+3\.500 \*", text)
    assert "\x1b" not in text and "a" in text and "B" in text
    coloured = compare_lines(found, ink=Ink(colours=True))
    assert [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in coloured if "heldout_bpc" in line]
    assert any("\x1b[1;32m" in line and "3.500 *" in line for line in coloured)
    assert max(map(display_width, compare_lines(found, width=80)[3:])) <= 80, "below the paths"


def test_runs_without_training_are_compared_too(tmp_path: Path) -> None:
    paths = [
        put_run(tmp_path / name, [], metrics={"characters": n, "kl_nats": n / 7}) for name, n in (("a", 7), ("b", 9))
    ]
    found = compare([read_record(path) for path in paths])
    assert found.equal == () and found.reached is None
    assert {row.name: row.best for row in found.figures} == {"characters": frozenset(), "kl_nats": {0}}
    assert "over steps" not in "\n".join(compare_lines(found))
    comparison_page(found)


# ── the pages ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_pages_are_whole_and_fetch_nothing(pair: list[Path]) -> None:
    one = run_page(read_record(pair[1]), "tokens")
    both = comparison_page(compare([read_record(path) for path in pair], "minutes"))
    for page in (one, both):
        assert "<script" not in page and not re.search(r"(src|href|url)\s*[=(]", page)
        pictures = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
        assert pictures and all(ElementTree.fromstring(picture) is not None for picture in pictures)
    assert "&lt;script&gt;" in one and "損失突然跳高" in one and one.count('<g class="mark">') == 2
    assert both.count('class="end c1"') == 2, "each curve has its letter, wide and tall"
    assert "<td class=best>3.500</td>" in both
