"""Supervised fine-tuning: a base model learns to answer. Ouyang et al. 2022 (InstructGPT),
https://arxiv.org/abs/2203.02155, section 3.5; with a teacher: core/train/objectives/distil.py."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hanlin.core.generate.sampling import Sampling
from hanlin.core.generate.stream import chat_prompt, stream
from hanlin.core.model.adapters.base import base_of
from hanlin.core.model.adapters.folder import write_adapter
from hanlin.core.model.card import write_card
from hanlin.core.model.opening import open_model
from hanlin.core.model.pretrained import Pretrained, save
from hanlin.core.run.artifact import Artifact
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import Emit
from hanlin.core.run.execute import Result
from hanlin.core.run.ranks import is_first
from hanlin.core.text.chat import Message, chat_tokenizer, opening, stop_token
from hanlin.core.text.documents import Row, read_rows
from hanlin.core.text.tokenizer import Tokenizer
from hanlin.core.train.certificate import certify, shortened
from hanlin.core.train.compiling import training_dtype
from hanlin.core.train.conversations import Example, Prepared, prepare, reply_likelihood
from hanlin.core.train.fit import Fitted, fit, start_again
from hanlin.shape.finetune.config import Finetune
from hanlin.shape.finetune.lesson import conversations, objective_of, with_teacher
from hanlin.shape.finetune.tuning import FOUR_BIT, choose_trained, has_adapter, lora_options, mean_initialise


def run(config: Finetune, inputs: dict[str, Artifact], out: Path, emit: Emit) -> Result:
    certificate = _certificate(config, inputs, out, emit) if config.certify else None
    _say_what_is_not_used(config, inputs, emit)
    loaded = open_model(inputs["model"].path, training_dtype(config.train.dtype))
    _refuse_silent(loaded)
    parameters = loaded.model.num_parameters()
    tokenizer = chat_tokenizer(loaded.tokenizer)
    ends = _ends(tokenizer)
    rows, heldout_rows = (_conversations(inputs["data"], split) for split in ("train", "heldout"))
    _refuse_empty(rows, inputs["data"])
    context = min(config.context or loaded.context, loaded.context)
    training, heldout = prepare(rows, tokenizer, context), prepare(heldout_rows, tokenizer, context)
    _tell(training, context, emit)
    if _made_here(inputs["model"]) and not has_adapter(config):
        mean_initialise(loaded)
    rate_of = choose_trained(loaded, config)
    trained = sum(p.numel() for p in loaded.model.parameters() if p.requires_grad)
    emit("model", parameters=parameters, trained=trained, config=loaded.model.config)
    chat = Pretrained(loaded.model.train(), tokenizer, loaded.family, out, {})
    plain = conversations(config, training.examples, tokenizer, context)
    teacher = inputs.get("teacher")
    batches = plain if teacher is None else with_teacher(config, teacher, plain, tokenizer, out / "teacher", emit)
    objective = objective_of(config, teacher is not None)
    asked = [question for row in heldout_rows if (question := opening(row.messages))][: config.num_samples]

    def look(at: float) -> float | None:
        return _look(at, chat, heldout.examples, asked, config, emit)

    fitted = fit(chat.model, batches, config.train, emit, out, look, objective=objective, rate_of=rate_of)
    metrics = _metrics(fitted, training, plain.batches_per_epoch)
    if is_first():
        _save(out, chat, config, inputs["model"], ends)
        made = f"{inputs['model'].path.name}, fine-tuned on conversations"
        write_card(out, made, metrics, inputs, certificate, "peft" if has_adapter(config) else "transformers")
        shutil.rmtree(out / "teacher", ignore_errors=True)
    start_again(out)
    kind = "adapter" if has_adapter(config) else "model"
    return Result(metrics, method="sft" if teacher is None else "distil", kind=kind)


def _certificate(config: Finetune, inputs: dict[str, Artifact], out: Path, emit: Emit) -> dict[str, Any]:
    short = shortened(config).model_copy(update={"num_samples": 0})
    return certify(run, short, inputs, out, emit)


def _say_what_is_not_used(config: Finetune, inputs: Mapping[str, Artifact], emit: Emit) -> None:
    unused = {
        "frozen_layers": config.tune != "full",
        "lora": not has_adapter(config),
        "distil": "teacher" not in inputs,
        "draft": True,
    }
    given = [name for name, is_unused in unused.items() if is_unused and name in config.model_fields_set]
    if given:
        emit("note", text=f"Not used with tune={config.tune} and these inputs: {', '.join(given)}.")


def _refuse_silent(loaded: Pretrained) -> None:
    kind = getattr(loaded.family, "KIND", "decoder")
    if kind != "decoder":
        objective = "masked" if kind == "encoder" else "span_corruption"
        raise HanlinError(
            f"{loaded.path} is an {kind} ({loaded.family.MODEL_TYPE}): it does not continue text.",
            "a decoder, which answers by going on from the question",
            f"to train it on: hanlin pretrain base={loaded.path} objective={objective} corpus=…",
            "docs/families.md",
        )


def _refuse_empty(rows: Sequence[Row], data: Artifact) -> None:
    if not rows:
        raise HanlinError(
            f"{data.path} has no conversations.",
            "conversations; preferences are none",
            "hanlin collect sources=my.jsonl rows=chat",
            "src/hanlin/shape/finetune/README.md",
        )


def _conversations(data: Artifact, split) -> list[Row]:
    return [row for row in read_rows(data, split) if row.kind == "chat"]


def _made_here(model: Artifact) -> bool:
    return model.manifest is not None and model.manifest.room == "pretrain"


def _tell(training: Prepared, context: int, emit: Emit) -> None:
    num_tokens = sum(len(e.ids) for e in training.examples)
    num_trained = sum(e.num_trained for e in training.examples)
    emit(
        "note",
        text=f"{len(training.examples):,} conversations, {num_tokens:,} tokens, {num_trained:,} trained (replies); "
        f"{training.num_cut_rows} cut to the context of {context} tokens, {training.num_cut_tokens:,} left out; "
        f"{training.num_untrained_replies:,} replies the template can't train.",
    )


def _look(
    at: float, chat: Pretrained, heldout: Sequence[Example], asked: list[list[Message]], config: Finetune, emit: Emit
) -> float | None:
    """Sample replies, and how well the model predicts held-out ones, in nats a token."""
    chat.model.eval()
    for question in asked:
        emit("sample", at=at, prompt=question[-1]["content"], text=_answer(chat, question, config.sample_tokens))
    loss = reply_likelihood(chat.model, heldout, chat.tokenizer.pad_id).nats_per_token if heldout else None
    chat.model.train()
    if loss is not None:
        emit("heldout_replies", at=at, loss=loss)
    return loss


def _answer(chat: Pretrained, question: list[Message], max_tokens: int) -> str:
    prompt = chat_prompt(chat, question)
    if len(prompt) >= chat.context:
        return ""
    sampling = Sampling(temperature=0.3, max_tokens=max_tokens, seed=0)
    return "".join(piece.text for piece in stream(chat, prompt, sampling))


def _metrics(fitted: Fitted, training: Prepared, batches_per_epoch: int) -> dict[str, Any]:
    return {
        **vars(fitted),
        "epochs": round(fitted.steps / batches_per_epoch, 2),
        "conversations": len(training.examples),
        "trained_tokens_per_epoch": sum(example.num_trained for example in training.examples),
        "cut_rows": training.num_cut_rows,
        "cut_tokens": training.num_cut_tokens,
        "untrained_replies": training.num_untrained_replies,
    }


def _ends(tokenizer: Tokenizer) -> list[int]:
    """Where a reply ends. Raises HanlinError, before anything is trained, where the vocabulary has no such token."""
    return list(dict.fromkeys((tokenizer.id_of(stop_token(tokenizer)), tokenizer.eos_id, tokenizer.document_id)))


def _save(out: Path, chat: Pretrained, config: Finetune, base: Artifact, ends: list[int]) -> None:
    tokenizer = chat.tokenizer
    generation = {"eos_token_id": ends}
    if has_adapter(config):
        four_bit = FOUR_BIT if config.tune == "qlora" else ""
        write_adapter(
            out, chat.model, chat.family, lora_options(config), base_of(base.path, four_bit), tokenizer, generation
        )
    else:
        save(out, chat.model, chat.family, tokenizer, generation)
