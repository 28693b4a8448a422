"""pretrain: token shards → base model, with samples and held-out bits per character on the way."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

import torch

from hanlin.core.generate.sampling import Sampling
from hanlin.core.generate.stream import stream, text_prompt
from hanlin.core.model.decoder import Decoder
from hanlin.core.model.families import qwen3
from hanlin.core.model.likelihood import Likelihood, document_likelihood
from hanlin.core.model.pretrained import Pretrained, save
from hanlin.core.run.artifact import Artifact
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import Emit
from hanlin.core.run.execute import Result
from hanlin.core.text.shards import Documents, has_shards, open_shards, write_shards
from hanlin.core.text.tokenizer import load_tokenizer
from hanlin.core.train.checkpoint import load_checkpoint
from hanlin.core.train.compiling import training_dtype
from hanlin.core.train.fit import fit, start_again
from hanlin.core.train.initialise import EMBEDDING_STD, initialise
from hanlin.make.pretrain.config import Pretrain
from hanlin.make.pretrain.cooccurrence import cooccurrence_embeddings
from hanlin.make.pretrain.size import decoder_config
from hanlin.make.pretrain.windows import Windows, place_windows

GLANCE_TOKENS = 10_000
"""Held-out tokens read at each milestone: enough for a curve, quick enough not to be waited for."""


def run(config: Pretrain, inputs: dict[str, Artifact], out: Path, emit: Emit) -> Result:
    tokenizer = load_tokenizer(inputs["tokenizer"].path)
    shards = _shards(inputs, out, emit)
    training, heldout = (open_shards(shards, split, inputs["corpus"]) for split in ("train", "heldout"))
    windows = Windows(training, config.model.context, config.train.batch_rows, config.train.seed, tokenizer.pad_id)
    _refuse_tiny(training, config.model.context)
    model = qwen3.build(decoder_config(config.model, tokenizer.vocab_size))
    initialise(model, config.train.seed)
    if config.initial_embedding == "cooccurrence" and load_checkpoint(out) is None:
        emit("progress", what="counting neighbours", done=0, total=None)
        _embed_neighbours(model, training, config.train.seed)
    model.to(training_dtype(config.train.dtype))
    emit(
        "model",
        parameters=model.num_parameters(),
        config=model.config,
        windows=len(windows),
        train_tokens=training.num_tokens,
    )
    loaded = Pretrained(model, tokenizer, qwen3, out, {})

    def look(at: float) -> None:
        for prompt in config.sample_prompts:
            emit("sample", at=at, prompt=prompt, text=_continue(loaded, prompt, config.sample_tokens))
        if len(heldout):
            emit("heldout", at=at, bpc=_glance(model, heldout, config.model.context))

    fitted = fit(model, windows, config.train, emit, out, look, training.characters / training.num_tokens)
    metrics = {"parameters": model.num_parameters(), **vars(fitted)}
    if len(heldout):
        emit("progress", what="held-out text", done=0, total=None)
        measured = _measure(model, heldout, config.model.context, config.heldout_tokens)
        metrics |= {"heldout_bpc": measured.bits_per_character, "heldout_tokens": measured.tokens}
    save(out, model, qwen3, tokenizer)
    start_again(out)
    return Result(metrics, method="qwen3")


@torch.no_grad()
def _embed_neighbours(model: Decoder, training: Documents, seed: int) -> None:
    """Tied or not, both sides of the model begin with what the corpus says of its tokens."""
    weight_VC = model.embed_tokens.weight
    vocab_size, width = weight_VC.shape
    if width < vocab_size:
        weight_VC.copy_(cooccurrence_embeddings(training.shards, vocab_size, width, EMBEDDING_STD, seed))


def _shards(inputs: dict[str, Artifact], out: Path, emit: Emit) -> Path:
    """The shards `tokenize` made of this corpus, or new ones when the tokenizer was learned elsewhere."""
    made = inputs["tokenizer"].path / "tokens"
    if has_shards(made, inputs["corpus"]):
        return made
    own = out / "tokens"
    if not has_shards(own, inputs["corpus"]):
        write_shards(inputs["corpus"], load_tokenizer(inputs["tokenizer"].path), own, emit)
    return own


def _refuse_tiny(training: Documents, context: int) -> None:
    longest = max(len(ids) for ids in training)
    if training.num_tokens < 2 * context and longest <= context:
        raise HanlinError(
            f"The corpus has {training.num_tokens} tokens; one context is {context}.",
            "text longer than one context, better many thousand times that",
            f"collect more text, or set model.context={max(16, longest // 2)}",
            "src/hanlin/make/pretrain/README.md",
        )


def _continue(loaded: Pretrained, prompt: str, max_tokens: int) -> str:
    sampling = Sampling(temperature=0.7, top_p=0.9, max_tokens=max_tokens, seed=0)
    loaded.model.eval()
    text = "".join(piece.text for piece in stream(loaded, text_prompt(loaded, prompt), sampling))
    loaded.model.train()
    return text


def _glance(model: Decoder, heldout: Documents, context: int) -> float:
    """Bits per character from windows spread evenly over the whole split, so that no document decides alone."""
    documents = list(heldout)
    places = place_windows([len(ids) for ids in documents], context)
    chosen = places[:: max(1, len(places) * context // GLANCE_TOKENS)]
    rows = [(documents[document][start : start + context + 1].tolist(), 0) for document, start in chosen]
    characters_per_token = heldout.characters / max(1, heldout.num_tokens - len(heldout))
    return document_likelihood(model, rows, context).nats_per_token / math.log(2) / characters_per_token


def _measure(model: Decoder, heldout: Documents, context: int, max_tokens: int) -> Likelihood:
    """Likelihood of the first documents of the split that reach `max_tokens`; the last one is left out, not cut."""
    return document_likelihood(model, _first(heldout, max_tokens), context)


def _first(heldout: Documents, max_tokens: int) -> Iterator[tuple[list[int], int]]:
    totals = accumulate(len(ids) for ids in heldout)
    for place, (ids, characters, total) in enumerate(zip(heldout, heldout.lengths, totals)):
        if place and total > max_tokens:
            return
        yield ids.tolist(), characters
