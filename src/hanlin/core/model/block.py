"""Blocks of attention and feed-forward: where the norms stand is what tells families apart."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import nn

from hanlin.core.model.reading import Reading


class Mixer(Protocol):
    """What lets tokens look at each other: attention, or another that keeps a state."""

    def __call__(self, x_BTC: torch.Tensor, reading: Reading, state: Any = None) -> torch.Tensor: ...

    def new_state(self, batch: int, max_tokens: int) -> Any: ...


class Block(nn.Module):
    """x + out_norm(attention(norm(x))), then x + out_norm(mlp(norm(x))).

    With the first norms it is pre-norm (GPT-2, Llama), with the out-norms alone OLMo 2, with both Gemma's sandwich.
    """

    def __init__(
        self,
        attention: Mixer,
        mlp: nn.Module,
        attention_norm: nn.Module | None = None,
        mlp_norm: nn.Module | None = None,
        attention_out_norm: nn.Module | None = None,
        mlp_out_norm: nn.Module | None = None,
    ):
        super().__init__()
        self.attention: Mixer
        self.attention_norm, self.attention = attention_norm or nn.Identity(), attention
        self.attention_out_norm = attention_out_norm or nn.Identity()
        self.mlp_norm, self.mlp = mlp_norm or nn.Identity(), mlp
        self.mlp_out_norm = mlp_out_norm or nn.Identity()

    def forward(self, x_BTC: torch.Tensor, reading: Reading, state: Any = None) -> torch.Tensor:
        x_BTC = x_BTC + self.attention_out_norm(self.attention(self.attention_norm(x_BTC), reading, state))
        return x_BTC + self.mlp_out_norm(self.mlp(self.mlp_norm(x_BTC)))

    def new_state(self, batch: int, max_tokens: int) -> Any:
        return self.attention.new_state(batch, max_tokens)


class ParallelBlock(nn.Module):
    """x + attention(norm(x)) + mlp(norm(x)), one norm for both (GPT-J, Phi). Wang & Komatsuzaki 2021."""

    def __init__(self, norm: nn.Module, attention: Mixer, mlp: nn.Module):
        super().__init__()
        self.norm, self.attention, self.mlp = norm, attention, mlp

    def forward(self, x_BTC: torch.Tensor, reading: Reading, state: Any = None) -> torch.Tensor:
        normed_BTC = self.norm(x_BTC)
        return x_BTC + self.attention(normed_BTC, reading, state) + self.mlp(normed_BTC)

    def new_state(self, batch: int, max_tokens: int) -> Any:
        return self.attention.new_state(batch, max_tokens)


class PostNormBlock(nn.Module):
    """norm(x + attention(x)), then norm(x + mlp(x)): the first Transformer's order, and BERT's."""

    def __init__(self, attention: Mixer, attention_norm: nn.Module, mlp: nn.Module, mlp_norm: nn.Module):
        super().__init__()
        self.attention, self.attention_norm = attention, attention_norm
        self.mlp, self.mlp_norm = mlp, mlp_norm

    def forward(self, x_BTC: torch.Tensor, reading: Reading, state: Any = None) -> torch.Tensor:
        x_BTC = self.attention_norm(x_BTC + self.attention(x_BTC, reading, state))
        return self.mlp_norm(x_BTC + self.mlp(x_BTC))

    def new_state(self, batch: int, max_tokens: int) -> Any:
        return self.attention.new_state(batch, max_tokens)
