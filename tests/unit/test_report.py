"""The page at the end of a run, from a tiny made-up folder."""

from __future__ import annotations

import json
import math
import re
import xml.etree.ElementTree as ElementTree
from itertools import pairwise
from pathlib import Path

import pytest

from hanlin.columns import display_width
from hanlin.core.run.artifact import Manifest, write_json, write_manifest
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.numbers import count, duration
from hanlin.report import summary_lines, write_report
from hanlin.report.curve import alert_lines, draw_curve, draw_rates
from hanlin.report.facts import read_run
from hanlin.report.history import read_samples
from hanlin.report.markdown import plain
from hanlin.report.plotting import Curve, ticks
from hanlin.report.stages import tell_all
from hanlin.report.table import before_after

HOSTILE = '<script>alert("1")</script> | **粗** </svg> & `x`'


def put_step(run: Path, name: str, room: str, metrics: dict, events: list[dict], config: dict | None = None) -> Path:
    """A finished step: its manifest and its log, begun at 100 and ended at 110 seconds."""
    folder = run / name
    folder.mkdir(parents=True)
    address = "pip:example==1.0!data#sha256=00"
    inputs = [{"name": "sources.0", "kind": "source", "id": "0", "path": address, "licence": "MIT"}]
    facts = {"config": config or {}, "inputs": inputs if room == "collect" else [], "files": {}, "metrics": metrics}
    environment = {"machine": "A machine", "cpus": 2, "python": "3.12.0"}
    write_manifest(
        folder,
        Manifest(kind="model", room=room, method="", version=1, id="0123456789ab", environment=environment, **facts),
    )
    log = [{"event": "started", "time": 100.0}, *events, {"event": "finished", "time": 110.0}]
    lines = [json.dumps({"time": 105.0, **event}, ensure_ascii=False) + "\n" for event in log]
    (folder / "events.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


def put_corpus(run: Path, name: str = "corpus", kind: str = "text") -> None:
    metrics = {"kind": kind, "rows_read": 12, "rows": 10, "characters": 123_456, "heldout_rows": 1}
    metrics |= {"heldout_characters": 1200, "dropped": {"duplicate": 2}, "traditional_share": 0.9995}
    put_step(run, name, "collect", metrics | {"simplified_per_1000": 0.1}, [])


def put_base(run: Path) -> None:
    steps = [
        {"event": "step", "step": n, "progress": (n - 1) / 40, "seconds": 5.0 * n, "tokens": 64 * n, "bpc": 9 - n / 10}
        for n in range(1, 41)
    ]
    marks = []
    for at in (0.0, 0.25, 0.5, 0.75, 1.0):
        marks.append({"event": "sample", "at": at, "prompt": "人民之", "text": f"{HOSTILE} {at}"})
        marks.append({"event": "heldout", "at": at, "bpc": 8 - 4 * at})
        marks.append({"event": "milestone", "at": at, "step": int(40 * at)})
    metrics = {"parameters": 5_245_696, "steps": 40, "tokens": 2560, "seconds": 200.0, "heldout_bpc": 4.1}
    folder = put_step(run, "base", "pretrain", metrics, steps + marks, {"model": {"context": 64}})
    (folder / "model.safetensors").write_bytes(b"0" * 2_000_000)


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    run = tmp_path / "demo"
    put_corpus(run)
    put_corpus(run, "questions", "chat")
    rates = {"hanlin": 1.76, "GPT-2": 0.48, "Gemma 3": 1.25}
    put_step(
        run, "tokenizer", "tokenize", {"vocab_size": 8192, "characters_per_token": rates, "train_tokens": 70_000}, []
    )
    put_base(run)
    replies = [{"event": "heldout_replies", "at": at, "loss": 5 - at} for at in (0.0, 1.0)]
    tuned = {"steps": 5, "tokens": 900, "seconds": 20.0, "epochs": 1.5, "conversations": 9, "cut_rows": 2}
    put_step(run, "chat", "finetune", tuned | {"trained_tokens_per_epoch": 600}, replies)
    card = {"file": "model-q8_0.gguf", "file_bytes": 1_100_000, "kl_nats_mean": 0.0004, "top1_agreement": 0.987}
    card |= {
        "greedy_match": 30.0,
        "reply_tokens": 32,
        "bits_per_character_before": 4.2,
        "bits_per_character_after": 4.21,
    }
    put_step(run, "gguf", "quantize", {"weights_bytes": 2_000_000, "formats": {"q8_0": card}}, [])
    ledger = put_step(run, "ledger", "evaluate", {}, [], {"heldout_tokens": 1000, "num_questions": 2})
    columns = [
        {
            "name": name,
            "id": name,
            "figures": {"heldout_bpc": bpc, "stop_rate": rate},
            "samples": [{"prompt": "何謂法律？", "text": HOSTILE, "finish": "stop"}],
        }
        for name, bpc, rate in (("base", 4.15, 0.0), ("chat", 4.4, 0.75))
    ]
    write_json(ledger / "report.json", {"columns": columns})
    return run


def test_page_tells_every_stage_and_keeps_foreign_text_as_text(run_folder: Path):
    markdown, page = write_report(run_folder)
    html, text = page.read_text(encoding="utf-8"), markdown.read_text(encoding="utf-8")
    for told in ("12.3 萬字", "2 份重複", "8,192 個詞元", "525 萬", "每秒 13 個詞元", "8.00", "98.70 %", "+0.0100"):
        assert told in html and told in text.replace("\\", ""), told
    assert "<script" not in html and "<script" not in text
    assert "&lt;script&gt;" in html
    assert str(run_folder / "chat") in html
    assert not re.search(r"(src|href|url)\s*[=(]", html), "the page fetches nothing"


def test_every_picture_is_well_formed(run_folder: Path):
    html = write_report(run_folder)[1].read_text(encoding="utf-8")
    pictures = re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL)
    assert len(pictures) == 6, "life cycle, pretraining and fine-tuning, each wide and tall"
    for picture in pictures:
        ElementTree.fromstring(picture)


def test_table_puts_the_stages_side_by_side(run_folder: Path):
    table = before_after(read_run(run_folder))
    assert table is not None
    assert table.head == ["未訓練", "base", "chat", "Q8_0"]
    rows = {title.strip("　"): cells for title, cells, _ in table.rows}
    bits = rows["保留文字：每字元位元數"]
    assert [cell.text for cell in bits] == ["8.000", "4.150", "4.400", "+0.0100"]
    assert [cell.best for cell in bits] == [False, True, False, False]
    assert [cell.text for cell in rows["自行停止的回答"]] == ["", "0%", "75%", ""]
    assert [cell.text for cell in rows["檔案大小"]] == ["", "2.0 MB", "", "1.1 MB"]


def test_partial_run_gives_a_page_of_what_exists(tmp_path: Path):
    run = tmp_path / "demo"
    put_corpus(run)
    (run / "tokenizer.partial").mkdir()
    markdown, page = write_report(run)
    html = page.read_text(encoding="utf-8")
    assert "收集文字" in html and "學習曲線" not in html
    assert "尚未完成：tokenizer" in html and "尚未完成：tokenizer" in markdown.read_text(encoding="utf-8")
    assert any("尚未完成" in line for line in summary_lines(run))


def test_run_without_ledger_still_has_before_and_after(tmp_path: Path):
    run = tmp_path / "demo"
    put_base(run)
    table = before_after(read_run(run))
    assert table is not None and table.head == ["未訓練", "base"]
    assert "學習曲線" in write_report(run)[1].read_text(encoding="utf-8")


def test_empty_folder_is_refused(tmp_path: Path):
    with pytest.raises(HanlinError, match="no finished step"):
        write_report(tmp_path)


def test_repeated_steps_of_a_resumed_run_count_once(tmp_path: Path):
    def step(number: int, bpc: float) -> dict:
        return {"event": "step", "step": number, "seconds": float(number), "tokens": 1, "bpc": bpc}

    events = [
        step(1, 9.0),
        step(2, 8.0),
        step(3, 99.0),
        {"event": "started", "time": 200.0},
        step(3, 7.0),
        step(4, 6.0),
    ]
    again = [{"event": "sample", "at": 0.0, "prompt": "甲", "text": text} for text in ("舊", "新")]
    marks = [{"event": "heldout", "at": 1.0, "bpc": 6.5}, {"event": "milestone", "at": 1.0, "step": 4}]
    put_step(tmp_path, "base", "pretrain", {}, events + again + marks)
    base = read_run(tmp_path).steps[0]
    assert base.history.training("bpc", "steps") == [(1.0, 9.0), (2.0, 8.0), (3.0, 7.0), (4.0, 6.0)]
    assert [(point.seconds, point.bpc) for point in base.history.heldout] == [(4.0, 6.5)]
    assert read_samples(base.events) == {"甲": {0.0: "新"}}


def test_interrupted_time_is_not_counted(tmp_path: Path):
    sessions = [{"event": "step", "step": 1, "time": 104.0}, {"event": "started", "time": 1000.0}]
    put_step(tmp_path, "base", "pretrain", {}, sessions)
    path = tmp_path / "base" / "events.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace('"time": 110.0', '"time": 1007.0'), encoding="utf-8")
    assert read_run(tmp_path).steps[0].seconds == pytest.approx(4 + 7)


def test_summary_fits_a_terminal_and_its_columns_stand_below_each_other(run_folder: Path):
    lines = summary_lines(run_folder)
    assert max(map(display_width, lines)) <= 100
    head = next(line for line in lines if "未訓練" in line)
    row = next(line for line in lines if line.startswith("保留文字"))
    assert display_width(head[: head.index("chat") + 4]) == display_width(row[: row.index("4.400") + 5])


def test_unknown_rooms_are_left_out(run_folder: Path):
    put_step(run_folder, "extra", "merge", {}, [])
    assert "merge" not in [stage.step.room for stage in tell_all(read_run(run_folder))]
    write_report(run_folder)


@pytest.mark.parametrize(
    ("low", "high", "about", "expected"),
    [(4, 9, 5, [4, 5, 6, 7, 8, 9]), (0, 5, 6, [0, 1, 2, 3, 4, 5]), (4.5, 6, 5, [4.5, 5.0, 5.5, 6.0]), (1, 1, 5, [1])],
)
def test_ticks_are_round_numbers(low, high, about, expected):
    assert ticks(low, high, about) == pytest.approx(expected)


ODD = [
    (),
    ((1.0, math.nan),),
    ((1.0, 2.0),),
    ((0.0, math.inf), (1.0, -math.inf), (2.0, 1e300)),
    ((1.0, 0.0), (2.0, 0.0)),
]


@pytest.mark.parametrize("points", ODD)
@pytest.mark.parametrize("by", ["steps", "tokens", "minutes"])
def test_curve_survives_odd_numbers(points: tuple, by: str):
    for curves in ([Curve("", points)], [Curve("", points), Curve("", ((1.0, 2.0),), points)]):
        if picture := draw_curve(curves, "loss", by, 300, 200):
            ElementTree.fromstring(picture)
            assert "nan" not in picture and "inf" not in picture
    assert "nan" not in draw_rates(points, by, 300, 100)


def test_an_alert_stands_on_the_curve_and_below_it(run_folder: Path):
    """Two alerts at almost the same place are one line; what they say is text, whatever it holds."""
    folder = run_folder / "base"
    alerts = [
        {"event": "alert", "what": "spike", "step": step, "text": f"step {step}: {HOSTILE}"} for step in (20, 20, 21)
    ]
    with (folder / "events.jsonl").open("a", encoding="utf-8") as log:
        log.writelines(json.dumps({"time": 111.0, **event}, ensure_ascii=False) + "\n" for event in alerts)
    base = next(step for step in read_run(run_folder).steps if step.name == "base")
    assert [line.partition("。")[0] for line in alert_lines(base.history)] == [
        "第 20 步：損失突然跳高",
        "第 21 步：損失突然跳高",
    ]
    html = write_report(run_folder)[1].read_text(encoding="utf-8")
    assert html.count('<g class="mark">') == 4, "two lines, wide and tall"
    assert "第 20 步" in html and "<script" not in html
    assert "第 21 步" in (run_folder / "report.md").read_text(encoding="utf-8")


def test_values_beside_points_do_not_stand_upon_each_other():
    dots = tuple((float(x), 5 - x / 100) for x in range(0, 400, 4))
    picture = ElementTree.fromstring(draw_curve([Curve("", dots=dots)], "bpc", "steps", 720, 340))
    texts = [e for e in picture.iter() if e.tag.endswith("text") and e.get("class") == "value"]
    xs = sorted(float(text.get("x")) for text in texts)
    assert len(xs) > 5 and all(after - before >= 40 for before, after in pairwise(xs[1:]))
    assert len([e for e in picture.iter() if e.tag.endswith("circle")]) == 100


@pytest.mark.parametrize(
    ("number", "expected"), [(0, "0 字"), (5153, "5,153 字"), (276_775, "27.7 萬字"), (14_513_869, "1,451 萬字")]
)
def test_counts_read_as_in_taiwan(number, expected):
    assert count(number, "字") == expected


def test_durations():
    assert [duration(s) for s in (3.21, 48, 59.7, 303, 7800)] == [
        "3.2 秒",
        "48 秒",
        "1 分",
        "5 分 3 秒",
        "2 小時 10 分",
    ]


def test_plain_text_is_inert_in_markdown():
    assert plain("a|b\n*c* <i> [x](y)") == r"a\|b \*c\* &lt;i&gt; \[x\](y)"
