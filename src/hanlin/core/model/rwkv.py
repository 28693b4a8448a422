"""RWKV-4: attention as a running average that fades, so that a few numbers a channel are all the past there is. Peng et
al. 2023, https://arxiv.org/abs/2305.13048.

Letter beside the legend's: A is the width of keys and values.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from hanlin.core.model.reading import Reading
from hanlin.core.model.recurrent import Past, RealTokens, RecurrentState, cut, even_chunks, one_by_one, uncut, with_past

NOTHING = -1e30
"""The logarithm of no weight at all: −∞ minus itself would not be a number."""

Average = tuple[torch.Tensor, torch.Tensor]
"""A weighted mean and the logarithm of its weight: no exponential is ever large."""


def wkv_recurrent(
    k_BTA: torch.Tensor, v_BTA: torch.Tensor, fade_BTA: torch.Tensor, bonus_A: torch.Tensor, past: Average
) -> tuple[torch.Tensor, Average]:
    """y_t: the values' average, a token i < t weighing exp(k_i − (t − 1 − i)·w) and t itself exp(u + k_t) (eq. 16).

    With m the past's mean and l the logarithm of its weight, token by token:
    y_t = m + σ(u + k_t − l)·(v_t − m);  m ← m + σ(k_t − l + w)·(v_t − m),  l ← log(exp(l − w) + exp(k_t)).

    fade_BTA: w ≥ 0; a token with k = NOTHING and w = 0 changes nothing. bonus_A: u. Returns y (B, T, A) and the past.
    """
    y = []
    for k_BA, v_BA, fade_BA in one_by_one(k_BTA, v_BTA, fade_BTA):
        y.append(torch.lerp(past[0], v_BA, torch.sigmoid(bonus_A + k_BA - past[1])))
        past = join(faded(past, fade_BA), (v_BA, k_BA))
    return torch.stack(y, dim=1), past


def wkv_parallel(
    k_BTA: torch.Tensor,
    v_BTA: torch.Tensor,
    fade_BTA: torch.Tensor,
    bonus_A: torch.Tensor,
    past: Average,
    chunk: int | None = None,
) -> tuple[torch.Tensor, Average]:
    """The same in about 2·√T steps. A chunk's own average is known at once, with weights exp(k_i − Σ_(j > i) w_j).
    Joined one after the other they are the past of each chunk; from those all chunks are read side by side, as a batch.
    """
    batch, length, _ = k_BTA.shape
    chunk = chunk or even_chunks(length)
    k, v, fade = cut(k_BTA, chunk, NOTHING), cut(v_BTA, chunk), cut(fade_BTA, chunk)
    pasts = [past]
    chunks = (part.unflatten(0, (batch, -1)) for part in (*_average(k, v, fade), fade.sum(dim=1)))
    for mean_BA, log_weight_BA, fade_BA in one_by_one(*chunks):
        pasts.append(join(faded(pasts[-1], fade_BA), (mean_BA, log_weight_BA)))
    means, log_weights = (torch.stack(parts, dim=1).flatten(0, 1) for parts in zip(*pasts[:-1]))
    y, _ = wkv_recurrent(k, v, fade, bonus_A, (means, log_weights))
    return uncut(y, batch, length), pasts[-1]


def join(one: Average, other: Average) -> Average:
    share = torch.sigmoid(other[1] - one[1])
    return torch.lerp(one[0], other[0], share), torch.logaddexp(one[1], other[1])


def faded(average: Average, fade: torch.Tensor) -> Average:
    return average[0], average[1] - fade


def _average(k_BTA: torch.Tensor, v_BTA: torch.Tensor, fade_BTA: torch.Tensor) -> Average:
    """Of all tokens, as it is after the last. Fades are summed from the end: the last ones count most, and exactly."""
    fade_after_BTA = F.pad(fade_BTA.flip(1).cumsum(dim=1)[:, :-1], (0, 0, 1, 0)).flip(1)
    log_weights_BTA = k_BTA - fade_after_BTA
    return (log_weights_BTA.softmax(dim=1) * v_BTA).sum(dim=1), log_weights_BTA.logsumexp(dim=1)


class RwkvState(RecurrentState):
    """The last input of both mixes, and the fading average in float32."""

    def __init__(self, time_past: Past, channel_past: Past, average: Average):
        self.time_past, self.channel_past, self.average = time_past, channel_past, average

    def tensors(self) -> list[torch.Tensor]:
        return [self.time_past.inputs_BSC, self.channel_past.inputs_BSC, *self.average]

    def put(self, tensors: Sequence[torch.Tensor]) -> None:
        self.time_past.inputs_BSC, self.channel_past.inputs_BSC, mean, log_weight = tensors
        self.average = mean, log_weight


class TimeMix(nn.Module):
    """out(σ(r) ⊙ wkv(k, v)); r, k and v are read off x_t mixed with x_(t−1), each with shares of its own."""

    def __init__(self, width: int, inner: int):
        super().__init__()
        self.time_decay = nn.Parameter(torch.linspace(-5.0, 3.0, inner))
        self.time_first = nn.Parameter(torch.full((inner,), 0.3).log())
        self.time_mix_key, self.time_mix_value, self.time_mix_receptance = (_even_mix(width) for _ in range(3))
        self.key = nn.Linear(width, inner, bias=False)
        self.value = nn.Linear(width, inner, bias=False)
        self.receptance = nn.Linear(width, inner, bias=False)
        self.output = nn.Linear(inner, width, bias=False)

    def forward(self, x_BTC: torch.Tensor, tokens: RealTokens, state: RwkvState | None = None) -> torch.Tensor:
        before_BTC = with_past(x_BTC, 1, tokens, state.time_past if state else None)[:, :-1]
        k_BTA = self.key(torch.lerp(before_BTC, x_BTC, self.time_mix_key)).float()
        v_BTA = self.value(torch.lerp(before_BTC, x_BTC, self.time_mix_value)).float()
        r_BTA = self.receptance(torch.lerp(before_BTC, x_BTC, self.time_mix_receptance))
        fade_BTA = self.time_decay.float().exp().expand_as(k_BTA)
        wkv = wkv_recurrent if k_BTA.shape[1] == 1 else wkv_parallel
        y_BTA, average = wkv(
            tokens.padding_as(k_BTA, NOTHING),
            v_BTA,
            tokens.padding_as(fade_BTA, 0.0),
            self.time_first.float(),
            state.average if state else self.empty(k_BTA.shape[0]),
        )
        if state:
            state.average = average
        return self.output(torch.sigmoid(r_BTA) * y_BTA.to(r_BTA.dtype))

    def empty(self, batch: int) -> Average:
        nothing = torch.zeros(batch, len(self.time_decay), device=self.time_decay.device)
        return nothing, nothing + NOTHING


class ChannelMix(nn.Module):
    """σ(r) ⊙ W·max(k, 0)²; r and k are read off x_t mixed with x_(t−1)."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.time_mix_key, self.time_mix_receptance = _even_mix(width), _even_mix(width)
        self.key = nn.Linear(width, hidden, bias=False)
        self.receptance = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(hidden, width, bias=False)

    def forward(self, x_BTC: torch.Tensor, tokens: RealTokens, state: RwkvState | None = None) -> torch.Tensor:
        before_BTC = with_past(x_BTC, 1, tokens, state.channel_past if state else None)[:, :-1]
        k_BTF = self.key(torch.lerp(before_BTC, x_BTC, self.time_mix_key))
        r_BTC = self.receptance(torch.lerp(before_BTC, x_BTC, self.time_mix_receptance))
        return torch.sigmoid(r_BTC) * self.value(F.relu(k_BTF).square())


def _even_mix(width: int) -> nn.Parameter:
    return nn.Parameter(torch.full((1, 1, width), 0.5))


class RwkvBlock(nn.Module):
    """x + time mix(norm(x)), then x + channel mix(norm(x)).

    halvings: how often x has been halved before this block when the model is used and not trained, so that half
    precision holds deep models' sums; halves: whether x is halved after it.
    """

    def __init__(
        self,
        attention_norm: nn.Module,
        attention: TimeMix,
        mlp_norm: nn.Module,
        mlp: ChannelMix,
        halvings: int = 0,
        halves: bool = False,
    ):
        super().__init__()
        self.attention_norm, self.attention = attention_norm, attention
        self.mlp_norm, self.mlp = mlp_norm, mlp
        self.scale, self.last_scale = 0.5**halvings, 0.5 if halves else 1.0

    def forward(self, x_BTC: torch.Tensor, reading: Reading, state: RwkvState | None = None) -> torch.Tensor:
        scale, last_scale = (1.0, 1.0) if self.training else (self.scale, self.last_scale)
        tokens = RealTokens.of(reading)
        x_BTC = tokens.first(x_BTC)
        x_BTC = x_BTC + self.attention(self.attention_norm(x_BTC), tokens, state) * scale
        x_BTC = x_BTC + self.mlp(self.mlp_norm(x_BTC), tokens, state) * scale
        return tokens.back(x_BTC) * last_scale

    def new_state(self, batch: int, max_tokens: int) -> RwkvState:
        weight = self.attention.key.weight
        time_past, channel_past = (Past(batch, 1, weight.shape[1], weight.dtype, weight.device) for _ in range(2))
        return RwkvState(time_past, channel_past, self.attention.empty(batch))
