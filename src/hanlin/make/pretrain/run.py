"""pretrain: token shards → base model, with samples and a held-out measure on the way."""

from __future__ import annotations

import importlib
import time
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from hanlin.core.generate.sampling import Sampling
from hanlin.core.generate.stream import stream, text_prompt
from hanlin.core.model.card import write_card
from hanlin.core.model.cross_entropy import CrossEntropy
from hanlin.core.model.pretrained import GENERATION_FILE, Pretrained, save, save_model
from hanlin.core.run.artifact import Artifact, write_json
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import Emit
from hanlin.core.run.execute import Result
from hanlin.core.run.ranks import is_first
from hanlin.core.text.shards import Documents, has_shards, open_shards, write_shards
from hanlin.core.text.tokenizer import Tokenizer
from hanlin.core.train.batch import Batches
from hanlin.core.train.certificate import certify, shortened
from hanlin.core.train.checkpoint import last_checkpoint
from hanlin.core.train.fit import fit, start_again
from hanlin.core.train.mixing import Mixed
from hanlin.make.pretrain.beginning import begin, first_values
from hanlin.make.pretrain.config import Pretrain


def run(config: Pretrain, inputs: dict[str, Artifact], out: Path, emit: Emit) -> Result:
    method = importlib.import_module(f"hanlin.make.pretrain.{config.objective}")
    _say_what_is_not_used(config, inputs, emit)
    certificate = _certificate(config, inputs, out, emit) if config.certify else None
    config, loaded = begin(config, method, inputs, out)
    training, heldout = _documents(inputs["corpus"], inputs, loaded.tokenizer, out / "tokens", emit)
    _refuse_tiny(training, config.model.context)
    batches = method.batches(training, config, loaded)
    num_windows = len(batches)
    if "replay" in inputs:
        old, _ = _documents(inputs["replay"], inputs, loaded.tokenizer, out / "replay", emit)
        batches = Mixed(batches, method.batches(old, config, loaded), config.replay_share)
    if "base" not in inputs:
        first_values(loaded.model, config, training, is_fresh=last_checkpoint(out) is None, emit=emit)
    emit(
        "model",
        parameters=loaded.model.num_parameters(),
        config=loaded.model.config,
        windows=num_windows,
        train_tokens=training.num_tokens,
    )
    metrics = _train(config, method, loaded, batches, training, heldout, out, emit)
    if is_first():
        _save(out, loaded, method)
        write_card(out, _made(loaded, inputs), metrics, inputs, certificate)
    start_again(out)
    return Result(metrics, method=loaded.family.MODEL_TYPE)


def _train(
    config: Pretrain,
    method: ModuleType,
    loaded: Pretrained,
    batches: Batches,
    training: Documents,
    heldout: Documents,
    out: Path,
    emit: Emit,
) -> dict[str, Any]:
    causal, is_heldout = method.KIND == "decoder", any(len(ids) > 2 for ids in heldout)

    def look(at: float) -> float | None:
        for prompt in config.sample_prompts if causal else ():
            emit("sample", at=at, prompt=prompt, text=_continue(loaded, prompt, config.sample_tokens))
        if not is_heldout:
            return None
        found = method.glance(loaded, heldout, config)
        emit("heldout", at=at, **{method.FIGURE: found})
        return found

    objective = method.objective(CrossEntropy(config.train.label_smoothing, config.train.z_loss))
    characters = training.characters / training.num_tokens if causal else None
    fitted = fit(loaded.model, batches, config.train, emit, out, look, characters, objective)
    metrics = {"parameters": loaded.model.num_parameters(), **vars(fitted)}
    if is_heldout:
        emit("progress", what="held-out text", done=0, total=None)
        metrics |= method.measured(loaded, heldout, config)
    return metrics


def _say_what_is_not_used(config: Pretrain, inputs: Mapping[str, Artifact], emit: Emit) -> None:
    unused = {
        "replay_share": "replay" not in inputs,
        "corrupted_share": config.objective == "causal",
        "span_tokens": config.objective != "span_corruption",
        "sample_prompts": config.objective != "causal",
        "sample_tokens": config.objective != "causal",
        "initial_embedding": "base" in inputs,
    }
    given = [name for name, is_unused in unused.items() if is_unused and name in config.model_fields_set]
    if given:
        emit("note", text=f"Not used with these inputs and this objective: {', '.join(given)}.")


def _certificate(config: Pretrain, inputs: dict[str, Artifact], out: Path, emit: Emit) -> dict[str, Any]:
    short = shortened(config).model_copy(update={"sample_prompts": (), "heldout_tokens": 1})
    return certify(run, short, inputs, out, emit)


def _documents(
    corpus: Artifact, inputs: Mapping[str, Artifact], tokenizer: Tokenizer, own: Path, emit: Emit
) -> tuple[Documents, Documents]:
    """The (train, held-out) shards `tokenize` made of this corpus, or new ones in `own` where the tokenizer was learned
    elsewhere. The first process writes, the others wait."""
    made = inputs["tokenizer"].path / "tokens" if "tokenizer" in inputs else None
    shards = made if made is not None and has_shards(made, corpus) else own
    if not has_shards(shards, corpus) and is_first():
        write_shards(corpus, tokenizer, shards, emit)
    while not has_shards(shards, corpus):
        time.sleep(0.2)
    return open_shards(shards, "train", corpus), open_shards(shards, "heldout", corpus)


def _refuse_tiny(training: Documents, context: int) -> None:
    longest = max((len(ids) for ids in training), default=0)
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


def _save(out: Path, loaded: Pretrained, method: ModuleType) -> None:
    """A model that does not continue text may have no token that ends one: its config says what there is."""
    if method.KIND == "decoder":
        save(out, loaded.model, loaded.family, loaded.tokenizer, loaded.generation)
        return
    save_model(out, loaded.model, loaded.family)
    loaded.tokenizer.save(out)
    if loaded.generation:
        write_json(out / GENERATION_FILE, loaded.generation)


def _made(loaded: Pretrained, inputs: Mapping[str, Artifact]) -> str:
    kind = (loaded.model.config.get("architectures") or loaded.family.ARCHITECTURES)[0]
    return f"A base model ({kind}), trained on from another" if "base" in inputs else f"A base model ({kind})"
