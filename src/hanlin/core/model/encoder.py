"""One encoder, made by composition: every token sees every other. Devlin et al. 2018, https://arxiv.org/abs/1810.04805.

Families hand it its parts, as they do a decoder. What to do with its states for whole sentences: pooling.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from hanlin.core.model.activations import Activation
from hanlin.core.model.decoder import plain_layer, tie
from hanlin.core.model.reading import Reading


def read_both_ways(ids_BT: torch.Tensor, present_BT: torch.Tensor | None) -> Reading:
    """Nothing is hidden but padding; positions count real tokens."""
    return Reading(0, ids_BT.shape[1], ids_BT.device, present_BT, causal=False)


class Encoder(nn.Module):
    """ids (B, T) int64 → logits (B, T, V) of the masked-language-model head; states (B, T, C) of a model without one.

    config: the model's config.json, kept as it came, so that what is saved says what was loaded.
    tied: whether the head's matrix is the embedding. max_positions: the most tokens the model is made for.
    read: ids and padding → where each token stands.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        embed_tokens: nn.Embedding,
        entry: EncoderEntry,
        layers: Sequence[nn.Module],
        head: MaskedLMHead | None = None,
        *,
        tied: bool,
        max_positions: int,
        read: Callable[[torch.Tensor, torch.Tensor | None], Reading] = read_both_ways,
    ):
        super().__init__()
        self.config = dict(config)
        self.max_positions = max_positions
        self.embed_tokens = embed_tokens
        self.entry = entry
        self.layers = nn.ModuleList(layers)
        self.head = head
        self.read = read
        self.tied = {"head.decoder.weight": "embed_tokens.weight"} if head is not None and tied else {}
        self.run_layer = plain_layer
        tie(self)

    def forward(
        self,
        ids_BT: torch.Tensor,
        present_BT: torch.Tensor | None = None,
        token_types_BT: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Arguments as of `hidden`."""
        states_BTC = self.hidden(ids_BT, present_BT, token_types_BT)
        return states_BTC if self.head is None else self.head(states_BTC)

    def hidden(
        self,
        ids_BT: torch.Tensor,
        present_BT: torch.Tensor | None = None,
        token_types_BT: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The state after the last block, (B, T, C); at padding it means nothing.

        present_BT: bool, False for padding (on the left or on the right); None when there is none.
        token_types_BT: int64, which of two texts a token belongs to; None for type 0 throughout.
        """
        reading = self.read(ids_BT, present_BT)
        x_BTC = self.embed_tokens(ids_BT)  # a padding token's vector is not trained by being read
        x_BTC = self.entry(x_BTC, reading, token_types_BT)
        for layer in self.layers:
            x_BTC = self.run_layer(layer, x_BTC, reading)
        return x_BTC

    def states(self, ids_BT: torch.Tensor, present_BT: torch.Tensor | None = None) -> torch.Tensor:
        """What the head reads, (B, T, C), for training."""
        return self.hidden(ids_BT, present_BT)

    def state_modules(self) -> list[nn.Module]:
        """Whose outputs are the hidden states, in the order in which transformers lists them."""
        return [self.entry, *self.layers]

    @property
    def vocab_size(self) -> int:
        return self.embed_tokens.num_embeddings

    @property
    def width(self) -> int:
        return self.embed_tokens.embedding_dim

    @property
    def dtype(self) -> torch.dtype:
        return self.embed_tokens.weight.dtype

    def num_parameters(self) -> int:
        """Tied weights counted once."""
        return sum(p.numel() for p in self.parameters())


class EncoderEntry(nn.Module):
    """norm(x + token type + position)."""

    def __init__(self, positions: nn.Module, token_types: nn.Embedding, norm: nn.Module):
        super().__init__()
        self.positions, self.token_types, self.norm = positions, token_types, norm

    def forward(
        self, x_BTC: torch.Tensor, reading: Reading, token_types_BT: torch.Tensor | None = None
    ) -> torch.Tensor:
        weight = self.token_types.weight
        types = weight[0] if token_types_BT is None else F.embedding(token_types_BT, weight)
        return self.norm(self.positions(x_BTC + types, reading))


class MaskedLMHead(nn.Module):
    """norm(f(x·W))·Eᵀ + b, E the embedding where it is tied: (…, C) → (…, V)."""

    def __init__(self, width: int, vocab_size: int, activation: Activation, norm: nn.Module):
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.activation = activation
        self.norm = norm
        self.decoder = nn.Linear(width, vocab_size)

    def forward(self, x_BTC: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.norm(self.activation(self.dense(x_BTC))))
