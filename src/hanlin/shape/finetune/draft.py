"""A draft: a small model that guesses what this one will say. Zhou et al. 2023 (DistillSpec),
https://arxiv.org/abs/2310.08461.

The model answers the prompts; a student made of some of its blocks learns from those answers all that the model says of
each token (core/train/objectives/distil.py). A guess stands with probability Σ min(p, q), 1 less half the distance
between the model's distribution and the student's: what brings them together makes guesses stand.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from hanlin.core.generate.engine import Engine
from hanlin.core.generate.options import EngineOptions
from hanlin.core.generate.sampling import GREEDY, Sampling
from hanlin.core.generate.speculate.draft import SmallModel
from hanlin.core.model.card import write_card
from hanlin.core.model.opening import open_model
from hanlin.core.model.pretrained import Pretrained, save
from hanlin.core.run.artifact import Artifact
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import Emit
from hanlin.core.run.execute import Result
from hanlin.core.run.ranks import is_first
from hanlin.core.text.documents import Split, read_rows
from hanlin.core.train.compiling import training_dtype
from hanlin.core.train.conversations import Example, reply_likelihood
from hanlin.core.train.fit import Fitted, fit, start_again
from hanlin.shape.finetune.config import Finetune
from hanlin.shape.finetune.lesson import conversations, objective_of, with_teacher
from hanlin.shape.finetune.replies import Prompt, prompts_of, write_replies
from hanlin.shape.finetune.student import student_of

FEWEST_REPLY_TOKENS = 16
"""A prompt that leaves room for less is left out."""


def run(config: Finetune, inputs: dict[str, Artifact], out: Path, emit: Emit) -> Result:
    _refuse_teacher(inputs)
    _say_what_is_not_used(config, emit)
    loaded = open_model(inputs["model"].path, training_dtype(config.train.dtype))
    context = min(config.context or loaded.context, loaded.context)
    training, heldout = (_prompts(config, inputs["data"], split, loaded, context) for split in ("train", "heldout"))
    _refuse_empty(training, inputs["data"])
    lesson, test = (
        write_replies(
            loaded, prompts, _sampling(config), context, config.train.seed, out / f"replies-{name}.jsonl", emit
        )
        for name, prompts in (("train", training), ("heldout", heldout))
    )
    student = student_of(loaded, config.draft.layers)
    model, tokenizer = student.model.train(), student.tokenizer
    _choose_trained(model, config)
    sizes = {"parameters": model.num_parameters(), "model_parameters": loaded.model.num_parameters()}
    emit("model", **sizes, config=model.config)
    del loaded  # asking it opens it again
    plain = conversations(config, lesson, tokenizer, context)
    batches = with_teacher(config, inputs["model"], plain, tokenizer, out / "teacher", emit)

    def look(at: float) -> float | None:
        return _look(at, model, test, tokenizer.pad_id, emit)

    fitted = fit(model, batches, config.train, emit, out, look, objective=objective_of(config, has_teacher=True))
    metrics = _metrics(fitted, lesson, plain.batches_per_epoch, len(model.layers)) | sizes
    if is_first():
        metrics |= measured(config, inputs["model"], student, heldout or training)
        save(out, model.eval(), student.family, tokenizer, student.generation)
        write_card(out, f"A draft that guesses for {inputs['model'].path.name}", metrics, inputs)
        shutil.rmtree(out / "teacher", ignore_errors=True)
        for file in out.glob("replies-*.jsonl"):
            file.unlink()
    start_again(out)
    return Result(metrics, method="draft")


def _refuse_teacher(inputs: Mapping[str, Artifact]) -> None:
    if "teacher" in inputs:
        raise HanlinError(
            f"method=draft has no use for teacher={inputs['teacher'].path}: the draft learns from its own model.",
            "model=…, the model that the draft is to guess for",
            f"hanlin finetune method=draft model={inputs['teacher'].path} data=…",
            "docs/speculate.md",
        )


def _refuse_empty(prompts: Sequence[Prompt], data: Artifact) -> None:
    if not prompts:
        raise HanlinError(
            f"{data.path} has no prompt that leaves room for a reply.",
            f"conversations or texts, and {FEWEST_REPLY_TOKENS} tokens of the context left",
            "other data, or a smaller draft.prompt_tokens",
            "docs/speculate.md",
        )


def _say_what_is_not_used(config: Finetune, emit: Emit) -> None:
    unused = ("tune", "frozen_layers", "lora", "certify", "sample_tokens", "num_samples")
    given = [name for name in unused if name in config.model_fields_set]
    if given:
        emit("note", text=f"Not used with method=draft: {', '.join(given)}.")


def _prompts(config: Finetune, data: Artifact, split: Split, loaded: Pretrained, context: int) -> list[Prompt]:
    """Held out are as many as are measured."""
    longest = context - FEWEST_REPLY_TOKENS
    found = prompts_of(read_rows(data, split), loaded.tokenizer, config.draft.prompt_tokens, longest)
    return list(islice(found, config.draft.prompts if split == "train" else config.draft.measured_prompts))


def _sampling(config: Finetune) -> Sampling:
    draft = config.draft
    return Sampling(temperature=draft.temperature, max_tokens=draft.reply_tokens, repetition_penalty=1.0)


def _choose_trained(model: Any, config: Finetune) -> None:
    if not config.draft.train_embeddings:
        model.requires_grad_(False)
        for part in (model.layers, model.norm):
            part.requires_grad_(True)


def _look(at: float, model: Any, heldout: Sequence[Example], pad_id: int, emit: Emit) -> float | None:
    """How well the student predicts what the model said, in nats a token."""
    if not heldout:
        return None
    model.eval()
    loss = reply_likelihood(model, heldout, pad_id).nats_per_token
    model.train()
    emit("heldout_replies", at=at, loss=loss)
    return loss


def _metrics(fitted: Fitted, lesson: Sequence[Example], batches_per_epoch: int, num_layers: int) -> dict[str, Any]:
    return {
        **vars(fitted),
        "epochs": round(fitted.steps / batches_per_epoch, 2),
        "prompts": len(lesson),
        "reply_tokens": sum(example.num_trained for example in lesson),
        "layers": num_layers,
    }


def measured(config: Finetune, model: Artifact, student: Pretrained, prompts: Sequence[Prompt]) -> dict[str, float]:
    """Of guesses, the share that stood, and the tokens that one pass of the model gave: greedy, and sampled as the
    lesson was."""
    student.model.eval()
    loaded = open_model(model.path, student.model.dtype)
    loaded.model.to(student.model.embed_tokens.weight.device)
    found: dict[str, float] = {}
    for name, sampling in (("greedy", GREEDY), ("sampled", _sampling(config))):
        sampling = sampling.model_copy(update={"max_tokens": config.draft.reply_tokens, "seed": config.train.seed})
        options = EngineOptions(num_draft=config.draft.num_draft)
        engine = Engine(loaded, options)
        engine.speculator = SmallModel(student, loaded, options, engine.blocks.num_blocks)
        tickets = [engine.submit(prompt.ids, sampling) for prompt in prompts[: config.draft.measured_prompts]]
        while engine.busy:
            engine.step()
        engine.close()
        tokens, guessed, stood = (
            sum(counts)
            for counts in zip(*((len(t.pieces), t.num_drafted, t.num_accepted) for t in tickets if t.error is None))
        )
        found |= {
            f"acceptance_{name}": stood / max(1, guessed),
            f"tokens_per_pass_{name}": tokens / max(1, tokens - stood),
        }
    return found
