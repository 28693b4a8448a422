"""report.html: one file, nothing fetched. Every text that was not written here is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from hanlin.columns import one_line
from hanlin.core.run.events import Event
from hanlin.core.run.numbers import choices, count, duration, percent
from hanlin.core.run.page import document, section
from hanlin.report import texts
from hanlin.report.curve import MEASURES, alert_lines, draw_curve
from hanlin.report.facts import Run, Step, read_replies
from hanlin.report.history import By, History, read_samples
from hanlin.report.picture import draw_tall, draw_wide, stations
from hanlin.report.stages import Stage, tell_all
from hanlin.report.table import Table, before_after

NUM_REPLIES = 3

WIDE, NARROW = (720, 340, "wide"), (340, 280, "tall")
"""Width, height and class of a curve on a screen and on a phone: the page's CSS shows one of them."""

MOST_SAMPLE_CHARACTERS = 240


def as_html(run: Run) -> str:
    """The whole page."""
    stages = tell_all(run)
    pretrained = run.last("pretrain")
    learning = pretrained.history if pretrained else History()
    parts = [
        _head(run, learning),
        section("一生的樣子", _cycle(run, stages)),
        section("先認識五個詞", _glossary(run)),
        section("每個階段做了什麼", _stages(stages)),
        section("學習曲線", _pretraining_curve(learning)),
        section("邊學邊寫", _samples(pretrained, "固定的開頭，在預訓練進行到不同程度時，讓模型接著寫。")),
        section(
            "學著回答",
            _finetuning_curve(run.last("finetune"))
            + _samples(run.last("finetune"), "同樣的問題（訓練時沒看過），在微調進行到不同程度時的回答。"),
        ),
        section("前後對照", _table(before_after(run))),
        section("同一個問題，前後怎麼答", _replies(run)),
        section("這個小模型做不到的事", _limits(run)),
        section("接下來試試看", _next(run)),
    ]
    return document("翰林：一個語言模型的一生", [*parts, _foot(run)])


def _head(run: Run, learning: History) -> str:
    corpus, pretrained = run.text_corpus, run.last("pretrain")
    read = f"，從 {count(corpus.metrics['characters'], '字')}的原始文字" if corpus else ""
    goal = "做出一個會對話的小模型" if run.last("finetune") else "做到這一步"
    tiles = []
    if pretrained:
        tiles.append(("權重", count(pretrained.metrics["parameters"]), "個可以調整的數字"))
        tiles.append(("讀過", count(pretrained.metrics["tokens"]), "個詞元"))
    first = learning.at_first.bpc if learning.at_first else None
    last = learning.at_last.bpc if learning.at_last else None
    if first is not None and last is not None:
        tiles.append(("猜下一個字", f"{choices(first)} → {choices(last)}", "從這麼多個字裡猜一個"))
        tiles.append(("每字元位元數", f"{first:.2f} → {last:.2f}", "越低越好"))
    shown = "".join(
        f'<div class="tile"><span>{name}</span><strong>{value}</strong><span>{unit}</span></div>'
        for name, value, unit in tiles
    )
    left = (
        f'<p class="alert">尚未完成：{escape("、".join(run.unfinished))}。'
        "再執行一次同樣的指令，就會從中斷的地方繼續。</p>"
    )
    return (
        '<header>\n<div class="seal" aria-hidden="true"><span>翰</span><span>林</span></div>\n'
        f'<h1>一個語言模型的一生</h1>\n<p class="lead">在這台電腦上花了 {duration(run.seconds)}{read}，{goal}。'
        "這一頁說明每一步發生了什麼事，不需要任何背景知識。</p>\n"
        + (f'<div class="tiles">{shown}</div>\n' if tiles else "")
        + (left if run.unfinished else "")
        + "</header>"
    )


def _cycle(run: Run, stages: Sequence[Stage]) -> str:
    boxes, evaluated = stations(stages), run.last("evaluate") is not None
    return f"<figure>{draw_wide(boxes, evaluated)}{draw_tall(boxes, evaluated)}</figure>"


def _glossary(run: Run) -> str:
    items = "".join(f"<div><dt>{escape(term)}</dt><dd>{escape(text)}</dd></div>" for term, text in texts.glossary(run))
    return f'<dl class="terms">{items}</dl>'


def _stages(stages: Sequence[Stage]) -> str:
    cards = []
    for number, stage in enumerate(stages, start=1):
        figures = "".join(
            f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in stage.figures
        )
        cards.append(
            f'<article><h3><span class="number">{number}</span>{stage.title}'
            f'<span class="aside">{escape(stage.step.name)}・{duration(stage.step.seconds)}</span></h3>'
            f"<p>{stage.what}</p><dl>{figures}</dl></article>"
        )
    return f'<div class="stages">{"".join(cards)}</div>'


def _pretraining_curve(history: History) -> str:
    drawn = curve_figure(history)
    if not drawn:
        return ""
    return (
        f"<p>縱軸是{MEASURES[history.measure]}：線越往下，模型猜下一個字越準。一開始掉得最快，因為它先學會哪些字常見，"
        f"接著才慢慢學會詞、句子和文體。</p>\n{drawn}\n"
        '<p class="small">圖上的點只讀一小段考題，下面的表讀得比較多，所以數字略有不同。</p>'
    )


def _finetuning_curve(step: Step | None) -> str:
    drawn = curve_figure(step.history) if step else ""
    return (
        f"<p>縱軸是{MEASURES['loss']}，只算回答的部分：越往下，標準答案在它眼中越理所當然。</p>\n{drawn}\n"
        if drawn
        else ""
    )


def curve_figure(history: History, by: By = "minutes") -> str:
    """The curve, for a screen and for a phone, what its marks mean, and the alerts in words; "" where none was
    measured."""
    measure = history.measure
    curve = history.curve("", measure, by)
    wide, narrow = (draw_curve([curve], measure, by, *size) for size in (WIDE, NARROW))
    if not wide:
        return ""
    keys = [("line", "訓練文字（中位數）"), ("band", "單步的高低")] if curve.points else []
    keys += [("dot", "沒看過的考題")] if curve.dots else []
    keys += [("mark", "警示")] if curve.marks else []
    caption = "　".join(f'<span><span class="key key-{name}"></span>{text}</span>' for name, text in keys)
    alerts = "".join(f"<li>{escape(line)}</li>" for line in alert_lines(history))
    return f"<figure>{wide}{narrow}<figcaption>{caption}</figcaption></figure>" + (
        f'\n<ul class="alerts small">{alerts}</ul>' if alerts else ""
    )


def _samples(step: Step | None, lead: str) -> str:
    blocks = sample_blocks(step.events, step.room == "pretrain") if step else ""
    return f"<p>{lead}「�」是還拼不成一個字的位元組。</p>\n{blocks}" if blocks else ""


def sample_blocks(events: Iterable[Event], continues: bool) -> str:
    """What a model wrote at each share of its training. continues: the text goes on from the prompt, which is shown."""
    blocks = []
    for place, (prompt, by_share) in enumerate(read_samples(events).items()):
        rows = "".join(
            f'<li><span class="share">{percent(at, 0)}</span><p>{_written(prompt if continues else "", text)}</p></li>'
            for at, text in sorted(by_share.items())
        )
        blocks.append(
            f"<details{' open' if place == 0 else ''}><summary>「{escape(prompt)}」</summary>"
            f'<ol class="samples">{rows}</ol></details>'
        )
    return "\n".join(blocks)


def _written(prompt: str, text: str) -> str:
    """The prompt, marked, and what followed; cut when long."""
    shown = one_line(text) or "（沒有文字）"
    cut = shown[:MOST_SAMPLE_CHARACTERS] + ("…" if len(shown) > MOST_SAMPLE_CHARACTERS else "")
    return (f"<b>{escape(prompt)}</b>" if prompt else "") + escape(cut)


def _table(table: Table | None) -> str:
    if table is None:
        return ""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in table.head)
    rows = []
    for title, cells, direction in table.rows:
        shown = "".join(f"<td{' class=best' if cell.best else ''}>{escape(cell.text) or '·'}</td>" for cell in cells)
        style = ' class="sub"' if title.startswith("　") else ""
        hint = f"<small>{direction}</small>" if direction else ""
        rows.append(f'<tr{style}><th scope="row">{escape(title.strip("　"))}{hint}</th>{shown}</tr>')
    notes = "".join(f"<li>{note}</li>" for note in table.notes)
    return (
        "<p>同一份考題，每個階段各考一次，<b class=best>粗體</b>是該列最好的。"
        "微調常常讓接龍變差一點，換來會回答：得到什麼、失去什麼，這裡都看得到。</p>\n"
        f'<div class="scroll"><table><thead><tr><td></td>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>\n" + (f'<ul class="small">{notes}</ul>' if notes else "")
    )


def _replies(run: Run) -> str:
    blocks = []
    for prompt, answers in read_replies(run, NUM_REPLIES):
        rows = "".join(
            f'<li><span class="share">{escape(name)}</span><p>{_written("", text)}</p></li>' for name, text in answers
        )
        blocks.append(f'<div class="reply"><h3>{escape(prompt)}</h3><ol class="samples">{rows}</ol></div>')
    return "\n".join(blocks)


def _limits(run: Run) -> str:
    items = "".join(f"<li><b>{escape(what)}。</b>{escape(why)}</li>" for what, why in texts.limits(run))
    return (
        f'<p>{escape(texts.size_sentence(run))}請不要相信它說的內容：</p>\n<ul class="limits">{items}</ul>\n'
        "<p>想要更好，方法是更多文字、更大的模型、更久的訓練；步驟和這一頁完全相同。</p>"
    )


def _next(run: Run) -> str:
    items = "".join(
        f"<li><p>{escape(why)}</p><pre><code>{escape(command)}</code></pre></li>"
        for why, command in texts.next_commands(run)
    )
    own = "\n".join(map(escape, texts.own_text_commands()))
    return (
        f'<ol class="next">{items}</ol>\n<p class="small">{texts.NOT_FOUND}</p>\n'
        "<p>或者換成自己的文字（.txt、.md、.jsonl 都可以）：</p>\n"
        f"<pre><code>{own}</code></pre>"
    )


def _foot(run: Run) -> str:
    return (
        "<footer>\n"
        + _line("文字來源", texts.sources(run))
        + _line("機器", [texts.machine(run)])
        + _line("成品", [f"{step.name} {step.manifest.id[:8]}" for step in run.steps])
        + f"<p>查看一個成品從哪裡來：<code>hanlin lineage {escape(str(run.steps[-1].path))}</code></p>\n</footer>"
    )


def _line(title: str, values: Iterable[str]) -> str:
    shown = "<br>".join(f"<span>{escape(value)}</span>" for value in values if value)
    return f"<div><b>{title}</b><div>{shown}</div></div>\n" if shown else ""
