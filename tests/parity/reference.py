"""A transformers model with random weights and the same model here, through the files both read and write."""

from __future__ import annotations

import importlib
import pkgutil
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import cases
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.utils import logging

from hanlin.core.model.equality import saved_gradients
from hanlin.core.model.mixture import Mixture
from hanlin.core.model.pretrained import load_model, read_state

logging.disable_progress_bar()
logging.set_verbosity_error()

DECODERS: dict[str, ModuleType] = {
    module.name: importlib.import_module(f"cases.{module.name}")
    for module in pkgutil.iter_modules(cases.__path__)
    if module.name != "drawing"
}
"""Family → its `MODEL_TYPE`, `configs()` (values of the config class, drawn by hypothesis) and, where not 1e-5,
`TOLERANCE`; `adapt(model)` where transformers' model needs a hand."""


def random_reference(case: ModuleType, values: dict[str, Any], seed: int) -> PreTrainedModel:
    """transformers' model of the case, every weight away from its first value, so that a forgotten one shows."""
    theirs = AutoModelForCausalLM.from_config(
        AutoConfig.for_model(case.MODEL_TYPE, **values), attn_implementation="eager"
    )
    return getattr(case, "adapt", lambda model: model)(randomise(theirs, seed))


@torch.no_grad()
def randomise(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    random = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.add_(torch.empty(parameter.shape).normal_(0, 0.08, generator=random))
    return model.eval()


def ours_of(theirs: PreTrainedModel) -> tuple[Any, ModuleType]:
    """The same model read by hanlin from what transformers saves."""
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        return load_model(Path(folder))


def gradients_of(theirs: PreTrainedModel, ours: Any, family: ModuleType) -> dict[str, torch.Tensor]:
    with tempfile.TemporaryDirectory() as folder:
        return saved_gradients(theirs, Path(folder), lambda saved: read_state(ours, family, saved))


def hold_choices(ours: Any, ids: torch.Tensor) -> None:
    """From here on every router scores as it does now. Rounding to 16 bits tips near ties, and a token that reads
    another expert says nothing about the arithmetic."""
    kept: dict[Any, torch.Tensor] = {}
    for module in ours.modules():
        if isinstance(module, Mixture):
            module.router.register_forward_hook(lambda router, given, scores: kept.setdefault(router, scores))
    ours(ids)


def random_ids(vocab_size: int, batch: int, length: int, seed: int) -> torch.Tensor:
    return torch.randint(vocab_size, (batch, length), generator=torch.Generator().manual_seed(seed))
