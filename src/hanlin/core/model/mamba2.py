"""Mamba-2: one decay a head, so that a chunk of the scan is a matrix product. Dao & Gu 2024, https://arxiv.org/abs/2405.21060.

Letters beside the legend's: F = H·D is the mixer's inner width, G groups of heads share b and c, N the size of the
state each channel keeps, R = H/G heads a group, L and S tokens of a chunk (where it writes, where it reads).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from hanlin.core.model.activations import Activation
from hanlin.core.model.mamba import MambaState, first_steps
from hanlin.core.model.reading import Reading
from hanlin.core.model.recurrent import CausalConvolution, RealTokens, one_by_one


def ssd_recurrent(
    x_BTHD: torch.Tensor,
    step_BTH: torch.Tensor,
    a_H: torch.Tensor,
    b_BTGN: torch.Tensor,
    c_BTGN: torch.Tensor,
    state_BHDN: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """h_t = exp(Δ_t·a)·h_(t−1) + Δ_t·x_t ⊗ b_t,  y_t = h_t·c_t, token by token.

    step_BTH: Δ ≥ 0; with 0 a token leaves the state as it was. a_H < 0. Returns y (B, T, H, D) and the last h.
    """
    heads = x_BTHD.shape[2] // b_BTGN.shape[2]
    b_BTHN, c_BTHN = (tensor.repeat_interleave(heads, dim=2) for tensor in (b_BTGN, c_BTGN))
    y = []
    for x_BHD, step_BH, b_BHN, c_BHN in one_by_one(x_BTHD, step_BTH, b_BTHN, c_BTHN):
        written_BHDN = (step_BH[..., None] * x_BHD)[..., None] * b_BHN[:, :, None]
        state_BHDN = torch.exp(step_BH * a_H)[..., None, None] * state_BHDN + written_BHDN
        y.append((state_BHDN @ c_BHN[..., None]).squeeze(-1))
    return torch.stack(y, dim=1), state_BHDN


def ssd_chunked(
    x_BTHD: torch.Tensor,
    step_BTH: torch.Tensor,
    a_H: torch.Tensor,
    b_BTGN: torch.Tensor,
    c_BTGN: torch.Tensor,
    state_BHDN: torch.Tensor,
    chunk: int = 256,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same, chunk by chunk (section 6). With K(l, s) = exp(a·(Δ_(s+1) + … + Δ_l)), what of token s is kept at l:

    y_l = Σ_(s ≤ l) K(l, s)·(c_l·b_s)·Δ_s·x_s + K(l, 0)·h·c_l,  then h ← K(L, 0)·h + Σ_s K(L, s)·Δ_s·x_s ⊗ b_s.
    """
    y = []
    for x, step, b, c in zip(*(tensor.split(chunk, dim=1) for tensor in (x_BTHD, step_BTH, b_BTGN, c_BTGN))):
        y_BLHD, state_BHDN = _chunk(x * step[..., None], (step * a_H).mT, b, c, state_BHDN)
        y.append(y_BLHD)
    return torch.cat(y, dim=1), state_BHDN


def _chunk(
    x_BSHD: torch.Tensor, log_decay_BHL: torch.Tensor, b_BSGN: torch.Tensor, c_BLGN: torch.Tensor, h_BHDN: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """One chunk's outputs and the state after it; x holds Δ·x already."""
    groups = b_BSGN.shape[2]
    kept_BHLS = segment_sums(log_decay_BHL).exp()
    kept_of_h_BLH1 = log_decay_BHL.cumsum(dim=-1).exp().mT[..., None]
    x_BSGRD, h_BGRDN = x_BSHD.unflatten(2, (groups, -1)), h_BHDN.unflatten(1, (groups, -1))

    scores_BGLS = torch.einsum("blgn,bsgn->bgls", c_BLGN, b_BSGN)
    weights_BGRLS = kept_BHLS.unflatten(1, (groups, -1)) * scores_BGLS[:, :, None]
    of_chunk_BLHD = torch.einsum("bgrls,bsgrd->blgrd", weights_BGRLS, x_BSGRD).flatten(2, 3)
    of_h_BLHD = kept_of_h_BLH1 * torch.einsum("blgn,bgrdn->blgrd", c_BLGN, h_BGRDN).flatten(2, 3)

    kept_at_end_BSGR = kept_BHLS[:, :, -1].mT.unflatten(2, (groups, -1))
    written_BGRDN = torch.einsum("bsgrd,bsgr,bsgn->bgrdn", x_BSGRD, kept_at_end_BSGR, b_BSGN)
    return of_chunk_BLHD + of_h_BLHD, kept_of_h_BLH1[:, -1, ..., None] * h_BHDN + written_BGRDN.flatten(1, 2)


def segment_sums(x: torch.Tensor) -> torch.Tensor:
    """(…, L) → (…, L, S): x_(s+1) + … + x_l where s ≤ l, −∞ elsewhere. Summed one by one: as differences of running
    sums, small numbers far into a chunk would drown in the rounding of large ones."""
    length = x.shape[-1]
    everywhere = torch.ones(length, length, dtype=torch.bool, device=x.device)
    summands = x[..., None].expand(*x.shape, length).masked_fill(everywhere.triu(), 0.0)
    return summands.cumsum(dim=-2).masked_fill(everywhere.triu(1), -torch.inf)


class GatedRMSNorm(nn.Module):
    """RMSNorm of x ⊙ silu(gate), over each of `groups` equal parts by itself; computed in float32."""

    def __init__(self, width: int, groups: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.groups, self.eps = groups, eps

    def forward(self, x_BTF: torch.Tensor, gate_BTF: torch.Tensor) -> torch.Tensor:
        gated = (x_BTF.float() * F.silu(gate_BTF.float())).unflatten(-1, (self.groups, -1))
        normed = F.rms_norm(gated, gated.shape[-1:], None, self.eps).flatten(-2)
        return (normed * self.weight.float()).to(self.weight.dtype)


class Mamba2Mixer(nn.Module):
    """out(norm(y, gate)), y the scan of u plus D·u; u, b and c come out of one convolution, Δ of the input itself.

    chunk: tokens in a chunk; any gives the same. step_limit: smallest and largest Δ.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        head_width: int,
        groups: int,
        state_size: int,
        kernel: int,
        activation: Activation,
        eps: float,
        *,
        chunk: int = 256,
        step_limit: tuple[float, float] = (0.0, float("inf")),
        bias: bool = False,
        conv_bias: bool = True,
    ):
        super().__init__()
        self.num_heads, self.head_width, self.groups, self.state_size = num_heads, head_width, groups, state_size
        self.activation, self.chunk, self.step_limit = activation, chunk, step_limit
        inner = num_heads * head_width
        self.conv_sizes = [inner, groups * state_size, groups * state_size]
        self.sizes = [inner, sum(self.conv_sizes), num_heads]
        self.in_proj = nn.Linear(width, sum(self.sizes), bias=bias)
        self.conv1d = CausalConvolution(sum(self.conv_sizes), kernel, conv_bias)
        self.dt_bias = nn.Parameter(first_steps(num_heads))
        self.A_log = nn.Parameter(torch.arange(1.0, num_heads + 1).log())
        self.D = nn.Parameter(torch.ones(num_heads))
        self.norm = GatedRMSNorm(inner, groups, eps)
        self.out_proj = nn.Linear(inner, width, bias=bias)

    def forward(self, x_BTC: torch.Tensor, reading: Reading, state: MambaState | None = None) -> torch.Tensor:
        tokens = RealTokens.of(reading)
        gate_BTF, inputs, step_BTH = self.in_proj(tokens.first(x_BTC)).split(self.sizes, dim=-1)
        inputs = self.activation(self.conv1d(inputs, tokens, state.past if state else None)).float()
        x, b, c = inputs.split(self.conv_sizes, dim=-1)
        x_BTHD = x.unflatten(-1, (self.num_heads, -1))
        step_BTH = F.softplus(step_BTH.float() + self.dt_bias.float()).clamp(*self.step_limit)
        arguments = (
            x_BTHD,
            tokens.padding_as(step_BTH, 0.0),
            -self.A_log.float().exp(),
            b.unflatten(-1, (self.groups, -1)),
            c.unflatten(-1, (self.groups, -1)),
            state.memory if state else self._empty(x.shape[0]),
        )
        one = x.shape[1] == 1
        y_BTHD, last_BHDN = ssd_recurrent(*arguments) if one else ssd_chunked(*arguments, chunk=self.chunk)
        if state:
            state.memory = last_BHDN
        y_BTF = (y_BTHD + x_BTHD * self.D.float()[:, None]).flatten(2)
        return tokens.back(self.out_proj(self.norm(y_BTF, gate_BTF)))

    def new_state(self, batch: int, max_tokens: int) -> MambaState:
        return MambaState(self.conv1d.new_past(batch), self._empty(batch))

    def _empty(self, batch: int) -> torch.Tensor:
        return torch.zeros(batch, self.num_heads, self.head_width, self.state_size, device=self.A_log.device)
