"""quantize: write the model as GGUF files and prove each with a card."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from hanlin.core.generate.stream import text_prompt
from hanlin.core.model.checkpoint_files import stored_files
from hanlin.core.model.ggml import TYPES
from hanlin.core.model.gguf.writing import as_stored, export_gguf, stored_tensors
from hanlin.core.model.opening import open_model
from hanlin.core.model.pretrained import Pretrained
from hanlin.core.probe.comparison import (
    Card,
    Window,
    compare,
    cut_windows,
    greedy_match,
    greedy_replies,
    overspent,
    summarise,
)
from hanlin.core.probe.samples import PROMPTS, SENTENCES
from hanlin.core.run.artifact import Artifact, write_atomic, write_json
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import Emit
from hanlin.core.run.execute import Result
from hanlin.core.text.chat import render
from hanlin.core.text.documents import read_rows
from hanlin.shape.quantize.config import Quantize

LONGEST_WINDOW_TOKENS = 512


@dataclass(frozen=True)
class Original:
    """What every written file is held against: the model, the text to read, the prompts and its replies to them."""

    loaded: Pretrained
    windows: Sequence[Window]
    prompts: Sequence[Sequence[int]]
    replies: Sequence[Sequence[int]]


def run(config: Quantize, inputs: dict[str, Artifact], out: Path, emit: Emit) -> Result:
    """Inputs: model (a Hugging Face folder), corpus (optional, for its held-out text).

    Raises HanlinError when a written model is outside its budget.
    """
    loaded = open_model(inputs["model"].path, torch.float32)
    original = _original(loaded, inputs.get("corpus"), config)
    loaded.tokenizer.save(out)
    formats: dict[str, dict[str, Any]] = {}
    for place, name in enumerate(config.formats):
        file = out / ("model.gguf" if place == 0 else f"model-{name}.gguf")
        _write(file, loaded, name, config, emit)
        card = _measure(original, name, config, emit)
        formats[name] = {"file": file.name, "file_bytes": file.stat().st_size, **_rounded(card)}
        _keep_to_budget(card, file, name, config)
    facts = {
        "model": inputs["model"].id,
        "text": inputs["corpus"].id if "corpus" in inputs else "built-in sentences",
        "weights_bytes": sum(file.stat().st_size for file in stored_files(loaded.path)),
        "formats": formats,
    }
    write_json(out / "card.json", facts)
    write_atomic(out / "card.md", _page(facts))
    return Result(facts, method="gguf")


def _original(loaded: Pretrained, corpus: Artifact | None, config: Quantize) -> Original:
    longest = min(loaded.context, LONGEST_WINDOW_TOKENS)
    windows = cut_windows(_documents(loaded, corpus), loaded.tokenizer, longest, config.num_tokens)
    if not windows:
        raise HanlinError(
            "The corpus has no held-out text to compare on.",
            "at least one held-out row",
            "leave corpus=… out to use the built-in sentences",
            "src/hanlin/shape/quantize/README.md",
        )
    prompts = [text_prompt(loaded, text) for text in PROMPTS[: config.num_prompts]]
    return Original(loaded, windows, prompts, greedy_replies(loaded, loaded.model, prompts, config.reply_tokens))


def _documents(loaded: Pretrained, corpus: Artifact | None) -> Iterator[Sequence[int]]:
    """Held-out ids as the model reads them: a document after its leading token, a conversation through the
    template, a preference as the conversation with its better reply."""
    if corpus is None:
        yield from (text_prompt(loaded, sentence) for sentence in SENTENCES)
        return
    for row in read_rows(corpus, "heldout"):
        messages = (*row.messages, *row.chosen)
        yield render(messages, loaded.tokenizer).ids if messages else text_prompt(loaded, row.text)


def _write(file: Path, loaded: Pretrained, name: str, config: Quantize, emit: Emit) -> None:
    """A file that exists is whole (it got its name last), so an interrupted run keeps it."""
    total = len(list(stored_tensors(loaded.model, loaded.family, TYPES[name])))

    def tick(done: int) -> None:
        emit("progress", what=file.name, done=done, total=total)

    if not file.exists():
        export_gguf(file, loaded, TYPES[name], config.name, config.licence, tick)


def _measure(original: Original, name: str, config: Quantize, emit: Emit) -> Card:
    """The card of the weights that a reader of the file gets."""

    def tick(done: int) -> None:
        emit("progress", what=f"card {name}", done=done, total=len(original.windows))

    loaded, changed = original.loaded, as_stored(original.loaded, TYPES[name])
    compared = compare(loaded.model, changed, original.windows, tick)
    replies = greedy_replies(loaded, changed, original.prompts, config.reply_tokens)
    match = greedy_match(original.replies, replies, config.reply_tokens)
    return summarise(compared, original.windows, match, config.reply_tokens)


def _keep_to_budget(card: Card, file: Path, name: str, config: Quantize) -> None:
    budget = getattr(config.budgets, name)
    if problem := overspent(card, budget.max_kl_nats, budget.min_top1_agreement):
        raise HanlinError(
            f"{file.name} is not the model it was made from: {problem}.",
            f"a {name} file inside its budget",
            f"write a finer format (formats=[f16]), or accept the loss with a wider budgets.{name}",
            "src/hanlin/shape/quantize/README.md",
        )


def _rounded(card: Card) -> dict[str, float]:
    return {name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in asdict(card).items()}


def _page(facts: dict[str, Any]) -> str:
    """card.md"""
    columns = (
        "格式",
        "檔案",
        "平均 KL（nat／詞元）",
        "第 99 百分位 KL",
        "首選相同",
        "貪婪解碼相同的開頭",
        "每字元位元數",
    )
    num_tokens = next(iter(facts["formats"].values()))["num_tokens"]
    lines = [
        "# 量化卡",
        "",
        f"每個檔案都和原模型（權重 {facts['weights_bytes'] / 1e6:,.1f} MB）比較過，",
        f"文字為 {num_tokens:,} 個保留詞元（{facts['text']}）。",
        "",
        f"| {' | '.join(columns)} |",
        "|---" * len(columns) + "|",
        *(f"| {' | '.join((name, *_cells(figures)))} |" for name, figures in facts["formats"].items()),
    ]
    return "\n".join(lines) + "\n"


def _cells(figures: dict[str, Any]) -> tuple[str, ...]:
    return (
        f"{figures['file_bytes'] / 1e6:,.1f} MB",
        f"{figures['kl_nats_mean']:.2e}",
        f"{figures['kl_nats_p99']:.2e}",
        f"{figures['top1_agreement']:.2%}",
        f"{figures['greedy_match']:.1f} / {figures['reply_tokens']}",
        f"{figures['bits_per_character_before']:.4f} → {figures['bits_per_character_after']:.4f}",
    )
