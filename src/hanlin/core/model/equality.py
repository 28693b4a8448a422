"""Is a model here the model there? Largest differences of logits, hidden states, loss and gradients of two models.

The other model is given as transformers has it: `model(ids, labels=ids, output_hidden_states=True)` gives `.logits`,
`.hidden_states` and `.loss`. Nothing of transformers is imported.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class Row:
    """One thing compared: its root mean square here and there, and the largest difference (see `difference` and
    `gradient_differences`)."""

    what: str
    ours: float
    theirs: float
    difference: float


def worst(rows: Sequence[Row]) -> Row:
    return max(rows, key=lambda row: row.difference)


def difference(ours: torch.Tensor, theirs: torch.Tensor, sized: bool = False) -> float:
    """Largest |a − b| / (1 + |b|); not a number counts as infinite. Raises ValueError for other shapes.

    sized: the 1 becomes the tensor's root mean square where that is more. A trained model's states reach hundreds, and
    what is small among them carries the rounding of what is large.
    """
    if ours.shape != theirs.shape:
        raise ValueError(f"shapes {tuple(ours.shape)} and {tuple(theirs.shape)} differ")
    ours, theirs = ours.detach().double(), theirs.detach().double()
    if not ours.numel():
        return 0.0
    size = max(1.0, root_mean_square(theirs)) if sized else 1.0
    largest = float(((ours - theirs).abs() / (size + theirs.abs())).max())
    return largest if largest == largest else float("inf")


Gradients = Callable[[Any], Mapping[str, torch.Tensor]]
"""The other model's gradients under our parameters' names (see `saved_gradients`)."""


def compare_models(
    kind: str, ours: Any, theirs: Any, ids_BT: torch.Tensor, gradients_of: Gradients | None = None, sized: bool = False
) -> list[Row]:
    """kind: decoder, encoder or encoder-decoder (a family's KIND). Raises KeyError for another."""
    return {"decoder": compare_decoders, "encoder": compare_encoders, "encoder-decoder": compare_encoder_decoders}[
        kind
    ](ours, theirs, ids_BT, gradients_of, sized)


def compare_decoders(
    ours: Any, theirs: Any, ids_BT: torch.Tensor, gradients_of: Gradients | None = None, sized: bool = False
) -> list[Row]:
    """Each token predicts the next."""
    logits, states = with_states(ours, ids_BT)
    loss = F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), ids_BT[:, 1:].flatten())
    found = theirs(ids_BT, labels=ids_BT, output_hidden_states=True)
    rows = [row_of("loss", loss, found.loss, sized), row_of("logits", logits, found.logits, sized)]
    rows += compare_states(states, found.hidden_states, sized)
    return rows + _compare_backward(ours, theirs, loss, found.loss, gradients_of)


def compare_encoders(
    ours: Any, theirs: Any, ids_BT: torch.Tensor, gradients_of: Gradients | None = None, sized: bool = False
) -> list[Row]:
    """Every token predicts itself; without a head, the loss is the mean of the last states, weighted from −1 to 1."""
    output, states = with_states(ours, ids_BT)
    if ours.head is None:
        found = theirs(ids_BT, output_hidden_states=True)
        weights_C = torch.linspace(-1, 1, output.shape[-1])
        loss, their_loss = (output * weights_C).mean(), (found.last_hidden_state * weights_C).mean()
        rows = []
    else:
        loss = F.cross_entropy(output.flatten(0, 1).float(), ids_BT.flatten())
        found = theirs(ids_BT, labels=ids_BT, output_hidden_states=True)
        their_loss = found.loss
        rows = [row_of("logits", output, found.logits, sized)]
    rows += [row_of("loss", loss, their_loss, sized), *compare_states(states, found.hidden_states, sized)]
    return rows + _compare_backward(ours, theirs, loss, their_loss, gradients_of)


def compare_encoder_decoders(
    ours: Any, theirs: Any, ids_BT: torch.Tensor, gradients_of: Gradients | None = None, sized: bool = False
) -> list[Row]:
    """The ids are the source; the same ids backwards are what the decoder reads and predicts."""
    target_BT = ids_BT.flip(1)
    logits, states = with_states(ours, ids_BT, target_BT)
    loss = F.cross_entropy(logits.flatten(0, 1).float(), target_BT.flatten())
    found = theirs(ids_BT, decoder_input_ids=target_BT, labels=target_BT, output_hidden_states=True)
    rows = [row_of("loss", loss, found.loss, sized), row_of("logits", logits, found.logits, sized)]
    rows += compare_states(states, [*found.encoder_hidden_states, *found.decoder_hidden_states], sized)
    return rows + _compare_backward(ours, theirs, loss, found.loss, gradients_of)


def _compare_backward(
    ours: Any, theirs: Any, loss: torch.Tensor, their_loss: torch.Tensor, gradients_of: Gradients | None
) -> list[Row]:
    if gradients_of is None:
        return []
    ours.zero_grad()
    theirs.zero_grad()
    loss.backward()
    their_loss.backward()
    return compare_gradients(ours, gradients_of(theirs))


def row_of(what: str, ours: torch.Tensor, theirs: torch.Tensor, sized: bool = False) -> Row:
    return Row(what, root_mean_square(ours), root_mean_square(theirs), difference(ours, theirs, sized))


def root_mean_square(x: torch.Tensor) -> float:
    return float(x.detach().double().square().mean().sqrt())


def compare_states(ours: Sequence[torch.Tensor], theirs: Sequence[torch.Tensor], sized: bool = False) -> list[Row]:
    """Raises ValueError when one model lists more states than the other."""
    if len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} hidden states here, {len(theirs)} there")
    return [row_of(f"hidden state {place}", a, b, sized) for place, (a, b) in enumerate(zip(ours, theirs))]


def compare_gradients(ours: Any, gradients: Mapping[str, torch.Tensor]) -> list[Row]:
    found = gradient_differences(ours, gradients)
    own = {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in ours.named_parameters()}
    return [
        Row(f"gradient of {name}", root_mean_square(own[name]), root_mean_square(gradients[name]), share)
        for name, share in found.items()
    ]


def gradient_differences(ours: Any, gradients: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """Largest |a − b| of each parameter, as a share of its largest |b|. A gradient that is nothing but rounding (a
    key's bias has none) is measured against a hundredth of the model's largest."""
    greatest = max(float(gradient.abs().max()) for gradient in gradients.values())
    found = {}
    for name, parameter in ours.named_parameters():
        own = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        scale = max(float(gradients[name].abs().max()), greatest / 100)
        found[name] = float((own - gradients[name]).abs().max()) / scale
    return found


def with_states(model: Any, *ids: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Logits, and the states transformers lists (a decoder: before the first block, after each but the last, after the
    last norm)."""
    states: list[torch.Tensor] = []
    hooks = [
        module.register_forward_hook(lambda module, given, state: states.append(state))
        for module in model.state_modules()
    ]
    try:
        return model(*ids), states
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
