"""Is a model here the model there? Largest differences of logits, hidden states, loss and gradients of two models.

The other model is given as transformers has it: `model(ids, labels=ids, output_hidden_states=True)` gives `.logits`,
`.hidden_states` and `.loss`. Nothing of transformers is imported.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class Differences:
    """Largest |a − b| / (1 + |b|) of logits, states and loss, b the reference: 1e-5 is a tolerance of 1e-5, absolute
    and relative. Gradients are small numbers: theirs is |a − b| as a share of the tensor's own largest gradient."""

    logits: float
    hidden_states: float
    loss: float
    gradients: float
    worst_gradient: str = ""

    @property
    def largest(self) -> float:
        return max(self.logits, self.hidden_states, self.loss, self.gradients)


def difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Largest |a − b| / (1 + |b|); not a number counts as infinite. Raises ValueError for other shapes."""
    if ours.shape != theirs.shape:
        raise ValueError(f"shapes {tuple(ours.shape)} and {tuple(theirs.shape)} differ")
    ours, theirs = ours.detach().double(), theirs.detach().double()
    if not ours.numel():
        return 0.0
    largest = float(((ours - theirs).abs() / (1 + theirs.abs())).max())
    return largest if largest == largest else float("inf")


def compare_decoders(
    ours: Any, theirs: Any, ids_BT: torch.Tensor, gradients_of: Callable[[Any], dict[str, torch.Tensor]]
) -> Differences:
    """gradients_of(theirs) gives its gradients under our parameters' names (see `saved_gradients`)."""
    logits, states = with_states(ours, ids_BT)
    loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), ids_BT[:, 1:].flatten())
    ours.zero_grad()
    loss.backward()
    reference = theirs(ids_BT, labels=ids_BT, output_hidden_states=True)
    theirs.zero_grad()
    reference.loss.backward()
    return differences(ours, logits, states, loss, reference, gradients_of(theirs))


def differences(
    ours: Any,
    logits: torch.Tensor,
    states: list[torch.Tensor],
    loss: torch.Tensor,
    reference: Any,
    gradients: dict[str, torch.Tensor],
) -> Differences:
    if len(states) != len(reference.hidden_states):
        raise ValueError(f"{len(states)} hidden states here, {len(reference.hidden_states)} there")
    by_parameter = gradient_differences(ours, gradients)
    worst = max(by_parameter, key=lambda name: by_parameter[name])
    return Differences(
        logits=difference(logits, reference.logits),
        hidden_states=max(difference(a, b) for a, b in zip(states, reference.hidden_states)),
        loss=difference(loss, reference.loss),
        gradients=by_parameter[worst],
        worst_gradient=worst,
    )


def gradient_differences(ours: Any, gradients: dict[str, torch.Tensor]) -> dict[str, float]:
    """Largest |a − b| of each parameter, as a share of its largest |b|. A gradient that is nothing but rounding (a
    key's bias has none) is measured against a hundredth of the model's largest."""
    greatest = max(float(gradient.abs().max()) for gradient in gradients.values())
    found = {}
    for name, parameter in ours.named_parameters():
        own = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        scale = max(float(gradients[name].abs().max()), greatest / 100)
        found[name] = float((own - gradients[name]).abs().max()) / scale
    return found


def with_states(model: Any, ids_BT: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Logits, and the states transformers lists (a decoder: before the first block, after each but the last, after the
    last norm)."""
    states: list[torch.Tensor] = []
    hooks = [
        module.register_forward_hook(lambda module, given, state: states.append(state))
        for module in model.state_modules()
    ]
    try:
        return model(ids_BT), states
    finally:
        for hook in hooks:
            hook.remove()


def saved_gradients(
    theirs: Any, folder: Path, load_state: Callable[[Path], dict[str, torch.Tensor]]
) -> dict[str, torch.Tensor]:
    """A transformers model's gradients under our names: saved as if they were weights, read as weights are read.

    So whatever it joins, splits or stacks in memory comes back in its checkpoint's layout.
    """
    carrier = copy.deepcopy(theirs)
    with torch.no_grad():
        for parameter, original in zip(carrier.parameters(), theirs.parameters()):
            parameter.copy_(original.grad if original.grad is not None else torch.zeros_like(original))
    carrier.save_pretrained(folder)
    return load_state(folder)
