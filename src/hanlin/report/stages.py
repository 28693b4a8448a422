"""Each finished step as a newcomer reads it: a title, one sentence on what it is, its key figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hanlin.core.run.numbers import count, divergence, duration, percent, size
from hanlin.report.facts import Run, Step

Figures = list[tuple[str, str]]

REASONS = {
    "names a scan": "只有掃描檔的檔名，沒有文字",
    "not a question": "不是問句",
    "duplicate": "重複",
    "too short": "太短",
    "empty": "空白",
    "empty message": "有空白的訊息",
    "no reply": "沒有回答",
    "other kind": "不是要的種類",
}
"""Reasons that collect gives, in the reader's language; others are shown as they are."""


@dataclass(frozen=True)
class Stage:
    """What is told of one step. `key` is the one figure that stands in the picture."""

    step: Step
    title: str
    what: str
    key: str
    figures: Figures


def tell(step: Step) -> Stage | None:
    """None for a step of a room this page has no words for."""
    tellers: dict[str, Callable[[Step], Stage]] = {
        "collect": _questions if step.is_chat_corpus else _text,
        "tokenize": _tokenize,
        "pretrain": _pretrain,
        "finetune": _finetune,
        "quantize": _quantize,
        "evaluate": _evaluate,
    }
    return tellers[step.room](step) if step.room in tellers else None


def tell_all(run: Run) -> list[Stage]:
    return [stage for step in run.steps if (stage := tell(step))]


def _text(step: Step) -> Stage:
    m = step.metrics
    return Stage(
        step,
        "收集文字",
        "把原始文字讀進來、清理、去掉重複，並且留下一小部分不給模型看，之後當考題。丟掉的每一份都記下原因。",
        count(m["characters"], "字"),
        [
            ("文件", f"{m['rows']:,} 份"),
            ("文字", count(m["characters"], "字")),
            *_collected(step),
        ],
    )


def _questions(step: Step) -> Stage:
    m = step.metrics
    return Stage(
        step,
        "收集問答",
        "挑出一問一答的資料。模型先從大量文字學會語言，再從這些問答學會「怎麼回答」。",
        f"{m['rows']:,} 段",
        [("問答", f"{m['rows']:,} 段"), ("文字", count(m["characters"], "字")), *_collected(step)],
    )


def _collected(step: Step) -> Figures:
    m = step.metrics
    unit = "段" if step.is_chat_corpus else "份"
    dropped = "；".join(f"{number:,} {unit}{REASONS.get(reason, reason)}" for reason, number in m["dropped"].items())
    return [
        ("留著當考題", f"{m['heldout_rows']:,} {unit}，{count(m['heldout_characters'], '字')}"),
        ("繁體", percent(m["traditional_share"], 2)),
        ("簡體字", f"每千字 {m['simplified_per_1000']:.2f} 個"),
        ("丟掉", dropped or "沒有"),
    ]


def _tokenize(step: Step) -> Stage:
    m = step.metrics
    rates = dict(m["characters_per_token"])
    own = rates.pop("hanlin")
    return Stage(
        step,
        "斷詞",
        "電腦只認得編號，不認得字。斷詞器找出最常一起出現的片段，給每個片段一個編號，叫作詞元。"
        "一個詞元裝得下越多字，模型一次就讀得越遠。",
        f"{m['vocab_size']:,} 個詞元",
        [
            ("詞彙", f"{m['vocab_size']:,} 個詞元"),
            ("一個詞元平均", f"{own:.2f} 個字"),
            *((f"{name} 讀同一段文字", f"{rate:.2f} 個字") for name, rate in rates.items()),
            ("全部文字", count(m["train_tokens"], "個詞元")),
        ],
    )


def _pretrain(step: Step) -> Stage:
    m = step.metrics
    figures: Figures = [
        ("權重", count(m["parameters"], "個")),
        ("讀過", f"{count(m['tokens'], '個詞元')}（{m['steps']:,} 步）"),
        ("純訓練時間", duration(m["seconds"])),
        ("速度", f"每秒 {m['tokens'] / max(m['seconds'], 1e-9):,.0f} 個詞元"),
    ]
    if "heldout_bpc" in m:
        figures.append(("考題上每個字", f"{m['heldout_bpc']:.2f} 位元"))
    return Stage(
        step,
        "預訓練",
        "模型反覆做同一件事：看前面的字，猜下一個詞元。猜錯了，就把每個權重往對的方向調一點點。"
        "沒有人教它文法，用詞和句型都是它自己從文字裡學來的。",
        count(m["parameters"], "個權重"),
        figures,
    )


def _finetune(step: Step) -> Stage:
    m = step.metrics
    losses = {event["at"]: event["loss"] for event in step.of("heldout_replies")}
    figures: Figures = [
        ("問答", f"{m['conversations']:,} 段，讀了 {m['epochs']:.1f} 遍"),
        ("計分的詞元", f"每遍 {count(m['trained_tokens_per_epoch'], '個')}（只算回答）"),
        ("純訓練時間", duration(m["seconds"])),
        ("太長而截短", f"{m['cut_rows']:,} 段" if m["cut_rows"] else "沒有"),
    ]
    if len(losses) > 1:
        first, last = losses[min(losses)], losses[max(losses)]
        figures.append(("沒看過的問答：損失", f"{first:.2f} → {last:.2f}（越低越好）"))
    return Stage(
        step,
        "微調",
        "預訓練後的模型只會接龍。微調給它看問題和回答，而且只有回答的部分計分，讓它學會被問了就答、答完就停。",
        f"{m['conversations']:,} 段問答",
        figures,
    )


def _quantize(step: Step) -> Stage:
    formats = step.metrics["formats"]
    figures: Figures = [("原本的權重檔", size(step.metrics["weights_bytes"]))]
    for name, card in formats.items():
        figures += [
            (f"{name.upper()} 檔", size(card["file_bytes"])),
            (f"{name.upper()}：首選的詞元相同", percent(card["top1_agreement"], 2)),
            (f"{name.upper()}：和原模型的 KL", divergence(card["kl_nats_mean"])),
            (f"{name.upper()}：接著寫，開頭相同", f"{card['greedy_match']:.1f} / {card['reply_tokens']} 個詞元"),
        ]
    smallest = min(formats.values(), key=lambda card: card["file_bytes"])
    return Stage(
        step,
        "量化與匯出",
        "把權重寫成 llama.cpp、Ollama 打得開的單一檔案，並用比較少的位元存每個數字，檔案就小了。"
        "寫好之後和原模型逐個詞元比對，差太多就不算完成。",
        size(smallest["file_bytes"]),
        figures,
    )


def _evaluate(step: Step) -> Stage:
    models = "、".join(column["name"] for column in step.report.get("columns", []))
    config = step.manifest.config
    return Stage(
        step,
        "評估",
        "拿模型沒看過的文字和問題來考，每個階段前後用同一份考題，變好變壞都列出來。結果在下面的「前後對照」。",
        models,
        [
            ("受測的模型", models or "—"),
            ("考題：文字", f"最多 {count(config['heldout_tokens'], '個詞元')}"),
            ("考題：問題", f"最多 {config['num_questions']} 題"),
        ],
    )
