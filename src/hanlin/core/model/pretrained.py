"""Models on disk: a Hugging Face folder in, a Hugging Face folder out. safetensors only."""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from hanlin.core.model import families
from hanlin.core.model.decoder import Decoder, DecoderShape
from hanlin.core.run.artifact import write_json
from hanlin.core.run.errors import HanlinError
from hanlin.core.text.chat import template_hash
from hanlin.core.text.tokenizer import Tokenizer, load_tokenizer

WEIGHTS_FILE, CONFIG_FILE, GENERATION_FILE = "model.safetensors", "config.json", "generation_config.json"


@dataclass(frozen=True)
class Pretrained:
    """A model ready to use. Calling it is calling the decoder: ids (B, T) int64 → logits (B, T, V)."""

    model: Decoder
    tokenizer: Tokenizer
    family: ModuleType
    path: Path
    generation: dict[str, Any]

    def __call__(self, ids_BT: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return self.model(ids_BT)

    @property
    def context(self) -> int:
        """The most tokens of prompt and reply together."""
        return self.model.shape.max_positions

    @property
    def stop_ids(self) -> frozenset[int]:
        stop = self.generation.get("eos_token_id")
        stop = self.tokenizer.eos_id if stop is None else stop
        return frozenset(stop if isinstance(stop, list) else [stop])


def load(path: Path | str, dtype: torch.dtype | None = None) -> Pretrained:
    """Open a model folder. dtype: None keeps what is stored. Raises HanlinError naming what is missing or does not
    fit."""
    folder = Path(path)
    config = _read_config(folder)
    family = family_of(config, folder)
    try:
        shape = family.read_config(config)
    except (KeyError, TypeError, ValueError) as error:
        raise HanlinError(
            f"{folder / CONFIG_FILE}: {error} is missing or wrong.",
            f"the config of {family.ARCHITECTURE}",
            "get the folder again from where it came",
            "docs/models.md",
        ) from None
    model = empty_model(family, shape)
    _load_weights(model, family, folder, dtype)
    tokenizer = load_tokenizer(folder)
    if tokenizer.vocab_size > shape.vocab_size:
        raise HanlinError(
            f"{folder}: the tokenizer has {tokenizer.vocab_size} tokens, the embedding {shape.vocab_size} rows.",
            "a tokenizer that belongs to this model",
            "put the model's own tokenizer.json into the folder",
            "docs/models.md",
        )
    generation_file = folder / GENERATION_FILE
    generation = json.loads(generation_file.read_text(encoding="utf-8")) if generation_file.exists() else {}
    _check_template(folder, tokenizer, generation)
    return Pretrained(model.eval(), tokenizer, family, folder, generation)


def save(
    folder: Path, model: Decoder, family: ModuleType, tokenizer: Tokenizer, generation: dict[str, Any] | None = None
) -> None:
    """Write a folder that `load` and transformers' from_pretrained open, without remote code."""
    dtype = str(model.dtype).removeprefix("torch.")
    write_json(
        folder / CONFIG_FILE,
        {
            **family.write_config(model.shape),
            "dtype": dtype,
            "bos_token_id": None,
            "eos_token_id": tokenizer.eos_id,
            "pad_token_id": tokenizer.pad_id,
        },
    )
    tensors = {family.checkpoint_name(name): value.detach().contiguous() for name, value in model.named_parameters()}
    write_tensors(folder / WEIGHTS_FILE, tensors)
    tokenizer.save(folder)
    write_json(
        folder / GENERATION_FILE,
        {
            "eos_token_id": tokenizer.eos_id,
            "pad_token_id": tokenizer.pad_id,
            "chat_template_sha256": template_hash(tokenizer.chat_template) if tokenizer.chat_template else None,
            **(generation or {}),
        },
    )


def write_tensors(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """A safetensors file, whole or not at all. Raises OSError, with its number, when the disk is full."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        save_file(tensors, temporary, metadata={"format": "pt"})
    except SafetensorError as error:  # the library hides the system's number in its text
        found = re.search(r"\(os error (\d+)\)", str(error))
        raise OSError(int(found[1]), os.strerror(int(found[1])), str(path)) if found else error from error
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    temporary.replace(path)


def empty_model(family: ModuleType, shape: DecoderShape) -> Decoder:
    """A decoder whose parameters have shapes and no storage, to be filled by `give_weights`."""
    with torch.device("meta"):
        return family.build(shape)


def give_weights(model: Decoder, state: dict[str, torch.Tensor]) -> None:
    """Put the tensors of `named_parameters` into the model without copying them; a tied head is the embedding
    itself."""
    tied = {"lm_head.weight": state["embed_tokens.weight"]} if model.shape.tied else {}
    model.load_state_dict(state | tied, assign=True)
    if model.shape.tied:
        model.lm_head.weight = model.embed_tokens.weight


def known_families() -> Iterator[ModuleType]:
    """Every file of core/model/families: the file name is the registry."""
    for module in pkgutil.iter_modules(families.__path__):
        yield importlib.import_module(f"{families.__name__}.{module.name}")


def family_of(config: dict[str, Any], folder: Path) -> ModuleType:
    wanted = (config.get("architectures") or ["(none)"])[0]
    known = {family.ARCHITECTURE: family for family in known_families()}
    if wanted not in known:
        raise HanlinError(
            f"{folder}: unknown architecture {wanted}.",
            f"one of: {', '.join(known)}",
            "add its file in core/model/families/",
            "docs/models.md",
        )
    return known[wanted]


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise HanlinError(
            f"{folder} has no {CONFIG_FILE}.",
            "a model: a run of pretrain or finetune, or a Hugging Face folder",
            "hanlin runs  (lists what exists)",
            "docs/models.md",
        ) from None
    except (OSError, ValueError) as error:
        raise HanlinError(
            f"{folder / CONFIG_FILE} is not readable JSON ({error}).",
            "the model's config",
            "get the folder again from where it came",
            "docs/models.md",
        ) from None
    if not isinstance(config, dict):
        raise HanlinError(
            f"{folder / CONFIG_FILE} is not an object.",
            "the model's config",
            "get the folder again from where it came",
            "docs/models.md",
        )
    return config


def _load_weights(model: Decoder, family: ModuleType, folder: Path, dtype: torch.dtype | None) -> None:
    """Tensor by tensor into an empty model: the peak is the model and one tensor."""
    path = folder / WEIGHTS_FILE
    if not path.exists():
        raise HanlinError(
            f"{folder} has no {WEIGHTS_FILE}.",
            "weights as safetensors (pickle files are refused)",
            "convert the model to safetensors where it was made",
            "docs/models.md",
        )
    try:
        with safe_open(path, framework="pt") as weights:
            stored = set(weights.keys())
            state = {}
            for name, empty in model.named_parameters():
                key = family.checkpoint_name(name)
                if key not in stored:
                    raise HanlinError(
                        f"{path} lacks the tensor {key}.",
                        f"the weights of {family.ARCHITECTURE}",
                        "get the folder again from where it came",
                        "docs/models.md",
                    )
                tensor = weights.get_tensor(key)
                if tensor.shape != empty.shape:
                    raise HanlinError(
                        f"{path}: {key} has shape {tuple(tensor.shape)}, the config says {tuple(empty.shape)}.",
                        "weights that fit the config",
                        "get the folder again from where it came",
                        "docs/models.md",
                    )
                state[name] = tensor.to(dtype) if dtype else tensor
    except SafetensorError as error:
        raise HanlinError(
            f"{path} is not readable safetensors ({error}).",
            "a whole file",
            "get the folder again from where it came",
            "docs/models.md",
        ) from None
    give_weights(model, state)


def _check_template(folder: Path, tokenizer: Tokenizer, generation: dict[str, Any]) -> None:
    """The prompt served is the prompt trained: a template changed after training is refused."""
    trained = generation.get("chat_template_sha256")
    if trained and trained != template_hash(tokenizer.chat_template):
        raise HanlinError(
            f"{folder}: the chat template is not the one the model was trained with.",
            f"a template with hash {trained}",
            "restore chat_template in tokenizer_config.json",
            "docs/chat.md",
        )
