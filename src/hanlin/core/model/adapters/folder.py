"""An adapter as a PEFT folder: `peft.PeftModel.from_pretrained(model, folder)` opens what is written here, and what
PEFT wrote is read. Names, order and fusing are those of the family's checkpoints."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from hanlin.core.model.adapters.attach import MORE, Lora, adaptable, adapters_of
from hanlin.core.model.adapters.base import Base, write_base
from hanlin.core.model.adapters.dora import first_magnitude
from hanlin.core.model.adapters.fused import Parts, cut, fuse
from hanlin.core.model.adapters.lora import Adapter
from hanlin.core.model.adapters.peft_config import CONFIG_FILE, TASKS, PeftConfig, config_facts, read_config
from hanlin.core.model.checkpoint_files import AGAIN, write_tensors
from hanlin.core.model.pretrained import empty_model, write_tokenizer
from hanlin.core.model.weights import Names, Part, layout, place
from hanlin.core.run.artifact import write_json
from hanlin.core.run.errors import HanlinError
from hanlin.core.text.tokenizer import Tokenizer

WEIGHTS_FILE = "adapter_model.safetensors"
PREFIX = "base_model.model."
_KEY = re.compile(
    r"(?:base_model\.model\.)?(?P<module>.+)\."
    r"(?P<kind>lora_A\.weight|lora_B\.weight|lora_embedding_A|lora_embedding_B|lora_magnitude_vector(?:\.weight)?"
    r"|base_layer\.weight)"
)


def write_adapter(
    folder: Path,
    model: Any,
    family: ModuleType,
    options: Lora,
    base: Base,
    tokenizer: Tokenizer,
    generation: dict[str, Any] | None = None,
) -> None:
    """The adapters of `model`, with tokenizer and generation_config.json as the trained model uses them.

    options: what `attach` was given. base: the model as it was opened (`base_of`).
    """
    modules, adapters = adaptable(model), adapters_of(model)
    parts_of = checkpoint_parts(modules, family.names(model.config))
    fused: dict[str, Adapter] = {}
    tensors: dict[str, torch.Tensor] = {}
    transposed = False
    for theirs, parts in parts_of.items():
        if any(name in adapters for name, _ in parts):
            own = fuse(adapters, parts, _rows(modules, parts), lambda name: first_magnitude(modules[name]))
            fused[theirs], transposed = own, transposed or parts[0][1].transposed
            is_embedding = isinstance(modules[parts[0][0]], nn.Embedding)
            tensors |= {f"{PREFIX}{theirs}.{key}": x for key, x in _tensors(own, is_embedding).items()}
    write_tensors(folder / WEIGHTS_FILE, tensors)
    everything = layout(empty_model(family, model.config), family.names(model.config))
    known = {name.rpartition(".")[0] for name in everything} | parts_of.keys()
    task, ignored = TASKS.get(getattr(family, "KIND", "decoder")), getattr(family, "IGNORED", ())
    write_json(folder / CONFIG_FILE, config_facts(fused, known, ignored, options, base.path, task, transposed))
    write_base(folder, replace(base, dtype=str(model.dtype).removeprefix("torch.")))
    write_tokenizer(folder, tokenizer, generation)


def read_adapter(
    folder: Path, model: Any, family: ModuleType, value_of: Callable[[str], torch.Tensor]
) -> tuple[dict[str, Adapter], Lora]:
    """The adapters of a folder, by the names of our modules, and its options.

    model: the base; it may have no storage. value_of: a parameter of it, by name. Raises HanlinError naming a tensor
    that is unknown, missing or of another shape than the base calls for.
    """
    config, modules = read_config(folder), adaptable(model)
    parts_of = checkpoint_parts(modules, family.names(model.config))
    found: dict[str, Adapter] = {}
    for theirs, tensors in _by_module(folder, parts_of, getattr(family, "PREFIX", "")).items():
        parts = parts_of[theirs]
        if "base_layer" in tensors:
            _refuse_other_embedding(folder, theirs, tensors.pop("base_layer"), value_of(f"{parts[0][0]}.weight"))
        rows = _rows(modules, parts)
        adapter = _checked(folder, theirs, tensors, sum(rows.values()), _shape(modules[parts[0][0]])[1], config)
        found |= cut(adapter, parts, rows)
    return found, config.options


def checkpoint_parts(modules: Mapping[str, nn.Module], names: Names) -> dict[str, Parts]:
    """The checkpoint's module → ours in it, in their order."""
    found: dict[str, list[tuple[str, Part]]] = {}
    for name in modules:
        part = place(f"{name}.weight", names)
        found.setdefault(part.name.removesuffix(".weight"), []).append((name, part))
    return {theirs: sorted(parts, key=lambda entry: entry[1].index) for theirs, parts in found.items()}


def _rows(modules: Mapping[str, nn.Module], parts: Parts) -> dict[str, int]:
    return {name: _shape(modules[name])[0] for name, _ in parts}


def _shape(base: Any) -> tuple[int, int]:
    """(out, in); an embedding's are those of Eᵀ."""
    if isinstance(base, nn.Embedding):
        return base.embedding_dim, base.num_embeddings
    return base.out_features, base.in_features


def _tensors(adapter: Adapter, is_embedding: bool) -> dict[str, torch.Tensor]:
    names = ("lora_embedding_A", "lora_embedding_B") if is_embedding else ("lora_A.weight", "lora_B.weight")
    found = dict(zip(names, (adapter.lora_A, adapter.lora_B)))
    if adapter.magnitude is not None:
        found["lora_magnitude_vector"] = adapter.magnitude.to(adapter.lora_A.dtype)
    return {name: x.cpu().contiguous() for name, x in found.items()}


def _by_module(folder: Path, known: Mapping[str, Parts], prefix: str) -> dict[str, dict[str, torch.Tensor]]:
    """The tensors of each module of the checkpoint: lora_A, lora_B, magnitude, base_layer."""
    kinds = {"lora_magnitude_vector": "magnitude"}
    found: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in _load(folder).items():
        match = _KEY.fullmatch(key)
        name = match["module"] if match else key
        module = next((n for n in (name, prefix + name, name.removeprefix(prefix)) if n in known), None)
        if match is None or module is None:
            raise HanlinError(
                f"{folder / WEIGHTS_FILE} holds {key}, for which this model has no matrix.",
                "adapters of the base's linear layers and embedding",
                "look whether it was trained on this base; what else it trained, merge where it was made",
                MORE,
            )
        kind = match["kind"].removesuffix(".weight").replace("lora_embedding", "lora")
        found.setdefault(module, {})[kinds.get(kind, kind)] = tensor
    return found


def _load(folder: Path) -> dict[str, torch.Tensor]:
    path = folder / WEIGHTS_FILE
    try:
        return load_file(path)
    except FileNotFoundError:
        raise HanlinError(
            f"{folder} has no {WEIGHTS_FILE}.",
            "weights as safetensors (pickle files, .bin, are refused: they can run code when opened)",
            "save it with safe_serialization=True where it was made",
            MORE,
        ) from None
    except (SafetensorError, OSError) as error:
        raise HanlinError(f"{path} is not readable safetensors ({error}).", "a whole file", AGAIN, MORE) from None


def _checked(
    folder: Path, module: str, tensors: Mapping[str, torch.Tensor], num_rows: int, num_columns: int, config: PeftConfig
) -> Adapter:
    wanted = {"lora_A", "lora_B"} | ({"magnitude"} if config.options.dora else set())
    rank = tensors["lora_A"].shape[0] if "lora_A" in tensors else config.options.rank
    shapes = {"lora_A": (rank, num_columns), "lora_B": (num_rows, rank), "magnitude": (num_rows,)}
    for name in sorted(wanted | tensors.keys()):
        if name not in tensors or name not in wanted:
            what = f"lacks {name} of {module}" if name in wanted else f"holds {name} of {module}, without use_dora"
        elif tuple(tensors[name].shape) != shapes[name]:
            what = f"{name} of {module} has shape {tuple(tensors[name].shape)}, the base calls for {shapes[name]}"
        else:
            continue
        raise HanlinError(
            f"{folder / WEIGHTS_FILE}: {what}.",
            "an adapter of this base",
            "name the base it was trained on: hanlin merge adapter=… model=…",
            MORE,
        )
    return Adapter(tensors["lora_A"], tensors["lora_B"], config.scale(module, rank), tensors.get("magnitude"))


def _refuse_other_embedding(folder: Path, module: str, stored: torch.Tensor, value: torch.Tensor) -> None:
    """PEFT stores an adapted embedding itself as well. It may have been given rows, or been trained."""
    if stored.shape != value.shape or not torch.equal(stored, value.to(stored.dtype)):
        raise HanlinError(
            f"{folder / WEIGHTS_FILE} holds another {module} than the base.",
            "the base's own embedding",
            "merge it where it was made (merge_and_unload of PEFT), and open the merged model",
            MORE,
        )
