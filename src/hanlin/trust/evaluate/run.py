"""evaluate: the quality ledger, one column a model, before and after."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from hanlin.core.generate.sampling import GREEDY
from hanlin.core.generate.stream import chat_prompt, text_prompt, write_together
from hanlin.core.model.likelihood import document_likelihood
from hanlin.core.model.opening import open_model
from hanlin.core.model.pretrained import Pretrained
from hanlin.core.run.artifact import Artifact, write_atomic, write_json
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import Emit
from hanlin.core.run.execute import Result
from hanlin.core.text.chat import chat_tokenizer, opening
from hanlin.core.text.documents import Row, read_rows
from hanlin.core.train.conversations import prepare, reply_likelihood
from hanlin.trust.evaluate.config import Evaluate
from hanlin.trust.evaluate.ledger import Column, ledger_table
from hanlin.trust.evaluate.measures import Reply, repetition_rate, simplified_leak, stop_rate


def run(config: Evaluate, inputs: dict[str, Artifact], out: Path, emit: Emit) -> Result:
    if "corpus" not in inputs and "data" not in inputs:
        raise HanlinError(
            "There is nothing to measure with.",
            "corpus=… (held-out text), data=… (held-out conversations), or both",
            "hanlin evaluate model=… corpus=…",
            "src/hanlin/trust/evaluate/README.md",
        )
    columns = []
    for name in ("before", "model"):
        if name in inputs:
            columns.append(_column(config, name, inputs, out, emit))
    table = ledger_table(columns)
    write_json(out / "report.json", {"columns": [vars(column) for column in columns]})
    write_atomic(out / "report.md", table)
    return Result(columns[-1].figures, method="ledger")


def _column(config: Evaluate, name: str, inputs: dict[str, Artifact], out: Path, emit: Emit) -> Column:
    """One model's figures; a column finished before an interruption is read again."""
    kept = out / f"column-{name}.json"
    if kept.exists():
        return Column(**json.loads(kept.read_text(encoding="utf-8")))
    model = inputs[name]
    loaded = open_model(model.path, torch.float32)
    figures: dict[str, float] = {}
    samples: list[dict[str, str]] = []
    prompts: list[tuple[str, list[int]]] = []
    if "corpus" in inputs and any(row.text for row in read_rows(inputs["corpus"], "heldout")):
        emit("progress", what=f"{model.path.name}: held-out text", done=0, total=None)
        figures["heldout_bpc"] = _bits_per_character(config, loaded, inputs["corpus"])
        prompts = _beginnings(inputs["corpus"], loaded, config.num_prompts)
    rows = [row for row in read_rows(inputs["data"], "heldout") if row.kind == "chat"] if "data" in inputs else []
    if rows:
        emit("progress", what=f"{model.path.name}: held-out replies", done=0, total=len(rows))
        # A base model's own end is another token; with it the two columns would count different targets.
        examples = prepare(rows, chat_tokenizer(loaded.tokenizer), loaded.context).examples
        figures["reply_loss"] = reply_likelihood(loaded.model, examples, loaded.tokenizer.pad_id).nats_per_token
        prompts = _questions(rows, loaded)[: config.num_questions] or prompts
    if not prompts:
        given = " and ".join(str(inputs[key].path) for key in ("corpus", "data") if key in inputs)
        raise HanlinError(
            f"Nothing is held out in {given}.",
            "held-out rows, which no model has seen",
            "hanlin collect sources=… heldout_share=0.02",
            "src/hanlin/trust/evaluate/README.md",
        )
    sampling = GREEDY.model_copy(update={"max_tokens": config.reply_tokens})
    replies = [Reply("", "")] * len(prompts)
    written = write_together(loaded, [ids for _, ids in prompts], [sampling] * len(prompts))
    for done, (number, pieces) in enumerate(written, 1):
        replies[number] = Reply("".join(piece.text for piece in pieces), pieces[-1].finish)
        emit("progress", what=f"{model.path.name}: replies", done=done, total=len(prompts))
    samples += [
        {"prompt": prompt, "text": reply.text, "finish": reply.finish} for (prompt, _), reply in zip(prompts, replies)
    ]
    figures |= {
        "stop_rate": stop_rate(replies),
        "repetition_rate": repetition_rate(replies),
        "simplified_per_1000": simplified_leak(replies),
    }
    column = Column(model.path.name, model.id, figures, samples)
    write_json(kept, vars(column))
    return column


def _bits_per_character(config: Evaluate, loaded: Pretrained, corpus: Artifact) -> float:
    def documents():
        read = 0
        for row in read_rows(corpus, "heldout"):
            ids = text_prompt(loaded, row.text)
            read += len(ids)
            if read > config.heldout_tokens and read > len(ids):
                return
            yield ids, len(row.text)

    return document_likelihood(loaded.model, documents(), loaded.context).bits_per_character


def _questions(rows: list[Row], loaded: Pretrained) -> list[tuple[str, list[int]]]:
    """Everything before the first reply, as the model is asked it; questions without room for an answer are left
    out."""
    prompts: list[tuple[str, list[int]]] = []
    for row in rows:
        question = opening(row.messages)
        ids = chat_prompt(loaded, question) if question else []
        if 0 < len(ids) < loaded.context:
            prompts.append((question[-1]["content"], ids))
    return prompts


def _beginnings(corpus: Artifact, loaded: Pretrained, count: int) -> list[tuple[str, list[int]]]:
    rows = [row for row in read_rows(corpus, "heldout") if row.text][:count]
    return [(row.text[:20], text_prompt(loaded, row.text[:20])) for row in rows]
