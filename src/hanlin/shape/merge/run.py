"""merge: fold an adapter into its base, and prove that the result is the model that was trained."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch

from hanlin.core.generate.stream import text_prompt
from hanlin.core.model.card import write_card
from hanlin.core.model.opening import merged_source, open_adapter
from hanlin.core.model.pretrained import Pretrained, load, save
from hanlin.core.probe.comparison import (
    Card,
    compare,
    cut_windows,
    greedy_match,
    greedy_replies,
    overspent,
    summarise,
)
from hanlin.core.probe.samples import PROMPTS, SENTENCES
from hanlin.core.run.artifact import Artifact
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import Emit
from hanlin.core.run.execute import Result
from hanlin.shape.merge.config import Merge

MORE = "src/hanlin/shape/merge/README.md"


def run(config: Merge, inputs: dict[str, Artifact], out: Path, emit: Emit) -> Result:
    """Inputs: adapter; model, its base (optional: default is where the adapter says).

    Raises HanlinError when the merged model is outside its budget.
    """
    adapter = inputs["adapter"].path
    base = inputs["model"].path if "model" in inputs else None
    beside = open_adapter(adapter, base, torch.float32, emit)
    _refuse_silent(beside)
    _write(config, adapter, base, out, emit)
    card = _measure(config, beside, load(out, torch.float32), emit)
    if problem := overspent(card, config.max_kl_nats, config.min_top1_agreement):
        raise HanlinError(
            f"The merged model is not the one that was trained: {problem}.",
            f"{config.dtype} weights inside the budget",
            "dtype=float32 rounds nothing; or accept the loss with a greater max_kl_nats",
            MORE,
        )
    metrics = {
        name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in asdict(card).items()
    }
    write_card(out, f"{inputs['adapter'].path.name}, merged into its base", metrics, inputs)
    return Result(metrics, method="lora")


def _refuse_silent(beside: Pretrained) -> None:
    if getattr(beside.family, "KIND", "decoder") != "decoder":
        raise HanlinError(
            f"{beside.path} is for a model that doesn't continue text: what merging does to it can't be measured here.",
            "an adapter of a decoder",
            f"hanlin export {beside.path} --format hf  (writes it merged, unmeasured)",
            MORE,
        )


def _write(config: Merge, adapter: Path, base: Path | None, out: Path, emit: Emit) -> None:
    """Tensor by tensor: merged in float32, rounded once to what is stored."""
    dtype = None if config.dtype == "auto" else getattr(torch, config.dtype)
    source = merged_source(adapter, base, dtype, emit)
    save(out, source.model, source.family, source.tokenizer, dict(source.generation), source.state, dtype)


def _measure(config: Merge, beside: Pretrained, merged: Pretrained, emit: Emit) -> Card:
    """Both in float32: the base with its adapter as it was trained, and the merged weights as they are stored."""
    documents = [text_prompt(beside, sentence) for sentence in SENTENCES]
    windows = cut_windows(documents, beside.tokenizer, beside.context, config.num_tokens)

    def tick(done: int) -> None:
        emit("progress", what="card", done=done, total=len(windows))

    compared = compare(beside.model, merged.model, windows, tick)
    prompts = [text_prompt(beside, text) for text in PROMPTS[: config.num_prompts]]
    before = greedy_replies(beside, beside.model, prompts, config.reply_tokens)
    after = greedy_replies(beside, merged.model, prompts, config.reply_tokens)
    match = greedy_match(before, after, config.reply_tokens)
    return summarise(compared, windows, match, config.reply_tokens)
