"""One decoder, made by composition: embedding, blocks, norm, head. Families hand it its parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from hanlin.core.model.cache import Cache
from hanlin.core.model.rope import rotation_tables


@dataclass(frozen=True)
class DecoderShape:
    """The numbers that size a decoder, in the field's names."""

    vocab_size: int
    width: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_width: int
    hidden: int
    max_positions: int
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-6
    tied: bool = True


class Block(nn.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x))."""

    def __init__(
        self, input_layernorm: nn.Module, self_attn: nn.Module, post_attention_layernorm: nn.Module, mlp: nn.Module
    ):
        super().__init__()
        self.input_layernorm, self.self_attn = input_layernorm, self_attn
        self.post_attention_layernorm, self.mlp = post_attention_layernorm, mlp

    def forward(
        self, x_BTC: torch.Tensor, rope: tuple[torch.Tensor, torch.Tensor], cache: Cache | None = None, layer: int = 0
    ) -> torch.Tensor:
        x_BTC = x_BTC + self.self_attn(self.input_layernorm(x_BTC), rope, cache, layer)
        return x_BTC + self.mlp(self.post_attention_layernorm(x_BTC))


class Decoder(nn.Module):
    """ids (B, T) int64 → logits (B, T, V). With a cache, `ids` are the tokens after the cached ones."""

    def __init__(self, shape: DecoderShape, layers: Sequence[nn.Module], norm: nn.Module):
        super().__init__()
        self.shape = shape
        # nn.Embedding's own normal_ loads the whole compiler when the device is meta: seconds at each start.
        self.embed_tokens = nn.Embedding(
            shape.vocab_size, shape.width, _weight=torch.empty(shape.vocab_size, shape.width).uniform_(-1, 1)
        )
        self.layers = nn.ModuleList(layers)
        self.norm = norm
        self.lm_head = nn.Linear(shape.width, shape.vocab_size, bias=False)
        if shape.tied:
            self.lm_head.weight = self.embed_tokens.weight
        # Plain tensors, not buffers: `model.to(bfloat16)` must not round the angles.
        self.cos, self.sin = rotation_tables(shape.max_positions, shape.head_width, shape.rope_theta)

    def forward(self, ids_BT: torch.Tensor, cache: Cache | None = None) -> torch.Tensor:
        return self.lm_head(self.hidden(ids_BT, cache))

    def hidden(self, ids_BT: torch.Tensor, cache: Cache | None = None) -> torch.Tensor:
        """The normed state before the head, (B, T, C)."""
        return self.after_embedding(F.embedding(ids_BT, self.embed_tokens.weight), cache)

    def after_embedding(self, x_BTC: torch.Tensor, cache: Cache | None = None) -> torch.Tensor:
        """The blocks and the last norm, for embeddings (B, T, C)."""
        start = cache.length if cache is not None else 0
        end = start + x_BTC.shape[1]
        assert end <= self.shape.max_positions, "the caller keeps prompt and reply inside the context"
        rope = self.cos[start:end, None].to(x_BTC), self.sin[start:end, None].to(x_BTC)
        for number, layer in enumerate(self.layers):
            x_BTC = layer(x_BTC, rope, cache, number)
        if cache is not None:
            cache.length = end
        return self.norm(x_BTC)

    def new_cache(self, batch: int, max_tokens: int) -> Cache:
        s = self.shape
        return Cache(s.num_layers, batch, s.num_kv_heads, min(max_tokens, s.max_positions), s.head_width, self.dtype)

    @property
    def dtype(self) -> torch.dtype:
        return self.embed_tokens.weight.dtype

    def num_parameters(self) -> int:
        """Tied weights counted once."""
        return sum(p.numel() for p in self.parameters())
