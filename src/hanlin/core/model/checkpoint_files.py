"""The weight files of a Hugging Face folder: one safetensors file, or shards with an index. Pickle is refused."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from hanlin.core.model.weights import Layout, Names, layout, place, split, stored_shape
from hanlin.core.run.artifact import write_json
from hanlin.core.run.errors import HanlinError, did_you_mean

WEIGHTS_FILE, INDEX_FILE = "model.safetensors", "model.safetensors.index.json"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
ROTARY_COUNTERS = r".*rotary_emb\.inv_freq"
"""Frequencies that old files of every family carry as if they were weights."""
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


class FolderState(Mapping[str, torch.Tensor]):
    """Our parameters' values in a folder's files, read when they are asked for. Names and shapes are checked at once.

    prefix: may be missing in a checkpoint's names (a bare GPT-2 or BERT), or be there where `names` has none. ignored:
    patterns of tensors a family stores and does not need. renamed: pieces of names that old files write otherwise, old
    → new. Raises HanlinError naming a tensor that is missing, unknown or of another shape.
    """

    def __init__(
        self,
        model: nn.Module,
        names: Names,
        folder: Path,
        prefix: str = "",
        ignored: Sequence[str] = (),
        renamed: Mapping[str, str] | None = None,
    ):
        self._shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
        self._wanted = layout(model, names)
        self._files: dict[str, tuple[Path, str]] = {}
        may_be_there = (*ignored, ROTARY_COUNTERS, *_tied_names(model, names))
        for path in weight_files(folder):
            for key, shape in _headers(path):
                name = key
                for old, new in (renamed or {}).items():
                    name = name.replace(old, new)
                known = next((n for n in (name, prefix + name, name.removeprefix(prefix)) if n in self._wanted), None)
                if known is None:
                    _refuse_unknown(path, name, self._wanted, may_be_there)
                    continue
                _check_shape(path, known, shape, stored_shape(self._wanted[known], self._shapes))
                self._files[known] = path, key
        for name in self._wanted:
            if name not in self._files:
                raise HanlinError(
                    f"{folder} lacks the tensor {name}.",
                    "the weights of the model its config describes",
                    AGAIN,
                    "docs/models.md",
                )
        self._places = {parameter: name for name, parts in self._wanted.items() for parameter, _ in parts}

    def pieces(self) -> Iterator[dict[str, torch.Tensor]]:
        """All values, one stored tensor after another."""
        for name, parts in self._wanted.items():
            yield split(_tensor(*self._files[name]), parts, self._shapes)

    def __getitem__(self, parameter: str) -> torch.Tensor:
        name = self._places[parameter]
        return split(_tensor(*self._files[name]), self._wanted[name], self._shapes)[parameter]

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)


def _headers(path: Path) -> list[tuple[str, tuple[int, ...]]]:
    """Names and shapes of a file's tensors."""
    try:
        with safe_open(path, framework="pt") as file:
            return [(key, tuple(file.get_slice(key).get_shape())) for key in file.keys()]  # noqa: SIM118 (no dict)
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from None


def _tensor(path: Path, key: str) -> torch.Tensor:
    try:
        with safe_open(path, framework="pt") as file:
            return file.get_tensor(key)
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> HanlinError:
    return HanlinError(f"{path} is not readable safetensors ({error}).", "a whole file", AGAIN, "docs/models.md")


def stored_apart(model: nn.Module, names: Names, folder: Path) -> list[str]:
    """Tied parameters that the files hold all the same, with other numbers than their source's: whatever the config
    says, they are not tied (transformers 5 writes into every T5's config that its head is)."""
    tied: dict[str, str] = getattr(model, "tied", {})
    own = {place(name, names).name: name for name in tied}
    files = {key: path for path in weight_files(folder) for key, _ in _headers(path)}
    apart = []
    for key, name in own.items():
        source = place(tied[name], names).name
        if key in files and source in files:
            values, others = _tensor(files[key], key), _tensor(files[source], source)
            if not torch.equal(values, others.to(values.dtype)):
                apart.append(name)
    return apart


def _tied_names(model: nn.Module, names: Names) -> list[str]:
    """A tied parameter may be stored all the same; its numbers are its source's."""
    return [re.escape(place(name, names).name) for name in getattr(model, "tied", {})]


def _check_shape(path: Path, key: str, found: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if found != expected:
        raise HanlinError(
            f"{path}: {key} has shape {found}, the config says {expected}.",
            "weights that fit the config",
            AGAIN,
            "docs/models.md",
        )


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


MAX_SHARD_BYTES = 2**29
"""A model larger than this is written as several files, so that no more than this is held."""


def write_weights(
    folder: Path, tensors: Iterable[tuple[str, torch.Tensor]], sizes: Mapping[str, int], most: int = MAX_SHARD_BYTES
) -> None:
    """One file, or shards with an index. tensors: name and value, made when their turn comes. sizes: bytes of each."""
    shards: list[list[str]] = [[]]
    filled = 0
    for name, size in sizes.items():
        if shards[-1] and filled + size > most:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += size
    values = iter(tensors)
    if len(shards) == 1:
        write_tensors(folder / WEIGHTS_FILE, dict(values))
        return
    index: dict[str, str] = {}
    for number, names in enumerate(shards, start=1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        write_tensors(folder / file, dict(islice(values, len(names))))
        index |= dict.fromkeys(names, file)
    facts = {"metadata": {"total_size": sum(sizes.values())}, "weight_map": index}
    write_json(folder / INDEX_FILE, facts)


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
