"""What training begins from: a new model sized by the dial, or one that exists (continued pretraining)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from hanlin.core.model.opening import open_model
from hanlin.core.model.pretrained import Pretrained
from hanlin.core.run.artifact import Artifact
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import Emit
from hanlin.core.text.shards import Documents
from hanlin.core.text.tokenizer import Tokenizer, load_tokenizer
from hanlin.core.train.compiling import training_dtype
from hanlin.core.train.initialise import EMBEDDING_STD, initialise
from hanlin.make.pretrain.config import ContinuedTrain, Model, Pretrain
from hanlin.make.pretrain.cooccurrence import cooccurrence_embeddings

MORE = "src/hanlin/make/pretrain/README.md"


def begin(
    config: Pretrain, method: ModuleType, inputs: Mapping[str, Artifact], out: Path
) -> tuple[Pretrain, Pretrained]:
    """(options, model): a new model has its shapes and no values yet (see `first_values`); for one that exists learning
    rates are gentler where none are given.

    Raises HanlinError without a tokenizer, and for a base model that does not fit the options or the tokenizer.
    """
    tokenizer = load_tokenizer(inputs["tokenizer"].path) if "tokenizer" in inputs else None
    if "base" in inputs:
        train = ContinuedTrain.model_validate(config.train.model_dump(exclude_unset=True))
        config = config.model_copy(update={"train": train})
        return config, _base_model(config, method, inputs["base"], tokenizer)
    if tokenizer is None:
        raise HanlinError(
            "pretrain needs tokenizer=… or base=…",
            "a tokenizer for a new model, or a model to go on with, which brings its own",
            "hanlin pretrain corpus=… tokenizer=…",
            MORE,
        )
    tokenizer = method.prepared(tokenizer, config)
    model = method.FAMILY.build(method.new_config(config, tokenizer))
    return config, Pretrained(model, tokenizer, method.FAMILY, out, {})


def _base_model(config: Pretrain, method: ModuleType, base: Artifact, tokenizer: Tokenizer | None) -> Pretrained:
    loaded = open_model(base.path, training_dtype(config.train.dtype))
    _refuse_other_kind(config, method, loaded)
    _refuse_other_size(config, loaded)
    if tokenizer is not None and tokenizer.backend.to_str() != loaded.tokenizer.backend.to_str():
        raise HanlinError(
            "The tokenizer is not the base model's: the ids of texts would mean other tokens to it.",
            "the base model's own, which it brings along",
            "leave out tokenizer=…",
            MORE,
        )
    loaded.model.train()
    return loaded


def _refuse_other_kind(config: Pretrain, method: ModuleType, loaded: Pretrained) -> None:
    kind = getattr(loaded.family, "KIND", "decoder")
    name = (loaded.model.config.get("architectures") or loaded.family.ARCHITECTURES)[0]
    if kind != method.KIND:
        fitting = {"decoder": "causal", "encoder": "masked", "encoder-decoder": "span_corruption"}[kind]
        raise HanlinError(
            f"objective={config.objective} trains {method.KIND}s; the base model, {name}, is none.",
            f"the objective that {kind}s learn from",
            f"objective={fitting}",
            MORE,
        )
    if kind == "encoder" and loaded.model.head is None:
        raise HanlinError(
            f"The base model has no head for hidden tokens ({name}).",
            "an encoder whose architecture ends in ForMaskedLM",
            "use the checkpoint it was made from",
            MORE,
        )


def _refuse_other_size(config: Pretrain, loaded: Pretrained) -> None:
    sized = [name for name, value in config.model if name != "context" and value != Model.model_fields[name].default]
    if sized:
        raise HanlinError(
            f"model.{sized[0]} sizes a new model; base=… has a size of its own.",
            "model.context alone",
            f"remove model.{sized[0]}, or base=…",
            MORE,
        )
    if config.model.context > loaded.context:
        raise HanlinError(
            f"model.context={config.model.context} is more than the base model reads at once ({loaded.context}).",
            f"at most {loaded.context}",
            f"model.context={loaded.context}",
            MORE,
        )


def first_values(model: Any, config: Pretrain, training: Documents, is_fresh: bool, emit: Emit) -> None:
    """Of a new model, in the training dtype at the end. is_fresh: no checkpoint will be put over them."""
    initialise(model, config.train.seed)
    if config.initial_embedding == "cooccurrence" and is_fresh:
        emit("progress", what="counting neighbours", done=0, total=None)
        _embed_neighbours(model, training, config.train.seed)
    model.to(training_dtype(config.train.dtype))


@torch.no_grad()
def _embed_neighbours(model: Any, training: Documents, seed: int) -> None:
    """Tied or not, both sides of the model begin with what the corpus says of its tokens."""
    weight_VC = model.embed_tokens.weight
    vocab_size, width = weight_VC.shape
    if width < vocab_size:
        weight_VC.copy_(cooccurrence_embeddings(training.shards, vocab_size, width, EMBEDDING_STD, seed))
