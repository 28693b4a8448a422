"""A model as one GGUF file that llama.cpp and Ollama open: weights, tokenizer and chat template together."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch

from hanlin.core.model import gguf
from hanlin.core.model.decoder import Decoder
from hanlin.core.model.ggml import F16, F32, TensorType, decode, encode, type_for
from hanlin.core.model.pretrained import Pretrained, empty_model, give_weights
from hanlin.core.run.errors import HanlinError
from hanlin.core.text.pretokenize import ggml_pre
from hanlin.core.text.tokenizer import Tokenizer

NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5
"""llama.cpp's token types."""

F16_GREATEST = 65_504.0


def export_gguf(
    path: Path,
    loaded: Pretrained,
    kind: TensorType,
    name: str = "",
    licence: str = "",
    tick: Callable[[int], None] = lambda done: None,
) -> int:
    """Write `loaded` to `path` with its matrices as `kind`; return the file's bytes.

    name, licence: shown by the programs that open it. tick: called with the number of tensors written.
    Raises HanlinError for weights the type can't hold and for a tokenizer llama.cpp would read differently.
    """
    if not hasattr(loaded.family, "GGUF_ARCHITECTURE"):
        raise HanlinError(
            f"{loaded.path}: GGUF files of {loaded.family.ARCHITECTURES[0]} are not written yet.",
            "a Qwen3 model, as hanlin pretrain makes",
            "save it as a Hugging Face folder; llama.cpp's own converter reads that",
            "src/hanlin/shape/quantize/README.md",
        )
    general = general_metadata(loaded, kind, name, licence)
    words = tokenizer_metadata(loaded.tokenizer, loaded.model.vocab_size)
    metadata = {**general, **loaded.family.gguf_metadata(loaded.model.config), **words}
    entries = [
        gguf.Entry(
            loaded.family.gguf_name(parameter),
            tuple(weight.shape),
            stored,
            partial(_checked, parameter, weight, stored),
        )
        for parameter, weight, stored in stored_weights(loaded.model, kind)
    ]
    return gguf.write(path, metadata, entries, tick)


def stored_weights(model: Decoder, kind: TensorType) -> Iterator[tuple[str, torch.Tensor, TensorType]]:
    """(our name, weight, type in the file). A tied head is not stored: readers take the embedding."""
    for parameter, weight in model.named_parameters():
        yield parameter, weight, type_for(tuple(weight.shape), kind)


@torch.no_grad()
def as_stored(loaded: Pretrained, kind: TensorType) -> Decoder:
    """A copy of the model in float32 with the weights a reader of the file computes with."""
    model = empty_model(loaded.family, loaded.model.config)
    state = {
        name: decode(encode(weight, stored), tuple(weight.shape), stored)
        for name, weight, stored in stored_weights(loaded.model, kind)
    }
    give_weights(model, state)
    return model.eval()


def general_metadata(loaded: Pretrained, kind: TensorType, name: str, licence: str) -> dict[str, gguf.Value]:
    facts: dict[str, gguf.Value] = {
        "general.architecture": loaded.family.GGUF_ARCHITECTURE,
        "general.type": "model",
        "general.name": name or loaded.path.name,
        "general.file_type": kind.file_type,
    }
    if licence:
        facts["general.license"] = licence
    if kind not in (F32, F16):
        facts["general.quantization_version"] = 2
    return facts


def tokenizer_metadata(tokenizer: Tokenizer, num_rows: int) -> dict[str, gguf.Value]:
    """The tokenizer as llama.cpp reads it.

    num_rows: rows of the embedding; those beyond the vocabulary become unused tokens.
    """
    facts: dict[str, gguf.Value] = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": ggml_pre(tokenizer.backend, tokenizer.settings.get("ggml_pre", "qwen2")),
        "tokenizer.ggml.tokens": [tokenizer.backend.id_to_token(row) or f"[UNUSED{row}]" for row in range(num_rows)],
        "tokenizer.ggml.token_type": token_types(tokenizer, num_rows),
        "tokenizer.ggml.merges": merges(tokenizer),
        "tokenizer.ggml.eos_token_id": tokenizer.eos_id,
        "tokenizer.ggml.padding_token_id": tokenizer.pad_id,
        "tokenizer.ggml.add_bos_token": False,
    }
    if tokenizer.chat_template:
        facts["tokenizer.chat_template"] = tokenizer.chat_template
    return facts


def token_types(tokenizer: Tokenizer, num_rows: int) -> list[int]:
    added = tokenizer.backend.get_added_tokens_decoder()
    types = []
    for row in range(num_rows):
        if row in added:
            types.append(CONTROL if added[row].special else USER_DEFINED)
        else:
            types.append(NORMAL if tokenizer.backend.id_to_token(row) is not None else UNUSED)
    return types


def merges(tokenizer: Tokenizer) -> list[str]:
    """Merges in order, each "left right". tokenizer.json has them as pairs or, in older files, as such strings."""
    pairs = json.loads(tokenizer.backend.to_str())["model"]["merges"]
    return [pair if isinstance(pair, str) else " ".join(pair) for pair in pairs]


def _checked(parameter: str, weight: torch.Tensor, kind: TensorType) -> np.ndarray:
    greatest = weight.detach().abs().max().item()
    if not greatest <= (torch.finfo(torch.float32).max if kind is F32 else F16_GREATEST):
        raise HanlinError(
            f"{parameter} holds a number {kind.name} can't ({greatest:g}).",
            f"finite weights up to {F16_GREATEST:,.0f}",
            "evaluate the model: its training may have diverged; formats=[f32] keeps great numbers",
            "src/hanlin/shape/quantize/README.md",
        )
    return encode(weight, kind)
