"""Models on disk: a Hugging Face folder in, a Hugging Face folder out. safetensors only."""

from __future__ import annotations

import importlib
import json
import math
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from hanlin.core.model import families
from hanlin.core.model.checkpoint_files import AGAIN, FolderState, stored_apart, write_weights
from hanlin.core.model.config import ModelConfig
from hanlin.core.model.decoder import Decoder, tie, untie
from hanlin.core.model.weights import join, layout, stored_shape
from hanlin.core.run.artifact import write_json
from hanlin.core.run.errors import HanlinError
from hanlin.core.text.chat import stop_token, template_hash
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

    @cached_property
    def stop_ids(self) -> frozenset[int]:
        """The tokens that end a reply: those the model names, and the one its chat template puts behind a reply."""
        return stop_ids_of(self.tokenizer, self.generation)

    @property
    def start_id(self) -> int:
        """What an encoder-decoder's target begins with."""
        named = (settings.get("decoder_start_token_id") for settings in (self.generation, self.model.config))
        return next((token for token in named if token is not None), 0)


def stop_ids_of(tokenizer: Tokenizer, generation: Mapping[str, Any]) -> frozenset[int]:
    """As `Pretrained.stop_ids`. generation: what generation_config.json says."""
    stop = generation.get("eos_token_id")
    stop = tokenizer.eos_id if stop is None else stop
    named = frozenset(stop if isinstance(stop, list) else [stop])
    template_stop = stop_token(tokenizer) if tokenizer.chat_template else None
    return named | {tokenizer.id_of(template_stop)} if template_stop else named


def load(path: Path | str, dtype: torch.dtype | None = None) -> Pretrained:
    """Open a model folder. dtype: None keeps what is stored. Raises HanlinError naming what is missing or does not
    fit."""
    folder = Path(path)
    model, family = load_model(folder, dtype)
    tokenizer, generation = read_tokenizer(folder, model.vocab_size)
    return Pretrained(model, tokenizer, family, folder, generation)


def read_tokenizer(folder: Path, vocab_size: int) -> tuple[Tokenizer, dict[str, Any]]:
    """A folder's tokenizer, which has to fit an embedding of `vocab_size` rows, and its generation_config.json."""
    tokenizer = load_tokenizer(folder)
    if tokenizer.vocab_size > vocab_size:
        raise HanlinError(
            f"{folder}: the tokenizer has {tokenizer.vocab_size} tokens, the embedding {vocab_size} rows.",
            "a tokenizer that belongs to this model",
            "put the model's own tokenizer.json into the folder",
            "docs/models.md",
        )
    generation = read_generation(folder)
    _check_template(folder, tokenizer, generation)
    return tokenizer, generation


def read_generation(folder: Path) -> dict[str, Any]:
    """generation_config.json, {} where there is none."""
    file = folder / GENERATION_FILE
    try:
        return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    except ValueError as error:
        raise HanlinError(
            f"{file} is not readable JSON ({error}).", "the model's own", AGAIN, "docs/models.md"
        ) from None


def load_model(folder: Path, dtype: torch.dtype | None = None) -> tuple[Any, ModuleType]:
    """The model of a folder, in evaluation mode, and its family; the folder needs no tokenizer."""
    model, family = model_without_weights(folder)
    give_weights(model, read_state(model, family, folder, dtype))
    return model.eval(), family


def model_without_weights(folder: Path) -> tuple[Any, ModuleType]:
    """The model a folder's config describes, its parameters without storage, and its family."""
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
    return model, family


def read_state(
    model: Any, family: ModuleType, folder: Path, dtype: torch.dtype | None = None
) -> dict[str, torch.Tensor]:
    """A folder's weights under the names of the model's parameters, read tensor by tensor: the peak is the model and
    what one file holds."""
    state: dict[str, torch.Tensor] = {}
    for pieces in folder_state(model, family, folder).pieces():
        state |= {name: piece.to(dtype) if dtype else piece for name, piece in pieces.items()}
    return state


def folder_state(model: Any, family: ModuleType, folder: Path) -> FolderState:
    """The same weights, read when they are asked for."""
    prefix, ignored = getattr(family, "PREFIX", ""), getattr(family, "IGNORED", ())
    renamed = getattr(family, "RENAMED", None)
    return FolderState(model, family.names(model.config), folder, prefix, ignored, renamed)


def save(
    folder: Path,
    model: nn.Module,
    family: ModuleType,
    tokenizer: Tokenizer,
    generation: dict[str, Any] | None = None,
    state: Mapping[str, torch.Tensor] | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Write a folder that `load` and transformers' from_pretrained open, without remote code. state, dtype: as in
    `save_model`."""
    special = {"bos_token_id": tokenizer.bos_id, "eos_token_id": tokenizer.eos_id, "pad_token_id": tokenizer.pad_id}
    save_model(folder, model, family, special, state, dtype)
    write_tokenizer(folder, tokenizer, generation)


def write_tokenizer(folder: Path, tokenizer: Tokenizer, generation: dict[str, Any] | None = None) -> None:
    """The reverse of `read_tokenizer`. generation: what generation_config.json says besides the tokenizer's own ids."""
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


def save_model(
    folder: Path,
    model: Any,
    family: ModuleType,
    settings: dict[str, Any] | None = None,
    state: Mapping[str, torch.Tensor] | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """config.json, with `settings` over what the model came with, and the weights under the family's own names.

    state, dtype: values of the parameters, where they are not the model's own, and what they are stored as.
    """
    state = {name: value.detach() for name, value in model.named_parameters()} if state is None else state
    stored_dtype = dtype or next(iter(state.values())).dtype
    name = str(stored_dtype).removeprefix("torch.")
    write_json(folder / CONFIG_FILE, {**model.config, "dtype": name, **(settings or {})})
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    stored = layout(model, family.names(model.config))
    sizes = {key: stored_dtype.itemsize * math.prod(stored_shape(parts, shapes)) for key, parts in stored.items()}
    values = ((key, join(parts, state).to(stored_dtype)) for key, parts in stored.items())
    write_weights(folder, values, sizes)


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
