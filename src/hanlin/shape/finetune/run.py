"""finetune: base model + conversations → chat model."""

from __future__ import annotations

from pathlib import Path

import torch

from hanlin.core.generate.sampling import Sampling
from hanlin.core.generate.stream import chat_prompt, stream
from hanlin.core.model.opening import open_model
from hanlin.core.model.pretrained import Pretrained, save
from hanlin.core.run.artifact import Artifact
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import Emit
from hanlin.core.run.execute import Result
from hanlin.core.text.chat import Message, chat_tokenizer, opening, stop_token
from hanlin.core.text.documents import Row, read_rows
from hanlin.core.text.tokenizer import IM_END, IM_START, PAD
from hanlin.core.train.compiling import training_dtype
from hanlin.core.train.conversations import Conversations, prepare, reply_likelihood
from hanlin.core.train.fit import fit, start_again
from hanlin.shape.finetune.config import Finetune


def run(config: Finetune, inputs: dict[str, Artifact], out: Path, emit: Emit) -> Result:
    loaded = open_model(inputs["model"].path, training_dtype(config.train.dtype))
    tokenizer = chat_tokenizer(loaded.tokenizer)
    rows, heldout_rows = (_conversations(inputs["data"], split) for split in ("train", "heldout"))
    if not rows:
        raise HanlinError(
            f"{inputs['data'].path} has no conversations.",
            "rows with messages",
            "hanlin collect sources=my.jsonl rows=chat",
            "src/hanlin/shape/finetune/README.md",
        )
    if _made_here(inputs["model"]):
        _mean_initialise(loaded, (IM_START, IM_END, PAD))
    training = prepare(rows, tokenizer, loaded.context)
    heldout = prepare(heldout_rows, tokenizer, loaded.context)
    num_tokens = sum(len(e.ids) for e in training.examples)
    num_trained = sum(e.num_trained for e in training.examples)
    emit(
        "note",
        text=f"{len(rows):,} conversations, {num_tokens:,} tokens, {num_trained:,} trained (replies); "
        f"{training.num_cut_rows} cut to the context of {loaded.context} tokens, {training.num_cut_tokens:,} left out; "
        f"{training.num_untrained_replies:,} replies the template can't train.",
    )
    chat = Pretrained(loaded.model.train(), tokenizer, loaded.family, out, {})

    asked = [question for row in heldout_rows if (question := opening(row.messages))][: config.num_samples]

    def look(at: float) -> None:
        for question in asked:
            text = _answer(chat, question, config.sample_tokens)
            emit("sample", at=at, prompt=question[-1]["content"], text=text)
        if heldout.examples:
            emit(
                "heldout_replies",
                at=at,
                loss=reply_likelihood(chat.model, heldout.examples, tokenizer.pad_id).nats_per_token,
            )

    batches = Conversations(training.examples, config.train.batch_rows, config.train.seed, tokenizer.pad_id)
    fitted = fit(chat.model, batches, config.train, emit, out, look)
    ends = (tokenizer.id_of(stop_token(tokenizer)), tokenizer.eos_id, tokenizer.document_id)
    save(out, chat.model, chat.family, tokenizer, {"eos_token_id": list(dict.fromkeys(ends))})
    start_again(out)
    metrics = {
        **vars(fitted),
        "epochs": round(fitted.steps / batches.batches_per_epoch, 2),
        "conversations": len(rows),
        "trained_tokens_per_epoch": num_trained,
        "cut_rows": training.num_cut_rows,
        "cut_tokens": training.num_cut_tokens,
        "untrained_replies": training.num_untrained_replies,
    }
    return Result(metrics, method="sft")


def _conversations(data: Artifact, split) -> list[Row]:
    return [row for row in read_rows(data, split) if row.messages]


def _made_here(model: Artifact) -> bool:
    return model.manifest is not None and model.manifest.room == "pretrain"


@torch.no_grad()
def _mean_initialise(loaded: Pretrained, tokens: tuple[str, ...]) -> None:
    """Pretraining never showed these tokens: softmax has only pushed them away. They begin at the mean of all
    tokens."""
    weight_VC = loaded.model.embed_tokens.weight
    mean_C = weight_VC.float().mean(0)
    for token in tokens:
        weight_VC[loaded.tokenizer.id_of(token)] = mean_C.to(weight_VC.dtype)


def _answer(chat: Pretrained, question: list[Message], max_tokens: int) -> str:
    prompt = chat_prompt(chat, question)
    if len(prompt) >= chat.context:
        return ""
    sampling = Sampling(temperature=0.3, max_tokens=max_tokens, seed=0)
    return "".join(piece.text for piece in stream(chat, prompt, sampling))
