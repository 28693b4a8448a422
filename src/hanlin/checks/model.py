"""`hanlin check model`: is the model here the model there? Against the transformers installed on this machine."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from hanlin.core.run.errors import HanlinError

LENGTH, BATCH = 48, 2
MORE = "docs/families.md#checking-your-own-model"


def check_model(path: Path, tolerance: float, gradients: bool, show: Callable[[str], None]) -> None:
    """Print our numbers beside transformers' for one random batch. Raises HanlinError when they differ by more than
    `tolerance`, or when there is nothing to compare with."""
    import torch

    from hanlin.core.model.equality import compare_models, saved_gradients, worst
    from hanlin.core.model.pretrained import load_model, read_state

    transformers = quiet_transformers()
    ours, family = load_model(path, torch.float32)
    theirs = _reference(transformers, path, ours, family)
    ids = torch.randint(ours.vocab_size, (BATCH, min(LENGTH, ours.max_positions)), generator=torch.manual_seed(0))
    # transformers' embedding gives the padding token no gradient; nobody trains on it, so it is not compared.
    padding = ours.config.get("pad_token_id")
    ids = torch.where(ids == padding, (ids + 1) % ours.vocab_size, ids) if padding is not None else ids
    with tempfile.TemporaryDirectory() as folder:

        def gradients_of(model: Any) -> dict[str, torch.Tensor]:
            return saved_gradients(model, Path(folder), lambda saved: read_state(ours, family, saved))

        kind = getattr(family, "KIND", "decoder")
        if family.MODEL_TYPE == "rwkv" and gradients:
            show("Gradients are left out: transformers halves RWKV's weights in place, and they would be of those.")
            gradients = False
        rows = compare_models(kind, ours, theirs, ids, gradients_of if gradients else None, sized=True)
    show(f"{path}: {type(theirs).__name__}, {ours.num_parameters():,} parameters, float32, random ids")
    show(f"{'':44}{'hanlin':>14}{f'transformers {transformers.__version__}':>24}{'largest difference':>22}")
    for row in rows:
        verdict = "" if row.difference <= tolerance else "  ← over the tolerance"
        show(f"{row.what:<44}{row.ours:>14.7g}{row.theirs:>24.7g}{row.difference:>22.2g}{verdict}")
    furthest = worst(rows)
    if not furthest.difference <= tolerance:
        raise HanlinError(
            f"{path} differs from transformers: {furthest.what} by {furthest.difference:.2g}.",
            f"differences up to {tolerance:g} of a value and of its tensor's size",
            "report it with the config.json; a deep model may need --tolerance 1e-4: rounding adds up over layers",
            MORE,
        )
    show(f"Equal: the largest difference is {furthest.difference:.2g} ({furthest.what}), allowed {tolerance:g}.")


def quiet_transformers() -> ModuleType:
    """transformers without its progress bars and advice. Raises HanlinError where it is not installed."""
    try:
        import transformers
    except ImportError:
        raise HanlinError(
            "transformers is not installed: there is nothing to compare with.",
            "the reference implementation",
            "pip install transformers",
            MORE,
        ) from None
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    return transformers


def _reference(transformers: ModuleType, path: Path, ours: Any, family: ModuleType) -> Any:
    """transformers' own model of the folder, in float32, without remote code."""
    import torch

    name = (ours.config.get("architectures") or family.ARCHITECTURES)[0]
    kind = getattr(transformers, name, None) or transformers.AutoModelForCausalLM
    try:
        reference = kind.from_pretrained(path, dtype=torch.float32, attn_implementation="eager")
    except (ValueError, KeyError):
        raise HanlinError(
            f"{path}: transformers {transformers.__version__} has no {name}.",
            "an architecture that both have",
            "tests/parity shows how this family is proven without it",
            MORE,
        ) from None
    reference.config.use_cache = False  # RWKV's backward fails with it
    return reference.eval()
