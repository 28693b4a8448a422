"""Attention from one text to another: a decoder's tokens look at all of an encoder's. Bahdanau et al. 2014,
https://arxiv.org/abs/1409.0473; Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section 3.2.3.

The legend's S counts the source's tokens here, T the target's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from hanlin.core.model.attention import Attend, attend
from hanlin.core.model.block import Mixer
from hanlin.core.model.reading import Reading


class Source:
    """What the encoder has read, and what the decoder's blocks have made of it: once, however many tokens they write.

    states_BSC: the encoder's. present_BS: bool, False for padding; None where there is none. Each row holds at least
    one real token.
    """

    def __init__(self, states_BSC: torch.Tensor, present_BS: torch.Tensor | None = None):
        self.states_BSC, self.present_BS = states_BSC, present_BS
        self._kept: dict[Any, Any] = {}

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        """What `make` gives, made at the first request; in training each time: a block that is computed again for its
        gradient has to do the same work again."""
        if torch.is_grad_enabled():
            return make()
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    def mask(self) -> torch.Tensor | None:
        """Which tokens the target sees, (B, 1, 1, S) bool; None for all."""
        return None if self.present_BS is None else self.present_BS[:, None, None, :]


class CrossAttention(nn.Module):
    """softmax(q·kᵀ·scale, masked)·v, queries from the target, keys and values from the source. scale: default 1/√D."""

    def __init__(
        self,
        width: int,
        num_heads: int,
        head_width: int,
        *,
        bias: bool = False,
        scale: float | None = None,
        attend: Attend = attend,
    ):
        super().__init__()
        self.num_heads, self.head_width, self.attend = num_heads, head_width, attend
        self.scale = head_width**-0.5 if scale is None else scale
        self.q_proj = nn.Linear(width, num_heads * head_width, bias=bias)
        self.k_proj = nn.Linear(width, num_heads * head_width, bias=bias)
        self.v_proj = nn.Linear(width, num_heads * head_width, bias=bias)
        self.o_proj = nn.Linear(num_heads * head_width, width, bias=bias)

    def forward(self, x_BTC: torch.Tensor, source: Source) -> torch.Tensor:
        k_BHSD, v_BHSD = source.once(("keys and values", id(self)), lambda: self._keys_and_values(source))
        q_BHTD = self._heads(self.q_proj(x_BTC))
        y_BHTD = self.attend(q_BHTD, k_BHSD, v_BHSD, source.mask(), False, self.scale)
        return self.o_proj(y_BHTD.transpose(1, 2).flatten(2))

    def _keys_and_values(self, source: Source) -> tuple[torch.Tensor, torch.Tensor]:
        return self._heads(self.k_proj(source.states_BSC)), self._heads(self.v_proj(source.states_BSC))

    def _heads(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, H·D) → (B, H, T, D)."""
        return x.unflatten(-1, (self.num_heads, self.head_width)).transpose(1, 2)


class CrossBlock(nn.Module):
    """A decoder's block with a source: x + attention(norm(x)), x + cross(norm(x), source), x + mlp(norm(x))."""

    def __init__(
        self,
        attention_norm: nn.Module,
        attention: Mixer,
        cross_norm: nn.Module,
        cross: CrossAttention,
        mlp_norm: nn.Module,
        mlp: nn.Module,
    ):
        super().__init__()
        self.attention: Mixer
        self.attention_norm, self.attention = attention_norm, attention
        self.cross_norm, self.cross = cross_norm, cross
        self.mlp_norm, self.mlp = mlp_norm, mlp

    def forward(self, x_BTC: torch.Tensor, reading: Reading, state: Any, source: Source) -> torch.Tensor:
        x_BTC = x_BTC + self.attention(self.attention_norm(x_BTC), reading, state)
        x_BTC = x_BTC + self.cross(self.cross_norm(x_BTC), source)
        return x_BTC + self.mlp(self.mlp_norm(x_BTC))

    def new_state(self, batch: int, max_tokens: int) -> Any:
        return self.attention.new_state(batch, max_tokens)
