"""report.md: the same page as plain text, for a terminal, an editor or a code host."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

from hanlin.columns import one_line
from hanlin.core.run.numbers import choices, duration, percent
from hanlin.report import texts
from hanlin.report.curve import alert_lines
from hanlin.report.facts import Run, Step, read_replies
from hanlin.report.history import History, read_samples
from hanlin.report.stages import Stage, tell_all
from hanlin.report.table import Table, before_after

NUM_REPLIES = 3
MOST_SAMPLE_CHARACTERS = 160

_MARKS = re.compile(r"([\\`*_{}\[\]#|~])")


def plain(text: str) -> str:
    """Text that was not written here, on one line, with nothing that Markdown or HTML would act on."""
    return _MARKS.sub(r"\\\1", escape(one_line(text), quote=False))


def as_markdown(run: Run) -> str:
    """The whole page."""
    pretrained, chat = run.last("pretrain"), run.last("finetune")
    parts = [
        "# 一個語言模型的一生",
        f"{texts.LOOP}\n\n在這台電腦上花了 {duration(run.seconds)}。{plain(texts.size_sentence(run))}",
        f"> 尚未完成：{plain('、'.join(run.unfinished))}。再執行一次同樣的指令，就會從中斷的地方繼續。"
        if run.unfinished
        else "",
        _section("先認識五個詞", "\n".join(f"- **{term}**：{text}" for term, text in texts.glossary(run))),
        _section("每個階段做了什麼", "\n\n".join(_stage(n, s) for n, s in enumerate(tell_all(run), start=1))),
        _section("學習曲線", _curve(pretrained.history) if pretrained else ""),
        _section("邊學邊寫", _samples(pretrained)),
        _section("學著回答", _samples(chat)),
        _section("前後對照", _table(before_after(run))),
        _section("同一個問題，前後怎麼答", _replies(run)),
        _section("這個小模型做不到的事", "\n".join(f"- **{what}。**{why}" for what, why in texts.limits(run))),
        _section("接下來試試看", _next(run)),
        _section("來源", "\n".join(f"- {plain(source)}" for source in texts.sources(run))),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}" if body else ""


def _stage(number: int, stage: Stage) -> str:
    rows = "\n".join(f"| {plain(name)} | {plain(value)} |" for name, value in stage.figures)
    head = f"### {number}. {stage.title}（{plain(stage.step.name)}，{duration(stage.step.seconds)}）"
    return f"{head}\n\n{stage.what}\n\n| | |\n|---|---|\n{rows}"


def _curve(history: History) -> str:
    """The held-out points as a table; the drawing is in report.html."""
    rows = "\n".join(
        f"| {percent(point.at, 0)} | {duration(point.seconds)} | {point.bpc:.2f} | {choices(point.bpc)} |"
        for point in history.heldout
        if point.bpc is not None
    )
    if not rows:
        return ""
    return (
        "| 訓練進度 | 訓練時間 | 考題上的每字元位元數 | 等於從幾個字裡猜一個 |\n|---:|---:|---:|---:|\n"
        f"{rows}\n\n圖在 report.html。" + "".join(f"\n\n- {line}" for line in map(plain, alert_lines(history)))
    )


def _samples(step: Step | None) -> str:
    blocks = []
    for prompt, by_share in (read_samples(step.events) if step else {}).items():
        rows = "\n".join(f"| {percent(at, 0)} | {_cut(text)} |" for at, text in sorted(by_share.items()))
        blocks.append(f"「{plain(prompt)}」\n\n| 進度 | 模型寫的 |\n|---:|---|\n{rows}")
    return "\n\n".join(blocks)


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return plain(line[:MOST_SAMPLE_CHARACTERS]) + ("…" if len(line) > MOST_SAMPLE_CHARACTERS else "")


def _table(table: Table | None) -> str:
    if table is None:
        return ""
    head = "| | " + " | ".join(map(plain, table.head)) + " | |\n|---|" + "---:|" * len(table.head) + "---|\n"
    rows = []
    for title, cells, direction in table.rows:
        shown = [f"**{cell.text}**" if cell.best else plain(cell.text) for cell in cells]
        rows.append(f"| {plain(title)} | {' | '.join(shown)} | {direction} |")
    return head + "\n".join(rows) + "".join(f"\n\n{note}" for note in table.notes)


def _replies(run: Run) -> str:
    blocks = []
    for prompt, answers in read_replies(run, NUM_REPLIES):
        rows = "\n".join(f"| {plain(name)} | {_cut(text)} |" for name, text in answers)
        blocks.append(f"「{plain(prompt)}」\n\n| 模型 | 回答 |\n|---|---|\n{rows}")
    return "\n\n".join(blocks)


def _next(run: Run) -> str:
    commands: Sequence[tuple[str, str]] = texts.next_commands(run)
    steps = "\n\n".join(
        f"{number}. {why}\n\n   ```\n   {command}\n   ```" for number, (why, command) in enumerate(commands, 1)
    )
    own = "\n".join(texts.own_text_commands())
    return f"{steps}\n\n{texts.NOT_FOUND}\n\n或者換成自己的文字（.txt、.md、.jsonl 都可以）：\n\n```\n{own}\n```"
