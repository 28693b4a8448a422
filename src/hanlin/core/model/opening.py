"""Any model a user has: a run, a Hugging Face folder, a .gguf file, or an address (hf:, pip:, npm:) of one of these."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from hanlin.core.model.gguf.loading import load_gguf_model, open_gguf_weights
from hanlin.core.model.gguf.reader import GgufFile
from hanlin.core.model.gguf.writing import Source
from hanlin.core.model.pretrained import (
    CONFIG_FILE,
    Pretrained,
    folder_state,
    load,
    model_without_weights,
    read_generation,
)
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import Emit, silent
from hanlin.core.run.sources import SCHEMES, fetch
from hanlin.core.text.gguf_vocabulary import tokenizer_of
from hanlin.core.text.tokenizer import load_tokenizer

GGUF_SUFFIX = ".gguf"


def open_model(address: str | Path, dtype: torch.dtype | None = None, emit: Emit = silent) -> Pretrained:
    """dtype: of the parameters; None keeps what is stored (float32 for a GGUF file). Raises HanlinError naming what is
    missing or does not fit."""
    path = locate_model(address, emit)
    return _open_gguf(path, dtype) if path.suffix == GGUF_SUFFIX else load(path, dtype)


def open_source(address: str | Path, emit: Emit = silent) -> Source:
    """The same model for writing: its weights are read one tensor at a time, when they are asked for."""
    path = locate_model(address, emit)
    if path.suffix == GGUF_SUFFIX:
        model, family, state = open_gguf_weights(path)
        return Source(family, model, state, tokenizer_of(state.file.metadata), path.stem, _generation(state.file))
    model, family = model_without_weights(path)
    weights, name = folder_state(model, family, path), path.resolve().name
    return Source(family, model, weights, load_tokenizer(path), name, read_generation(path))


def locate_model(address: str | Path, emit: Emit = silent) -> Path:
    """The folder or .gguf file an address means, fetched where it is not on this machine."""
    text = str(address)
    path = fetch(text, emit).path if is_address(text) else Path(text)
    if path.is_dir() and not (path / CONFIG_FILE).exists():
        return _only_gguf(path)
    return path


def is_address(text: str) -> bool:
    """Whether `text` names a source elsewhere, and not a path."""
    scheme = re.match(r"([a-z]+):(?!\\)", text)
    return scheme is not None and scheme[1] in SCHEMES and not Path(text).exists()


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
    model, family, file = load_gguf_model(path, dtype)
    tokenizer = tokenizer_of(file.metadata)
    if tokenizer.vocab_size > model.vocab_size:
        raise HanlinError(
            f"{path}: the vocabulary has {tokenizer.vocab_size} tokens, the embedding {model.vocab_size} rows.",
            "a vocabulary that belongs to this model",
            "get the file again from where it came",
            "docs/models.md",
        )
    return Pretrained(model, tokenizer, family, path, _generation(file))


def _generation(file: GgufFile) -> dict[str, Any]:
    """generation_config.json of a GGUF file: the tokens that end a reply."""
    named = (file.metadata.get(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot", "eom"))
    stops = {token for token in named if token is not None}
    return {"eos_token_id": sorted(stops)} if stops else {}
