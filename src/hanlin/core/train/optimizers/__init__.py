"""Optimizers: one method a file, and the file name is the registry. Each file offers

    RATE                   a good learning rate for matrices, training from scratch
    new_state(weight)      what is remembered of one parameter: named tensors, without a counter of steps
    step(weights, gradients, states, rate, num_steps, weight_decay, betas, eps)
                           one step in place; float32 of any shapes, all on one device; num_steps counts from 1

A step's temporaries are those of one parameter. Weight decay is decoupled for every method: W ← W − η·λ·W besides the
method's own movement (Loshchilov & Hutter 2017, https://arxiv.org/abs/1711.05101), so λ means the same whichever is
chosen. What a method has no use for (betas, eps), it does not read.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module
from types import ModuleType

from hanlin.core.run.errors import HanlinError, did_you_mean


def known_methods() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load(name: str) -> ModuleType:
    """Raises HanlinError for a name that doesn't exist."""
    if name not in known_methods():
        raise HanlinError(
            f'There is no optimizer "{name}".',
            did_you_mean(name, known_methods()),
            f"train.optimizer=…  (one of: {', '.join(known_methods())})",
            "docs/training.md",
        )
    return import_module(f"{__name__}.{name}")
