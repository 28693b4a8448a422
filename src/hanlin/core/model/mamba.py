"""Mamba: a state that each token decays and writes to as much as it chooses. Gu & Dao 2023, https://arxiv.org/abs/2312.00752.

Letters beside the legend's: F is the mixer's inner width, N the size of the state each of its channels keeps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from hanlin.core.model.activations import Activation
from hanlin.core.model.block import Mixer
from hanlin.core.model.reading import Reading
from hanlin.core.model.recurrent import (
    CausalConvolution,
    Past,
    RealTokens,
    RecurrentState,
    cut,
    even_chunks,
    one_by_one,
    uncut,
)


def scan_recurrent(
    x_BTF: torch.Tensor,
    step_BTF: torch.Tensor,
    a_FN: torch.Tensor,
    b_BTN: torch.Tensor,
    c_BTN: torch.Tensor,
    state_BFN: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """h_t = exp(Δ_t·a) ⊙ h_(t−1) + Δ_t·x_t ⊗ b_t,  y_t = h_t·c_t, token by token (section 3.2; b is discretised as in
    the authors' code, by Euler's rule).

    step_BTF: Δ ≥ 0; with 0 a token leaves the state as it was. a_FN < 0. Returns y (B, T, F) and the last h.
    """
    y = []
    for x_BF, step_BF, b_BN, c_BN in one_by_one(x_BTF, step_BTF, b_BTN, c_BTN):
        state_BFN = _read(state_BFN, x_BF, step_BF, a_FN, b_BN)
        y.append((state_BFN @ c_BN[..., None]).squeeze(-1))
    return torch.stack(y, dim=1), state_BFN


def scan_parallel(
    x_BTF: torch.Tensor,
    step_BTF: torch.Tensor,
    a_FN: torch.Tensor,
    b_BTN: torch.Tensor,
    c_BTN: torch.Tensor,
    state_BFN: torch.Tensor,
    chunk: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same in about 3·√T steps: all chunks side by side, as if they were a batch.

    Read once from an empty state, a chunk shows what it leaves, l; of the state h before it, it keeps exp(a·ΣΔ). So the
    states between chunks are h ← exp(a·ΣΔ) ⊙ h + l, and read again from those, all chunks give their outputs. Nothing
    is divided by a decay: one that underflows is a state forgotten.
    """
    batch, length, _ = x_BTF.shape
    chunk = chunk or even_chunks(length)
    x, step, b, c = (cut(tensor, chunk) for tensor in (x_BTF, step_BTF, b_BTN, c_BTN))
    left = state_BFN.new_zeros(x.shape[0], *state_BFN.shape[1:])
    for x_now, step_now, b_now in one_by_one(x, step, b):
        left = _read(left, x_now, step_now, a_FN, b_now)
    kept = torch.exp(step.sum(dim=1)[..., None] * a_FN)
    states = [state_BFN]
    for kept_BFN, left_BFN in one_by_one(kept.unflatten(0, (batch, -1)), left.unflatten(0, (batch, -1))):
        states.append(kept_BFN * states[-1] + left_BFN)
    y, _ = scan_recurrent(x, step, a_FN, b, c, torch.stack(states[:-1], dim=1).flatten(0, 1))
    return uncut(y, batch, length), states[-1]


def _read(
    state_BFN: torch.Tensor, x_BF: torch.Tensor, step_BF: torch.Tensor, a_FN: torch.Tensor, b_BN: torch.Tensor
) -> torch.Tensor:
    """h after one token."""
    written_BFN = (step_BF * x_BF)[..., None] * b_BN[:, None]
    return torch.addcmul(written_BFN, torch.exp(step_BF[..., None] * a_FN), state_BFN)


class MambaState(RecurrentState):
    """memory: h in float32, (B, F, N) or Mamba-2's (B, H, D, N). past: the inputs the convolution looks back at."""

    def __init__(self, past: Past, memory: torch.Tensor):
        self.past, self.memory = past, memory

    def tensors(self) -> list[torch.Tensor]:
        return [self.past.inputs_BSC, self.memory]

    def put(self, tensors: Sequence[torch.Tensor]) -> None:
        self.past.inputs_BSC, self.memory = tensors


class MambaMixer(nn.Module):
    """out(y ⊙ silu(gate)), y the scan of u = act(conv(in(x))) plus D ⊙ u; Δ, b and c are read off u itself."""

    def __init__(
        self,
        width: int,
        inner: int,
        state_size: int,
        step_rank: int,
        kernel: int,
        activation: Activation,
        *,
        bias: bool = False,
        conv_bias: bool = True,
    ):
        super().__init__()
        self.inner, self.activation = inner, activation
        self.sizes = [step_rank, state_size, state_size]
        self.in_proj = nn.Linear(width, 2 * inner, bias=bias)
        self.conv1d = CausalConvolution(inner, kernel, conv_bias)
        self.x_proj = nn.Linear(inner, sum(self.sizes), bias=False)
        self.dt_proj = nn.Linear(step_rank, inner)
        self.dt_proj.bias = nn.Parameter(first_steps(inner))
        self.A_log = nn.Parameter(torch.arange(1.0, state_size + 1).log().repeat(inner, 1))
        self.D = nn.Parameter(torch.ones(inner))
        self.out_proj = nn.Linear(inner, width, bias=bias)

    def forward(self, x_BTC: torch.Tensor, reading: Reading, state: MambaState | None = None) -> torch.Tensor:
        tokens = RealTokens.of(reading)
        x_BTF, gate_BTF = self.in_proj(tokens.first(x_BTC)).chunk(2, dim=-1)
        x_BTF = self.activation(self.conv1d(x_BTF, tokens, state.past if state else None))
        step_BTR, b_BTN, c_BTN = self.x_proj(x_BTF).split(self.sizes, dim=-1)
        step_BTF = F.softplus(F.linear(step_BTR, self.dt_proj.weight).float() + self.dt_proj.bias.float())
        step_BTF = tokens.padding_as(step_BTF, 0.0)
        scan = scan_recurrent if x_BTF.shape[1] == 1 else scan_parallel
        y_BTF, last_BFN = scan(
            x_BTF.float(),
            step_BTF,
            -self.A_log.float().exp(),
            b_BTN.float(),
            c_BTN.float(),
            state.memory if state else self._empty(x_BTF.shape[0]),
        )
        if state:
            state.memory = last_BFN
        y_BTF = (y_BTF + x_BTF * self.D.float()) * F.silu(gate_BTF)
        return tokens.back(self.out_proj(y_BTF.to(x_BTC.dtype)))

    def new_state(self, batch: int, max_tokens: int) -> MambaState:
        return MambaState(self.conv1d.new_past(batch), self._empty(batch))

    def _empty(self, batch: int) -> torch.Tensor:
        return torch.zeros(batch, *self.A_log.shape, device=self.A_log.device)


def first_steps(count: int, shortest: float = 1e-3, longest: float = 0.1) -> torch.Tensor:
    """Biases b of a new model: softplus(b) = Δ lies between `shortest` and `longest`, evenly in its logarithm."""
    step = torch.empty(count).uniform_(math.log(shortest), math.log(longest)).exp()
    return step + torch.log(-torch.expm1(-step))


class MixerBlock(nn.Module):
    """x + mixer(norm(x)): no feed-forward of its own, the mixer's gate does that work.

    float32_residual: x is kept in float32 from the first block on, whatever the weights are.
    """

    def __init__(self, norm: nn.Module, mixer: Mixer, float32_residual: bool):
        super().__init__()
        self.norm = norm
        self.mixer: Mixer = mixer
        self.float32_residual = float32_residual

    def forward(self, x_BTC: torch.Tensor, reading: Reading, state: Any = None) -> torch.Tensor:
        residual_BTC = x_BTC.float() if self.float32_residual else x_BTC
        return residual_BTC + self.mixer(self.norm(x_BTC), reading, state)

    def new_state(self, batch: int, max_tokens: int) -> Any:
        return self.mixer.new_state(batch, max_tokens)
