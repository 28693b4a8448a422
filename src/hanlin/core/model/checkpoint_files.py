"""The weight files of a Hugging Face folder: one safetensors file, or shards with an index. Pickle is refused."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from hanlin.core.model.weights import Layout, Names, layout, place, split, stored_shape
from hanlin.core.run.errors import HanlinError, did_you_mean

WEIGHTS_FILE, INDEX_FILE = "model.safetensors", "model.safetensors.index.json"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
AGAIN = "get the folder again from where it came"


def weight_files(folder: Path) -> list[Path]:
    """All weight files in order. Raises HanlinError when there are none, one is missing, or they are pickle."""
    if (folder / WEIGHTS_FILE).exists():
        return [folder / WEIGHTS_FILE]
    if (folder / INDEX_FILE).exists():
        return _shards(folder)
    pickles = sorted(path.name for pattern in PICKLES for path in folder.glob(pattern))
    found = f" It has {pickles[0]}, a pickle file, which can run code when opened." if pickles else ""
    raise HanlinError(
        f"{folder} has no {WEIGHTS_FILE}.{found}",
        "weights as safetensors (pickle files are refused)",
        "convert the model to safetensors where it was made",
        "docs/models.md",
    )


def stored_files(path: Path) -> list[Path]:
    """The files a model's weights lie in, whichever kind of model `path` is."""
    return [path] if path.is_file() else weight_files(path)


def _shards(folder: Path) -> list[Path]:
    index = folder / INDEX_FILE
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        paths = [folder / name for name in names if Path(name).name == name]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise HanlinError(
            f"{index} is not a readable index ({error}).", 'JSON with "weight_map"', AGAIN, "docs/models.md"
        ) from None
    if len(paths) < len(names) or not names:
        raise HanlinError(
            f"{index} names no files, or files outside its folder.", "shards beside the index", AGAIN, "docs/models.md"
        )
    missing = [path.name for path in paths if not path.exists()]
    if missing:
        raise HanlinError(
            f"{folder} lacks the shard {missing[0]} ({len(missing)} of {len(paths)} are missing).",
            f"all files that {INDEX_FILE} names",
            AGAIN,
            "docs/models.md",
        )
    return paths


def load_weights(
    model: nn.Module,
    names: Names,
    folder: Path,
    dtype: torch.dtype | None = None,
    prefix: str = "",
    ignored: Sequence[str] = (),
    renamed: Mapping[str, str] | None = None,
) -> dict[str, torch.Tensor]:
    """Our parameters' values, read tensor by tensor: the peak is the model and what one file holds.

    prefix: may be missing in a checkpoint's names (a bare GPT-2 or BERT), or be there where `names` has none. ignored:
    patterns of tensors a family stores and does not need. renamed: pieces of names that old files write otherwise, old
    → new. Raises HanlinError naming a tensor that is missing, unknown or of another shape.
    """
    wanted = layout(model, names)
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    state: dict[str, torch.Tensor] = {}
    for path in weight_files(folder):
        for key, tensor in _tensors(path):
            for old, new in (renamed or {}).items():
                key = key.replace(old, new)
            known = next((k for k in (key, prefix + key, key.removeprefix(prefix)) if k in wanted), None)
            if known is None:
                _refuse_unknown(path, key, wanted, (*ignored, *_tied_names(model, names)))
                continue
            pieces = _split(path, known, tensor, wanted[known], shapes)
            state |= {name: piece.to(dtype) if dtype else piece for name, piece in pieces.items()}
    for key, parts in wanted.items():
        if parts[0][0] not in state:
            raise HanlinError(
                f"{folder} lacks the tensor {key}.",
                "the weights of the model its config describes",
                AGAIN,
                "docs/models.md",
            )
    return state


def _tensors(path: Path, wanted: Container[str] | None = None) -> Iterator[tuple[str, torch.Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118 (not a dict)
                if wanted is None or key in wanted:
                    yield key, file.get_tensor(key)
    except SafetensorError as error:
        raise HanlinError(
            f"{path} is not readable safetensors ({error}).", "a whole file", AGAIN, "docs/models.md"
        ) from None


def stored_apart(model: nn.Module, names: Names, folder: Path) -> list[str]:
    """Tied parameters that the files hold all the same, with other numbers than their source's: whatever the config
    says, they are not tied (transformers 5 writes into every T5's config that its head is)."""
    tied: dict[str, str] = getattr(model, "tied", {})
    own = {place(name, names).name: name for name in tied}
    stored = {own[key]: tensor for path in weight_files(folder) for key, tensor in _tensors(path, own)}
    keys = {place(tied[name], names).name for name in stored}
    sources = {key: tensor for path in weight_files(folder) for key, tensor in _tensors(path, keys)}
    pairs = [(name, tensor, sources.get(place(tied[name], names).name)) for name, tensor in stored.items()]
    return [name for name, a, b in pairs if b is not None and not torch.equal(a, b.to(a.dtype))]


def _tied_names(model: nn.Module, names: Names) -> list[str]:
    """A tied parameter may be stored all the same; its numbers are its source's."""
    return [re.escape(place(name, names).name) for name in getattr(model, "tied", {})]


def _split(
    path: Path, key: str, tensor: torch.Tensor, parts: list, shapes: Mapping[str, torch.Size]
) -> dict[str, torch.Tensor]:
    try:
        return split(tensor, parts, shapes)
    except ValueError:
        raise HanlinError(
            f"{path}: {key} has shape {tuple(tensor.shape)}, the config says {stored_shape(parts, shapes)}.",
            "weights that fit the config",
            AGAIN,
            "docs/models.md",
        ) from None


def _refuse_unknown(path: Path, key: str, wanted: Layout, ignored: Sequence[str]) -> None:
    """A tensor that is passed over in silence may be a bias that is then missing from every answer."""
    if any(re.fullmatch(pattern, key) for pattern in ignored):
        return
    raise HanlinError(
        f"{path} holds a tensor this family does not know: {key}.",
        did_you_mean(key, list(wanted)) if len(wanted) < 2000 else "the names its config calls for",
        "look whether config.json belongs to these weights",
        "docs/models.md",
    )


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """A safetensors file, whole or not at all. Raises OSError, with its number, when the disk is full."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        save_file(dict(tensors), temporary, metadata={"format": "pt"})
    except SafetensorError as error:  # the library hides the system's number in its text
        found = re.search(r"\(os error (\d+)\)", str(error))
        raise OSError(int(found[1]), os.strerror(int(found[1])), str(path)) if found else error from error
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    temporary.replace(path)
