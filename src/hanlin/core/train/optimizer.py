"""The optimizer of the loop: which method moves which parameter, how fast, in what precision, on how many processes.

The methods themselves are the files of optimizers/. A method works on float32 weights, the masters: the parameters
themselves where they are float32, else a float32 copy, or (masters=none) a copy made for the step alone, which is
rounded back at random (rounding.py).
"""

from __future__ import annotations

import math
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from hanlin.core.model.blockwise import BLOCK
from hanlin.core.run.errors import HanlinError
from hanlin.core.train import optimizers
from hanlin.core.train.config import Train
from hanlin.core.train.optimizers import adamw, muon
from hanlin.core.train.rounding import stochastic_round_

BETAS = (0.9, 0.95)
EPS = 1e-10

NUMBERS_AT_ONCE = 2**22  # whole blocks of 8-bit states
"""Parameters are taken together until they have this many numbers: few calls, and no float32 copy of everything."""

MOVED_AFTER_STEPS = 5

ELEMENTWISE = ("muon", "adamw", "lion", "sgd", "rmsprop")
"""What also works on a shard of a parameter. (Muon's products are made of the gathered matrix.)"""


@dataclass(frozen=True)
class Group:
    """Parameters that one method moves together, at one rate."""

    method: ModuleType
    names: tuple[str, ...]
    rate: float
    weight_decay: float


class Optimizer:
    """Of the parameters that require a gradient. rate_of: the rate of single parameters, by name (LoRA+)."""

    def __init__(self, model: nn.Module, config: Train, rate_of: dict[str, float] | None = None):
        self.config = config
        self.parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        if not self.parameters:
            raise HanlinError(
                "No parameter of this model is trained.", "at least one", "freeze less of it", "docs/training.md"
            )
        self.num_steps = 0
        self.method = optimizers.load(config.optimizer)
        self._refuse_shards()
        self.groups = list(self._groups(rate_of or {}))
        self.masters = {name: self._master(p) for name, p in self.parameters.items() if self._keeps_master(p)}
        self.states = {
            name: {key: self._place(state) for key, state in self._new_state(group, name).items()}
            for group in self.groups
            for name in group.names
        }
        self.averages = {n: self._master(p, copied=True) for n, p in self.parameters.items()} if config.ema else {}
        self._fingerprints = {name: self._fingerprint(name) for name in self.parameters}
        self._pushed: set[str] = set()
        self._rounding = torch.Generator(device=next(iter(self.parameters.values())).device)

    @torch.no_grad()
    def step(self, scale: float) -> float:
        """One step with all rates times `scale`; clears the gradients and returns their norm over all parameters,
        before clipping. Where it is not finite nothing is moved."""
        for parameter in self.parameters.values():
            _add_up_parts(parameter)
        norm = total_norm([p.grad for p in self.parameters.values() if p.grad is not None])
        if not math.isfinite(norm):
            return norm
        factor = min(1.0, self.config.clip / (norm + 1e-6)) if self.config.clip else 1.0
        self.num_steps += 1
        self._rounding.manual_seed(self.config.seed * 1_000_003 + self.num_steps)
        if self._fingerprints:
            pushed = {n for n, p in self.parameters.items() if p.grad is not None and bool(local(p.grad).any())}
            self._pushed |= pushed
        for group in self.groups:
            self._move(group, scale, factor)
        if self.config.ema is not None:
            for name, average in self.averages.items():
                average.lerp_(self._weight(name).to(average.device), 1 - self.config.ema)
        if self.num_steps == MOVED_AFTER_STEPS:
            self._all_have_moved()
        return norm

    def _move(self, group: Group, scale: float, factor: float) -> None:
        if self._is_moved_in_parts(group):
            self._move_in_parts(group, scale, factor)
            return
        parameters = [self.parameters[name] for name in group.names]
        weights = [self._weight(name) for name in group.names]
        gradients = [self._gradient(p, weight, factor) for p, weight in zip(parameters, weights)]
        states = [self.states[name] for name in group.names]
        rate = group.rate * scale
        if group.method is muon and any(isinstance(p, DTensor) for p in parameters):
            updates = muon.momentum(gradients, states)
            for place, parameter in enumerate(parameters):
                update = muon.orthogonalise(whole(updates[place], parameter)[None])[0]
                shape = parameter.shape
                muon.apply(weights[place], part(update, parameter), shape, rate, group.weight_decay)
        else:
            group.method.step(weights, gradients, states, rate, self.num_steps, group.weight_decay, BETAS, EPS)
        for name, parameter, weight in zip(group.names, parameters, weights):
            self._write(name, local(parameter), weight)
            parameter.grad = None

    def _is_moved_in_parts(self, group: Group) -> bool:
        """A parameter larger than all else, without a float32 master: its copy and its gradient's would be what a step
        needs most memory for."""
        name, *others = group.names
        parameter = self.parameters[name]
        is_large = parameter.numel() > NUMBERS_AT_ONCE and name not in self.masters and not others
        is_large = is_large and parameter.is_contiguous()  # parts are views of it
        elementwise = group.method.__name__.rpartition(".")[2] in (*ELEMENTWISE[1:], "adamw8bit")
        return is_large and elementwise and parameter.grad is not None and not isinstance(parameter, DTensor)

    def _move_in_parts(self, group: Group, scale: float, factor: float) -> None:
        (name,) = group.names
        parameter, state = self.parameters[name], self.states[name]
        assert parameter.grad is not None
        target, gradients = parameter.detach().view(-1), parameter.grad.flatten()
        for start in range(0, parameter.numel(), NUMBERS_AT_ONCE):
            end = min(start + NUMBERS_AT_ONCE, parameter.numel())
            weight, gradient = target[start:end].float(), gradients[start:end].float() * factor
            piece = {key: _part_of_state(tensor, start, end, parameter.numel()) for key, tensor in state.items()}
            rate, decay = group.rate * scale, group.weight_decay
            group.method.step([weight], [gradient], [piece], rate, self.num_steps, decay, BETAS, EPS)
            stochastic_round_(target[start:end], weight, self._rounding)
        parameter.grad = None

    def _gradient(self, parameter: nn.Parameter, weight: torch.Tensor, factor: float) -> torch.Tensor:
        """float32, where the master lies. An expert no token chose has none: its momentum goes on as if it were 0."""
        if parameter.grad is None:
            return torch.zeros_like(weight)
        gradient = local(parameter.grad).to(weight.device, torch.float32)
        return gradient if factor == 1.0 else gradient * factor

    def _weight(self, name: str) -> torch.Tensor:
        """The float32 weight to move: the master, or a copy for this step."""
        return self.masters[name] if name in self.masters else local(self.parameters[name]).detach().float()

    def _write(self, name: str, target: torch.Tensor, weight: torch.Tensor) -> None:
        if weight is target or weight.data_ptr() == target.data_ptr():
            return
        if name in self.masters:
            target.copy_(weight)
        else:
            stochastic_round_(target, weight, self._rounding)

    def _new_state(self, group: Group, name: str) -> dict[str, torch.Tensor]:
        weight = local(self.parameters[name]).detach()
        return group.method.new_state(torch.empty_like(weight, dtype=torch.float32))

    def _keeps_master(self, parameter: nn.Parameter) -> bool:
        return parameter.dtype == torch.float32 or self.config.masters == "float32"

    def _master(self, parameter: nn.Parameter, copied: bool = False) -> torch.Tensor:
        weight = local(parameter).detach()
        if weight.dtype == torch.float32 and not copied and self.config.states_on == "device":
            return weight
        return self._place(weight.float().clone())

    def _place(self, tensor: torch.Tensor) -> torch.Tensor:
        if self.config.states_on == "disk":
            return _paged(tensor)
        return tensor.cpu() if self.config.states_on == "cpu" else tensor

    def _groups(self, rate_of: dict[str, float]) -> Iterator[Group]:
        """Matrices inside the blocks, then everything else; parameters with a rate of their own by themselves."""
        config = self.config
        special = [name for name in self.parameters if name in rate_of]
        matrices = [n for n, p in self.parameters.items() if is_matrix(n, p) and n not in rate_of]
        others = [n for n in self.parameters if n not in rate_of and n not in set(matrices)]
        rest = adamw if self.method is muon else self.method
        if self.method is muon:
            by_shape: dict[tuple[int, ...], list[str]] = {}
            for name in matrices:
                by_shape.setdefault(tuple(self.parameters[name].shape), []).append(name)
            batches = list(by_shape.values())
        else:
            batches = list(self._handfuls(matrices))
        for names in batches:
            yield Group(self.method, tuple(names), config.rate_of_matrices, config.weight_decay)
        for names in self._handfuls(others):
            yield Group(rest, tuple(names), config.rate_of_the_rest, 0.0)
        for rate in sorted({rate_of[name] for name in special}):
            for names in self._handfuls([name for name in special if rate_of[name] == rate]):
                yield Group(rest, tuple(names), rate, config.weight_decay)

    def _handfuls(self, names: list[str]) -> Iterator[list[str]]:
        handful: list[str] = []
        numbers = 0
        for name in names:
            if handful and numbers + self.parameters[name].numel() > NUMBERS_AT_ONCE:
                yield handful
                handful, numbers = [], 0
            handful.append(name)
            numbers += self.parameters[name].numel()
        if handful:
            yield handful

    def _refuse_shards(self) -> None:
        if self.config.optimizer in ELEMENTWISE or not any(isinstance(p, DTensor) for p in self.parameters.values()):
            return
        raise HanlinError(
            f"optimizer={self.config.optimizer} needs whole matrices; with parallel=fsdp or tensor_parallel each "
            "process has a part.",
            f"one of {', '.join(ELEMENTWISE)}",
            "train.optimizer=adamw, or train.parallel=ddp",
            "docs/scale.md",
        )

    def _fingerprint(self, name: str) -> int:
        return zlib.crc32(self._weight(name).cpu().contiguous().view(torch.uint8).numpy().tobytes())

    def _all_have_moved(self) -> None:
        """New tokens that nothing trains, a layer left out of the graph: found now and not after hours. An expert may
        wait for its first token."""
        watched = {n: before for n, before in self._fingerprints.items() if ".experts." not in n}
        still = [name for name, before in watched.items() if self._has_not_moved(name, before)]
        self._fingerprints = {}
        if still:
            raise HanlinError(
                f"{still[0]} is trained but has not moved in {MOVED_AFTER_STEPS} steps ({len(still)} such parameters).",
                "a gradient for every trained parameter",
                "freeze it, or look why the loss does not depend on it",
                "docs/training.md",
            )

    def _has_not_moved(self, name: str, before: int) -> bool:
        """A weight that is rounded at random may stay where it is for a while: there a gradient is enough."""
        return name not in self._pushed if name not in self.masters else self._fingerprint(name) == before

    def tensors(self) -> dict[str, torch.Tensor]:
        """Everything a later step depends on, as named tensors; shards know which part of the whole they are."""
        found = {f"master.{n}": as_shard(t, self.parameters[n]) for n, t in self.masters.items()}
        weights = {n: p.detach() for n, p in self.parameters.items() if n not in self.masters}
        found |= {f"weight.{n}": t for n, t in weights.items()}
        found |= {f"average.{n}": as_shard(t, self.parameters[n]) for n, t in self.averages.items()}
        for name, state in self.states.items():
            found |= {f"{key}.{name}": as_shard(t, self.parameters[name]) for key, t in state.items()}
        return found

    @torch.no_grad()
    def restored(self, num_steps: int) -> None:
        """After `tensors` have been filled from a checkpoint: the parameters follow."""
        self.num_steps = num_steps
        for name, master in self.masters.items():
            self._write(name, local(self.parameters[name]), master)
        if num_steps >= MOVED_AFTER_STEPS:
            self._fingerprints = {}

    @torch.no_grad()
    def use_averages(self) -> None:
        """Put the moving averages into the model, for the end of a run."""
        for name, average in self.averages.items():
            local(self.parameters[name]).copy_(average)


def _part_of_state(state: torch.Tensor, start: int, end: int, whole: int) -> torch.Tensor:
    """Of numbers start … end of a parameter: a number of state each, or one a block of BLOCK."""
    if state.numel() == whole:
        return state.view(-1)[start:end]
    return state.view(-1)[start // BLOCK : -(end // -BLOCK)]


def _paged(tensor: torch.Tensor) -> torch.Tensor:
    """The same numbers in an unnamed file, of which the system keeps in memory what there is room for."""
    with tempfile.NamedTemporaryFile(prefix="hanlin-states-") as file:  # it lives as long as it is mapped
        size = max(1, tensor.numel())
        held = torch.from_file(file.name, shared=True, size=size, dtype=tensor.dtype)
    return held[: tensor.numel()].view(tensor.shape).copy_(tensor)


def is_matrix(name: str, parameter: nn.Parameter) -> bool:
    """Whether Muon is for it: a matrix inside a block that maps states to states."""
    return parameter.ndim == 2 and "layers." in name and ".lora_" not in name


def local(tensor: Any) -> torch.Tensor:
    """This process's part."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _add_up_parts(parameter: Any) -> None:
    """A gradient whose sum over a tensor group is still to be made."""
    gradient = parameter.grad
    if isinstance(gradient, DTensor) and gradient.placements != parameter.placements:
        parameter.grad = gradient.redistribute(placements=parameter.placements)


def as_shard(tensor: torch.Tensor, parameter: Any) -> torch.Tensor:
    """A state of `parameter`, marked as the same part of the whole."""
    if not isinstance(parameter, DTensor) or tensor.shape != parameter.to_local().shape:
        return tensor
    return DTensor.from_local(
        tensor, parameter.device_mesh, parameter.placements, shape=parameter.shape, stride=parameter.stride()
    )


def whole(tensor: torch.Tensor, parameter: Any) -> torch.Tensor:
    """All processes' parts put together."""
    shard = as_shard(tensor, parameter)
    return shard.full_tensor() if isinstance(shard, DTensor) else shard


def part(tensor: torch.Tensor, parameter: Any) -> torch.Tensor:
    """This process's part of a whole that every process has."""
    if not isinstance(parameter, DTensor):
        return tensor
    replicated = DTensor.from_local(tensor, parameter.device_mesh, [_replicate()] * parameter.device_mesh.ndim)
    return replicated.redistribute(placements=parameter.placements).to_local()


def _replicate() -> Any:
    from torch.distributed.tensor import Replicate

    return Replicate()


def total_norm(gradients: list[Any]) -> float:
    """√Σ g² over all gradients, in float32, of all processes' parts."""
    whole_ones = [g for g in gradients if not isinstance(g, DTensor)]
    squares = [torch.linalg.vector_norm(g, dtype=torch.float32) for g in whole_ones]
    total = float(torch.stack(squares).norm()) ** 2 if squares else 0.0
    by_layout: dict[Any, list[DTensor]] = {}
    for gradient in gradients:
        if isinstance(gradient, DTensor):
            by_layout.setdefault((gradient.device_mesh, gradient.placements), []).append(gradient)
    for same in by_layout.values():
        norm = torch.nn.utils.get_total_norm(same)
        total += float(norm.full_tensor() if isinstance(norm, DTensor) else norm) ** 2
    return math.sqrt(total) if math.isfinite(total) else total
