"""The base an adapter was trained on: where it lies, and the hash of its weights. Another base is refused."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from hanlin.core.model.adapters.attach import MORE
from hanlin.core.model.adapters.peft_config import CONFIG_FILE, read_config
from hanlin.core.model.checkpoint_files import AGAIN, stored_files
from hanlin.core.run.artifact import hash_file, is_artifact, read_manifest, write_json
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.sources import SCHEMES

BASE_FILE = "hanlin_base.json"
"""Beside PEFT's own file, which warns about names it does not know."""


@dataclass(frozen=True)
class Base:
    """path: as the user named it. sha256: of its weights. four_bit: how its matrices were rounded while the adapter was
    trained: "" not at all, "nf4", or "nf4-double" with scales in 8 bits; dtype: from which numbers."""

    path: str
    sha256: str
    four_bit: str = ""
    dtype: str = "float32"


def base_of(path: Path | str, four_bit: str = "") -> Base:
    return Base(str(path), weights_hash(Path(path)), four_bit)


def weights_hash(path: Path) -> str:
    """sha256 of the weight file of a model's folder, or of a .gguf file; of shards, the hash of their hashes. What an
    artifact's manifest says is not computed again."""
    sealed = read_manifest(path).files if is_artifact(path) else {}
    hashes = [sealed.get(file.name) or hash_file(file) for file in stored_files(path)]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def write_base(folder: Path, base: Base) -> None:
    write_json(folder / BASE_FILE, asdict(base))


def read_base(folder: Path) -> Base | None:
    """None for a folder that PEFT wrote: it says where the base lies, not which weights it had."""
    path = folder / BASE_FILE
    if not path.exists():
        return None
    try:
        return Base(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise HanlinError(f"{path} is not readable ({error}).", "path and sha256 of the base", AGAIN, MORE) from None


def is_adapter(path: Path) -> bool:
    """A folder may hold a model and its adapter; then it is the model."""
    return (path / CONFIG_FILE).exists() and not any(path.glob("model*.safetensors*"))


def base_address(folder: Path) -> str:
    """Where the base lies: as written, or beside the adapter; a name on the hub where PEFT wrote one. Raises
    HanlinError where it can't be found."""
    recorded = read_base(folder)
    said = recorded.path if recorded else read_config(folder).base
    beside = folder.parent / Path(said).name
    if said and Path(said).exists():
        return said
    if said and beside.exists() and beside.resolve() != folder.resolve():
        return str(beside)
    if re.match(rf"({'|'.join(SCHEMES)}):", said):
        return said
    if recorded is None and re.fullmatch(r"[\w.-]+/[\w.-]+", said):
        return f"hf:{said}"
    raise HanlinError(
        f"The base of {folder} is not here: {said or '(no path recorded)'}.",
        "the model the adapter was trained on",
        f"hanlin merge adapter={folder} model=PATH_OF_THE_BASE out=FOLDER",
        MORE,
    )


def refuse_other_base(folder: Path, path: Path) -> None:
    """Raises HanlinError where the weights at `path` are not those the adapter was trained on."""
    recorded = read_base(folder)
    found = weights_hash(path) if recorded else ""
    if recorded and found != recorded.sha256:
        raise HanlinError(
            f"{folder} was trained on a base with sha256 {recorded.sha256[:12]}, {path} has {found[:12]}.",
            f"the weights of {recorded.path} as they were then",
            f"hanlin merge adapter={folder} model=PATH_OF_THAT_BASE out=FOLDER",
            MORE,
        )
