"""The optimizer of the loop: Muon for the matrices inside the blocks, AdamW for everything else, float32 masters.

AdamW: Loshchilov & Hutter 2017, https://arxiv.org/abs/1711.05101, through torch's fused kernel.
"""

from __future__ import annotations

import torch
from torch import nn

from hanlin.core.train.config import Train
from hanlin.core.train.muon import muon_step

MUON_MOMENTUM = 0.95
ADAM_BETAS = (0.9, 0.95)
ADAM_EPS = 1e-10


class Optimizer:
    """Holds a float32 master of each parameter; after a step the model's own (perhaps bfloat16) values are
    refreshed."""

    def __init__(self, model: nn.Module, config: Train):
        self.config = config
        self.parameters = dict(model.named_parameters())
        self.masters = {name: p.detach().float().clone() for name, p in self.parameters.items()}
        self.num_steps = 0
        matrices = [name for name, p in self.parameters.items() if p.ndim == 2 and name.startswith("layers.")]
        self.shapes: dict[tuple[int, ...], list[str]] = {}
        for name in matrices:
            self.shapes.setdefault(tuple(self.parameters[name].shape), []).append(name)
        self.others = [name for name in self.parameters if name not in set(matrices)]
        self.first = {name: torch.zeros_like(master) for name, master in self.masters.items()}
        self.second = {name: torch.zeros_like(self.masters[name]) for name in self.others}

    @torch.no_grad()
    def step(self, scale: float) -> float:
        """One step with all rates times `scale`; clears the gradients and returns their norm over all parameters."""
        # An expert no token chose has no gradient: its momentum goes on as if it were zero.
        gradients = {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in self.parameters.items()}
        gradients = {name: gradient.float() for name, gradient in gradients.items()}
        norm = float(torch.stack([g.norm() for g in gradients.values()]).norm())
        self.num_steps += 1
        for names in self.shapes.values():
            muon_step(
                [self.masters[n] for n in names],
                [gradients[n] for n in names],
                [self.first[n] for n in names],
                self.config.matrix_rate * scale,
                MUON_MOMENTUM,
                self.config.weight_decay,
            )
        self._adamw(gradients, self.config.embedding_rate * scale)
        for name, parameter in self.parameters.items():
            parameter.copy_(self.masters[name])
            parameter.grad = None
        return norm

    def _adamw(self, gradients: dict[str, torch.Tensor], rate: float) -> None:
        names = self.others
        torch._fused_adamw_(
            [self.masters[n] for n in names],
            [gradients[n] for n in names],
            [self.first[n] for n in names],
            [self.second[n] for n in names],
            [],
            [torch.tensor(float(self.num_steps)) for _ in names],
            lr=rate,
            beta1=ADAM_BETAS[0],
            beta2=ADAM_BETAS[1],
            weight_decay=0.0,
            eps=ADAM_EPS,
            amsgrad=False,
            maximize=False,
        )

    def state(self) -> dict[str, torch.Tensor]:
        """Everything a later step depends on, as named tensors."""
        tensors = {f"master.{n}": t for n, t in self.masters.items()}
        tensors |= {f"first.{n}": t for n, t in self.first.items()}
        tensors |= {f"second.{n}": t for n, t in self.second.items()}
        return tensors | {"num_steps": torch.tensor(self.num_steps)}

    @torch.no_grad()
    def restore(self, tensors: dict[str, torch.Tensor]) -> None:
        """The reverse of `state`, in place; the model's parameters follow."""
        self.num_steps = int(tensors["num_steps"])
        for kind, own in (("master", self.masters), ("first", self.first), ("second", self.second)):
            for name, tensor in own.items():
                tensor.copy_(tensors[f"{kind}.{name}"])
        for name, parameter in self.parameters.items():
            parameter.copy_(self.masters[name])
