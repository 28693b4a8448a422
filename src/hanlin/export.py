"""`hanlin export`: any model as a Hugging Face folder or a GGUF file, without holding it in memory."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hanlin.core.run.errors import HanlinError, did_you_mean

FORMATS = ("gguf", "hf")
HF_DTYPES = ("float32", "bfloat16", "float16")
MORE = "docs/models.md#taking-a-model-elsewhere"


def export_model(address: str, form: str, dtype: str, out: Path | None, show: Callable[[str], None]) -> Path:
    """Write `address` as `form`, its matrices as `dtype`; return what was written. Raises HanlinError for a format, a
    dtype or an architecture that can't be written, and for a place that is taken."""
    from hanlin.core.model.ggml import TYPES
    from hanlin.core.model.opening import open_source
    from hanlin.core.run.execute import refuse_full_disk

    _choose(form, FORMATS, "--format")
    written = [name for name, kind in TYPES.items() if kind.encode] if form == "gguf" else [*HF_DTYPES]
    chosen = dtype or ("f16" if form == "gguf" else "bfloat16")
    _choose(chosen, written, "--dtype")
    source = open_source(address)
    target = out or Path("runs") / (f"{source.name}-{chosen}.gguf" if form == "gguf" else f"{source.name}-{chosen}")
    if target.exists():
        raise HanlinError(f"{target} exists.", "a new place", "choose another one with --out", MORE)
    target.parent.mkdir(parents=True, exist_ok=True)
    refuse_full_disk(target.parent, 4 * source.model.num_parameters() + 2**20)
    if form == "gguf":
        _write_gguf(target, source, TYPES[chosen])
    else:
        _write_folder(target, source, chosen)
    show(f"{target}: {_size(target) / 1e6:,.1f} MB, {chosen}")
    show(f"Prove it:  hanlin check export {target}")
    return target


def _choose(given: str, known: Any, option: str) -> None:
    if given not in known:
        raise HanlinError(
            f"{option} {given} is not known.", did_you_mean(given, known), "hanlin export --help", MORE
        )  # fmt: skip


def _write_gguf(target: Path, source: Any, kind: Any) -> None:
    from rich.progress import track

    from hanlin.core.model.gguf.writing import stored_tensors, write_gguf

    total = len(list(stored_tensors(source.model, source.family, kind))) if _is_known(source) else 0
    ticks = iter(track(range(total + 1), description=target.name, transient=True, disable=not sys.stdout.isatty()))

    def tick(done: int) -> None:
        next(ticks, None)

    tick(0)
    write_gguf(target, source, kind, tick=tick)
    tick(total)


def _is_known(source: Any) -> bool:
    """An architecture that is not written is refused by `write_gguf`, in words."""
    from hanlin.core.model.gguf.architectures import architecture_of

    return architecture_of(source.family) is not None


def _write_folder(target: Path, source: Any, dtype: str) -> None:
    """Into a folder of another name first: a folder of this name is whole."""
    import torch

    from hanlin.core.model.pretrained import GENERATION_FILE, save_model
    from hanlin.core.run.artifact import write_json

    partial = target.with_name(target.name + ".partial")
    partial.mkdir(exist_ok=True)
    save_model(partial, source.model, source.family, None, source.state, getattr(torch, dtype))
    source.tokenizer.save(partial)
    if source.generation:
        write_json(partial / GENERATION_FILE, source.generation)
    partial.rename(target)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else sum(file.stat().st_size for file in path.iterdir())
