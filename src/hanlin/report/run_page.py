"""One run, or runs side by side, as a page: one file, nothing fetched. What was not written here is escaped."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from hanlin.core.run.artifact import write_atomic
from hanlin.core.run.numbers import count, duration, percent, size
from hanlin.core.run.page import document, section
from hanlin.report.comparison import Comparison, Row, figure, figures_of
from hanlin.report.curve import MEASURES, NUM_COLOURS, alert_lines, draw_curve, draw_rates
from hanlin.report.history import By, History
from hanlin.report.page import NARROW, WIDE, curve_figure, sample_blocks
from hanlin.report.record import Record, State, checkpoints

STATES: dict[State, str] = {
    "finished": "已完成",
    "running": "進行中",
    "interrupted": "被中斷",
    "failed": "失敗",
    "unfinished": "未完成",
}

PLACES: dict[By, str] = {"steps": "步", "tokens": "個詞元", "minutes": "分鐘"}

NOTES = {
    "rooms": "這些成品出自不同的步驟，損失的意義不一樣。",
    "data": "它們讀的資料不同，考題也就不同，考題上的數字不能直接相比。",
    "tokenizer": "它們的詞元可能不同，每詞元的損失不能直接相比。",
}

MOST_CHARACTERS = 80


def write_page(path: Path, text: str) -> None:
    write_atomic(path, text)


def run_page(record: Record, by: By = "steps") -> str:
    """The whole page of one run."""
    history = record.history()
    parts = [
        _run_head(record, history),
        section("學習曲線", _curves(history, by)),
        section("樣本", sample_blocks(record.events, record.room == "pretrain")),
        section("和預設不同的選項", _options(record)),
        section("輸入", _inputs(record)),
        section("數字", _figures(record, history)),
        section("檢查點", _checkpoints(record)),
    ]
    return document(f"{record.path.name}｜翰林", parts)


def _run_head(record: Record, history: History) -> str:
    tiles = [("狀態", _state(record), "")]
    measured = record.metrics.get("heldout_bpc") if history.measure == "bpc" else None
    if measured is None and history.heldout:
        measured = getattr(history.heldout[-1], history.measure)
    if measured is not None:
        tiles.append(("沒看過的考題", f"{measured:.3f}", MEASURES[history.measure]))
    if history.steps:
        last = history.steps[-1]
        tiles.append(("走了", f"{last['step']:,} 步", count(last["tokens"], "個詞元")))
        tiles.append(("純訓練時間", duration(last["seconds"]), ""))
    if (speed := history.median("tokens_per_second")) is not None:
        share = history.median("peak_share")
        tiles.append(("速度", f"每秒 {speed:,.0f}", "詞元" + (f"，峰值的 {percent(share, 0)}" if share else "")))
    shown = "".join(
        f'<div class="tile"><span>{name}</span><strong>{escape(value)}</strong><span>{unit}</span></div>'
        for name, value, unit in tiles
    )
    made = f"{record.room} {record.method}".strip()
    reason = f'<p class="alert">{escape(record.reason)}</p>' if record.reason else ""
    return (
        f"<header>\n<h1>{escape(str(record.path))}</h1>\n"
        f'<p class="lead">{escape(record.kind)}，由 {escape(made)} 製作'
        f"{f'，id {escape(record.id[:12])}' if record.id else ''}。</p>\n{reason}"
        f'<div class="tiles">{shown}</div>\n</header>'
    )


def _state(record: Record) -> str:
    known = record.state != "finished" and record.progress is not None
    return STATES[record.state] + (f" {percent(record.progress or 0.0, 0)}" if known else "")


def _curves(history: History, by: By) -> str:
    drawn = curve_figure(history, by)
    if not drawn:
        return ""
    rates = history.rates(by)
    sizes = ((*WIDE[:1], 130, WIDE[2]), (*NARROW[:1], 120, NARROW[2]))
    strip = "".join(draw_rates(rates, by, *each) for each in sizes)
    below = f"\n<figure>{strip}<figcaption>學習率，與最高時相比</figcaption></figure>" if strip else ""
    return f"<p>縱軸是{MEASURES[history.measure]}，越低越好。</p>\n{drawn}{below}"


def _options(record: Record) -> str:
    rows = [(name, (_written(value), _written(default))) for name, value, default in record.given]
    return _table(("這一次", "預設"), rows, style="words") if rows else "<p>沒有。</p>"


def _written(value: Any) -> str:
    text = value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False, default=str)
    return text[:MOST_CHARACTERS] + ("…" if len(text) > MOST_CHARACTERS else "")


def _inputs(record: Record) -> str:
    rows = [(e["name"], (e.get("kind", ""), e["path"], e.get("id", "")[:8])) for e in record.inputs]
    return _table(("種類", "路徑", "id"), rows, style="words") if rows else ""


def _figures(record: Record, history: History) -> str:
    rows = [(name, (figure(name, value),)) for name, value in figures_of(record, history).items()]
    return _table(("",), rows) if rows else ""


def _checkpoints(record: Record) -> str:
    rows = [(c.name, (f"{c.step:,}", size(c.bytes))) for c in checkpoints(record.path)]
    return _table(("步", "大小"), rows) if rows and record.state != "finished" else ""


def _table(
    head: Sequence[str],
    rows: Sequence[tuple[str, Sequence[str]]],
    best: Sequence[frozenset[int]] = (),
    style: str = "facts",
) -> str:
    """Rows of (name, cells); best: the places of the cells to mark in each row."""
    shown = []
    for place, (name, cells) in enumerate(rows):
        marked = best[place] if best else frozenset()
        body = "".join(
            f"<td{' class=best' if at in marked else ''}>{escape(c) or '·'}</td>" for at, c in enumerate(cells)
        )
        shown.append(f'<tr><th scope="row">{escape(name)}</th>{body}</tr>')
    titles = "".join(f'<th scope="col">{escape(title)}</th>' for title in head)
    top = f"<thead><tr><td></td>{titles}</tr></thead>" if any(head) else ""
    return f'<div class="scroll"><table class="{style}">{top}<tbody>{"".join(shown)}</tbody></table></div>'


# ── side by side ──────────────────────────────────────────────────────────────────────────────────────────────────


def comparison_page(comparison: Comparison) -> str:
    """The whole page of a comparison."""
    place = PLACES[comparison.by]
    parts = [
        _comparison_head(comparison),
        section("學習曲線", _overlaid(comparison)),
        section(
            f"走了一樣多{'' if comparison.by == 'minutes' else '的'}{place}以後", _rows(comparison, comparison.equal)
        ),
        section("多久學到一樣好", _reached(comparison)),
        section("數字", _rows(comparison, comparison.figures)),
        section("不同的選項和輸入", _rows(comparison, comparison.options, "words") or "<p>沒有。</p>"),
        section("警示", _alerts(comparison)),
    ]
    return document("比較｜翰林", parts)


def _comparison_head(comparison: Comparison) -> str:
    names = "".join(
        f'<li><b class="letter c{place % NUM_COLOURS}">{letter}</b> {escape(str(record.path))}'
        f'<span class="aside">{escape(f"{record.room} {record.method}".strip())}，{_state(record)}</span></li>'
        for place, (letter, record) in enumerate(zip(comparison.letters, comparison.records))
    )
    notes = "".join(f'<p class="alert">{NOTES[note]}</p>' for note in comparison.notes)
    return f'<header>\n<h1>比較 {len(comparison.records)} 個成品</h1>\n<ul class="names">{names}</ul>\n{notes}</header>'


def _overlaid(comparison: Comparison) -> str:
    drawn = "".join(draw_curve(comparison.curves, comparison.measure, comparison.by, *size) for size in (WIDE, NARROW))
    if not drawn:
        return ""
    measure = MEASURES[comparison.measure]
    return f"<p>縱軸是{measure}，越低越好。線是訓練文字，點是沒看過的考題。</p>\n<figure>{drawn}</figure>"


def _rows(comparison: Comparison, rows: Sequence[Row], style: str = "facts") -> str:
    if not rows:
        return ""
    marked = "<p><b class=best>粗體</b>是比較好的。</p>\n" if any(row.best for row in rows) else ""
    cells = [(row.name, [_written(cell) if cell else "" for cell in row.cells]) for row in rows]
    return marked + _table(comparison.letters, cells, [row.best for row in rows], style)


def _reached(comparison: Comparison) -> str:
    row = comparison.reached
    if row is None:
        return ""
    named = Row(f"到 {row.name} 為止，{PLACES[comparison.by]}", row.cells, row.best)
    return _rows(comparison, [named])


def _alerts(comparison: Comparison) -> str:
    lines = [
        f"<li><b>{letter}</b>　{escape(line)}</li>"
        for letter, record in zip(comparison.letters, comparison.records)
        for line in alert_lines(record.history())
    ]
    return f'<ul class="alerts small">{"".join(lines)}</ul>' if lines else ""
