"""Any model a user has: a run, a Hugging Face folder, a .gguf file, an adapter (a PEFT folder), or an address (hf:,
pip:, npm:) of one of these."""

from __future__ import annotations

import gc
import re
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from hanlin.core.model.adapters.attach import put
from hanlin.core.model.adapters.base import base_address, is_adapter, read_base, refuse_other_base
from hanlin.core.model.adapters.folder import read_adapter
from hanlin.core.model.adapters.merging import MergedState, merge_adapter, untie_adapted
from hanlin.core.model.gguf.loading import fill, open_gguf_weights
from hanlin.core.model.gguf.reader import GgufFile
from hanlin.core.model.gguf.writing import Source, parameters_of
from hanlin.core.model.nf4 import quantize_linears
from hanlin.core.model.pretrained import (
    CONFIG_FILE,
    Pretrained,
    folder_state,
    give_weights,
    load,
    model_without_weights,
    read_generation,
    read_tokenizer,
)
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import Emit, silent
from hanlin.core.run.sources import SCHEMES, fetch
from hanlin.core.text.gguf_vocabulary import tokenizer_of
from hanlin.core.text.tokenizer import Tokenizer, load_tokenizer

GGUF_SUFFIX = ".gguf"


def open_model(address: str | Path, dtype: torch.dtype | None = None, emit: Emit = silent) -> Pretrained:
    """dtype: of the parameters; None keeps what is stored (float32 for a GGUF file). An adapter is opened with its
    base, merged. Raises HanlinError naming what is missing or does not fit."""
    path = locate_model(address, emit)
    if is_adapter(path):
        return _open_merged(path, dtype, emit)
    return _open_gguf(path, dtype) if path.suffix == GGUF_SUFFIX else load(path, dtype)


def open_source(address: str | Path, emit: Emit = silent) -> Source:
    """The same model for writing: its weights are read one tensor at a time, when they are asked for."""
    path = locate_model(address, emit)
    if is_adapter(path):
        return merged_source(path, emit=emit)
    if path.suffix == GGUF_SUFFIX:
        model, family, state = open_gguf_weights(path)
        return Source(family, model, state, tokenizer_of(state.file.metadata), path.stem, _generation(state.file))
    model, family = model_without_weights(path)
    weights, name = folder_state(model, family, path), path.resolve().name
    return Source(family, model, weights, load_tokenizer(path), name, read_generation(path))


def merged_source(
    folder: Path, base: str | Path | None = None, dtype: torch.dtype | None = None, emit: Emit = silent
) -> Source:
    """An adapter folded into its base. base: where that lies; None: where the adapter says. dtype: of the matrices that
    the adapter changes; None is the base's. Raises HanlinError for another base than the one it was trained on."""
    base_path = _base_path(folder, base, emit)
    recorded = read_base(folder)
    if recorded is not None and recorded.four_bit:
        loaded = open_adapter(folder, base_path, dtype, emit)
        merged = merge_adapter(loaded.model, loaded.family)
        return Source(
            loaded.family, merged, parameters_of(merged), loaded.tokenizer, folder.resolve().name, loaded.generation
        )
    source = open_source(base_path, emit)
    tied = dict(source.model.tied)

    def value_of(name: str) -> torch.Tensor:
        return source.state[tied.get(name, name)]

    adapters, _ = read_adapter(folder, source.model, source.family, value_of)
    untie_adapted(source.model, adapters)
    state = MergedState(source.model, value_of, adapters, dtype)
    tokenizer, generation = own_tokenizer(folder, source.model, source.tokenizer, source.generation)
    return Source(source.family, source.model, state, tokenizer, folder.resolve().name, generation)


def open_adapter(
    folder: Path, base: str | Path | None = None, dtype: torch.dtype | None = None, emit: Emit = silent
) -> Pretrained:
    """The base with its adapter beside it, as it was trained; arguments as of `merged_source`."""
    recorded = read_base(folder)
    rounded = recorded if recorded is not None and recorded.four_bit else None
    first_dtype = getattr(torch, rounded.dtype) if rounded else dtype
    loaded = open_model(_base_path(folder, base, emit), first_dtype, emit)
    adapters, options = read_adapter(folder, loaded.model, loaded.family, loaded.model.get_parameter)
    if rounded:
        quantize_linears(loaded.model, double=rounded.four_bit == "nf4-double")
        loaded.model.to(dtype)
    put(loaded.model, adapters, options.dropout)
    tokenizer, generation = own_tokenizer(folder, loaded.model, loaded.tokenizer, loaded.generation)
    return Pretrained(loaded.model, tokenizer, loaded.family, folder, generation)


def locate_model(address: str | Path, emit: Emit = silent) -> Path:
    """The folder or .gguf file an address means, fetched where it is not on this machine."""
    text = str(address)
    path = fetch(text, emit).path if is_address(text) else Path(text)
    if path.is_dir() and not (path / CONFIG_FILE).exists() and not is_adapter(path):
        return _only_gguf(path)
    return path


def is_address(text: str) -> bool:
    """Whether `text` names a source elsewhere, and not a path."""
    scheme = re.match(r"([a-z]+):(?!\\)", text)
    return scheme is not None and scheme[1] in SCHEMES and not Path(text).exists()


def _open_merged(folder: Path, dtype: torch.dtype | None, emit: Emit) -> Pretrained:
    source = merged_source(folder, dtype=dtype, emit=emit)
    give_weights(source.model, {name: value.to(dtype) if dtype else value for name, value in source.state.items()})
    return Pretrained(source.model.eval(), source.tokenizer, source.family, folder, dict(source.generation))


def _base_path(folder: Path, base: str | Path | None, emit: Emit) -> Path:
    path = locate_model(base_address(folder) if base is None else base, emit)
    refuse_other_base(folder, path)
    return path


def own_tokenizer(
    folder: Path, model: Any, tokenizer: Tokenizer, generation: Mapping[str, Any]
) -> tuple[Tokenizer, dict[str, Any]]:
    """The adapter's own where it has one, else the base's."""
    if not (folder / "tokenizer.json").exists():
        return tokenizer, dict(generation)
    own, generation_of_own = read_tokenizer(folder, model.vocab_size)
    of_base = {name: value for name, value in generation.items() if name != "chat_template_sha256"}
    return own, generation_of_own or of_base


def _only_gguf(folder: Path) -> Path:
    """The folder's .gguf file; the folder itself where it has none. Raises HanlinError where it has several."""
    found = sorted(folder.rglob(f"*{GGUF_SUFFIX}"))
    if len(found) > 1 and (folder / "model.gguf") in found:
        return folder / "model.gguf"
    if len(found) > 1:
        raise HanlinError(
            f"{folder} holds {len(found)} GGUF files.",
            "one model",
            f"name the file: {found[0]}",
            "docs/models.md",
        )
    return found[0] if found else folder


def _open_gguf(path: Path, dtype: torch.dtype | None) -> Pretrained:
    with collector_paused(), quick_switching(), ThreadPoolExecutor(1) as beside:
        model, family, state = open_gguf_weights(path)
        # A vocabulary of 262,144 takes as long as the numbers of a small model.
        building = beside.submit(tokenizer_of, state.file.metadata)
        fill(model, state, dtype)
        tokenizer, file = building.result(), state.file
    if tokenizer.vocab_size > model.vocab_size:
        raise HanlinError(
            f"{path}: the vocabulary has {tokenizer.vocab_size} tokens, the embedding {model.vocab_size} rows.",
            "a vocabulary that belongs to this model",
            "get the file again from where it came",
            "docs/models.md",
        )
    return Pretrained(model, tokenizer, family, path, _generation(file))


@contextmanager
def collector_paused() -> Iterator[None]:
    """While hundreds of thousands of small objects are made and none is garbage, looking for it takes a third of the
    time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@contextmanager
def quick_switching() -> Iterator[None]:
    """While one thread works in Python and another in numpy: the second needs the interpreter for a moment between its
    calls, and would wait 5 ms for it each time."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.0002)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _generation(file: GgufFile) -> dict[str, Any]:
    """generation_config.json of a GGUF file: the tokens that end a reply."""
    named = (file.metadata.get(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot", "eom"))
    stops = {token for token in named if token is not None}
    return {"eos_token_id": sorted(stops)} if stops else {}
