"""Models on disk: a Hugging Face folder in, a Hugging Face folder out. safetensors only."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from hanlin.core.model import families
from hanlin.core.model.checkpoint_files import AGAIN, WEIGHTS_FILE, load_weights, stored_apart, write_tensors
from hanlin.core.model.config import ModelConfig
from hanlin.core.model.decoder import Decoder, tie, untie
from hanlin.core.model.weights import join, layout
from hanlin.core.run.artifact import write_json
from hanlin.core.run.errors import HanlinError
from hanlin.core.text.chat import template_hash
from hanlin.core.text.tokenizer import Tokenizer, load_tokenizer

CONFIG_FILE, GENERATION_FILE = "config.json", "generation_config.json"


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
        return self.model.max_positions

    @property
    def stop_ids(self) -> frozenset[int]:
        stop = self.generation.get("eos_token_id")
        stop = self.tokenizer.eos_id if stop is None else stop
        return frozenset(stop if isinstance(stop, list) else [stop])


def load(path: Path | str, dtype: torch.dtype | None = None) -> Pretrained:
    """Open a model folder. dtype: None keeps what is stored. Raises HanlinError naming what is missing or does not
    fit."""
    folder = Path(path)
    model, family = load_model(folder, dtype)
    tokenizer = load_tokenizer(folder)
    if tokenizer.vocab_size > model.vocab_size:
        raise HanlinError(
            f"{folder}: the tokenizer has {tokenizer.vocab_size} tokens, the embedding {model.vocab_size} rows.",
            "a tokenizer that belongs to this model",
            "put the model's own tokenizer.json into the folder",
            "docs/models.md",
        )
    generation_file = folder / GENERATION_FILE
    generation = json.loads(generation_file.read_text(encoding="utf-8")) if generation_file.exists() else {}
    _check_template(folder, tokenizer, generation)
    return Pretrained(model, tokenizer, family, folder, generation)


def load_model(folder: Path, dtype: torch.dtype | None = None) -> tuple[Any, ModuleType]:
    """The model of a folder, in evaluation mode, and its family; the folder needs no tokenizer."""
    config = read_config(folder)
    family = family_of(config, folder)
    try:
        model = empty_model(family, config)
    except (KeyError, TypeError, ValueError) as error:
        raise HanlinError(
            f"{folder / CONFIG_FILE}: {error} is missing or wrong.",
            f"the config of {family.ARCHITECTURES[0]}",
            AGAIN,
            "docs/models.md",
        ) from None
    for name in stored_apart(model, family.names(config), folder):
        untie(model, name)
    give_weights(model, read_state(model, family, folder, dtype))
    return model.eval(), family


def read_state(
    model: Any, family: ModuleType, folder: Path, dtype: torch.dtype | None = None
) -> dict[str, torch.Tensor]:
    """A folder's weights under the names of the model's parameters."""
    prefix, ignored = getattr(family, "PREFIX", ""), getattr(family, "IGNORED", ())
    renamed = getattr(family, "RENAMED", None)
    return load_weights(model, family.names(model.config), folder, dtype, prefix, ignored, renamed)


def save(
    folder: Path, model: nn.Module, family: ModuleType, tokenizer: Tokenizer, generation: dict[str, Any] | None = None
) -> None:
    """Write a folder that `load` and transformers' from_pretrained open, without remote code."""
    special = {"bos_token_id": None, "eos_token_id": tokenizer.eos_id, "pad_token_id": tokenizer.pad_id}
    save_model(folder, model, family, special)
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


def save_model(folder: Path, model: Any, family: ModuleType, settings: dict[str, Any] | None = None) -> None:
    """config.json, with `settings` over what the model came with, and the weights under the family's own names."""
    dtype = str(next(model.parameters()).dtype).removeprefix("torch.")
    write_json(folder / CONFIG_FILE, {**model.config, "dtype": dtype, **(settings or {})})
    state = {name: value.detach() for name, value in model.named_parameters()}
    stored = layout(model, family.names(model.config))
    write_tensors(folder / WEIGHTS_FILE, {key: join(parts, state) for key, parts in stored.items()})


def empty_model(family: ModuleType, config: ModelConfig) -> Any:
    """A model whose parameters have shapes and no storage, to be filled by `give_weights`."""
    with torch.device("meta"):
        return family.build(config)


def give_weights(model: Any, state: dict[str, torch.Tensor]) -> None:
    """Put the tensors of `named_parameters` into the model without copying them; tied ones are their sources."""
    tied = {name: state[source] for name, source in model.tied.items()}
    model.load_state_dict(state | tied, assign=True)
    tie(model)


def known_families() -> Iterator[ModuleType]:
    """Every file of core/model/families: the file name is the registry."""
    for module in pkgutil.iter_modules(families.__path__):
        yield importlib.import_module(f"{families.__name__}.{module.name}")


def family_of(config: ModelConfig, folder: Path) -> ModuleType:
    """By the architecture the config names; by `model_type` where it names none."""
    known = {name: family for family in known_families() for name in family.ARCHITECTURES}
    wanted = (config.get("architectures") or [None])[0]
    if wanted is None:
        found = {family.MODEL_TYPE: family for family in known_families()}.get(config.get("model_type"))
    else:
        found = known.get(wanted)
    if found is None:
        raise HanlinError(
            f"{folder}: unknown architecture {wanted or config.get('model_type') or '(none)'}.",
            f"one of: {', '.join(sorted(known))}",
            "add its file in core/model/families/, as docs/families.md shows",
            "docs/families.md",
        )
    return found


def read_config(folder: Path) -> dict[str, Any]:
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
            AGAIN,
            "docs/models.md",
        ) from None
    if not isinstance(config, dict):
        raise HanlinError(
            f"{folder / CONFIG_FILE} is not an object.",
            "the model's config",
            AGAIN,
            "docs/models.md",
        )
    return config


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
