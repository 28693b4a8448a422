"""One decoder, made by composition: embedding, entry, blocks, norm, head. Families hand it its parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import nn

from hanlin.core.model.cache import AnyCache, Cache
from hanlin.core.model.entry import PlainEntry
from hanlin.core.model.reading import Reading


def plain_embedding(vocab_size: int, width: int) -> nn.Embedding:
    """nn.Embedding's own normal_ loads the whole compiler when the device is meta: seconds at each start."""
    return nn.Embedding(vocab_size, width, _weight=torch.empty(vocab_size, width).uniform_(-1, 1))


class Decoder(nn.Module):
    """ids (B, T) int64 → logits (B, T, V). With a cache, `ids` are the tokens after the cached ones.

    config: the model's config.json, kept as it came, so that what is saved says what was loaded.
    max_positions: the most tokens the model is made for.
    entry: what happens to embeddings before the first block. shape_logits: what happens to logits at the end.
    embeddings_listed: whether they are the first hidden state; transformers' recurrent models list each block's output.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        embed_tokens: nn.Embedding,
        layers: Sequence[nn.Module],
        norm: nn.Module,
        *,
        tied: bool,
        max_positions: int,
        entry: nn.Module | None = None,
        head_bias: bool = False,
        shape_logits: Callable[[torch.Tensor], torch.Tensor] | None = None,
        embeddings_listed: bool = True,
    ):
        super().__init__()
        self.config = dict(config)
        self.max_positions = max_positions
        self.embed_tokens = embed_tokens
        self.entry = entry or PlainEntry()
        self.layers = nn.ModuleList(layers)
        self.norm = norm
        self.lm_head = nn.Linear(embed_tokens.embedding_dim, embed_tokens.num_embeddings, bias=head_bias)
        self.shape_logits = shape_logits
        self.embeddings_listed = embeddings_listed
        self.tied = {"lm_head.weight": "embed_tokens.weight"} if tied else {}
        self.run_layer = plain_layer
        self.body = self.after_embedding
        tie(self)

    def forward(
        self, ids_BT: torch.Tensor, cache: AnyCache | None = None, present_BT: torch.Tensor | None = None
    ) -> torch.Tensor:
        """present_BT: bool, False for padding (on the left or on the right); None when there is none."""
        return self.head(self.hidden(ids_BT, cache, present_BT))

    def hidden(
        self, ids_BT: torch.Tensor, cache: AnyCache | None = None, present_BT: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The normed state before the head, (B, T, C)."""
        return self.after_embedding(self.embed_tokens(ids_BT), None, cache, present_BT)

    def states(self, ids_BT: torch.Tensor, documents_BT: torch.Tensor | None = None) -> torch.Tensor:
        """The normed state before the head, (B, T, C), for training.

        documents_BT: int64, which of a packed row's documents a token belongs to, padding −1; None for a document a
        row. The gathering of rows stays outside `body`, which the loop may compile: its scattered atomic additions
        would make two equal runs differ in their last bits.
        """
        return self.body(self.embed_tokens(ids_BT), documents_BT)

    def after_embedding(
        self,
        x_BTC: torch.Tensor,
        documents_BT: torch.Tensor | None = None,
        cache: AnyCache | None = None,
        present_BT: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Entry, blocks and last norm, for embeddings (B, T, C)."""
        length = x_BTC.shape[1]
        if cache is None:
            reading = Reading(0, length, x_BTC.device, present_BT, documents_BT=documents_BT)
        else:
            reading = cache.read(length, x_BTC.device, present_BT)
        x_BTC = self.entry(x_BTC, reading)
        for number, layer in enumerate(self.layers):
            x_BTC = self.run_layer(layer, x_BTC, reading, cache.states[number] if cache is not None else None)
        if cache is not None:
            cache.length = reading.total
        return self.norm(x_BTC)

    def head(self, x_BTC: torch.Tensor) -> torch.Tensor:
        """Logits of normed states, (…, C) → (…, V)."""
        logits = self.lm_head(x_BTC)
        return logits if self.shape_logits is None else self.shape_logits(logits)

    def new_cache(self, batch: int, max_tokens: int) -> Cache:
        return Cache([cast(Any, layer).new_state(batch, max_tokens) for layer in self.layers], max_tokens)

    def state_modules(self) -> list[nn.Module]:
        """Whose outputs are the hidden states, in the order in which transformers lists them."""
        if not self.embeddings_listed:
            return [*self.layers, self.norm]
        return [self.entry, *self.layers[:-1], self.norm]

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


def plain_layer(layer: nn.Module, *arguments: Any) -> torch.Tensor:
    """How a block is run; training may hand a model another way, which keeps less and computes again."""
    return layer(*arguments)


def tie(model: Any) -> None:
    """Make each of `model.tied`'s parameters the one it shares its numbers with."""
    for name, source in model.tied.items():
        module_name, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(module_name), leaf, model.get_parameter(source))


def untie(model: Any, name: str) -> None:
    """Give one of `model.tied`'s parameters numbers of its own: its source's shape, whatever is in memory there."""
    module_name, _, leaf = name.rpartition(".")
    source = model.get_parameter(model.tied.pop(name))
    setattr(model.get_submodule(module_name), leaf, nn.Parameter(torch.empty_like(source)))
