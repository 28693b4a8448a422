"""One encoder-decoder, made by composition: an encoder reads the source as a whole, a decoder that looks at it writes
the target. Families hand it its parts. Vaswani et al. 2017, https://arxiv.org/abs/1706.03762."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import nn

from hanlin.core.model.cache import AnyCache, Cache
from hanlin.core.model.cross_attention import Source
from hanlin.core.model.decoder import plain_layer, tie
from hanlin.core.model.entry import PlainEntry
from hanlin.core.model.reading import Reading


class Stack(nn.Module):
    """Entry, blocks, last norm. position_bias: what the blocks' positions share (see positions/relative.py)."""

    def __init__(
        self,
        layers: Sequence[nn.Module],
        norm: nn.Module,
        *,
        position_bias: nn.Module | None = None,
        entry: nn.Module | None = None,
    ):
        super().__init__()
        self.entry = entry or PlainEntry()
        self.position_bias = position_bias
        self.layers = nn.ModuleList(layers)
        self.norm = norm
        self.run_layer = plain_layer

    def forward(self, x_BTC: torch.Tensor, reading: Reading, cache: AnyCache | None, *sources: Source) -> torch.Tensor:
        """sources: what each block looks at besides, nothing in an encoder."""
        x_BTC = self.entry(x_BTC, reading)
        for number, layer in enumerate(self.layers):
            x_BTC = self.run_layer(layer, x_BTC, reading, cache.states[number] if cache is not None else None, *sources)
        return self.norm(x_BTC)

    def state_modules(self) -> list[nn.Module]:
        return [self.entry, *self.layers[:-1], self.norm]


class EncoderDecoder(nn.Module):
    """Source ids (B, S) and target ids (B, T), int64 → logits (B, T, V).

    config: the model's config.json, kept as it came. max_positions: the most tokens the model is made for, of source
    and target each. head_scale: on the decoder's states before the head.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        embed_tokens: nn.Embedding,
        encoder: Stack,
        decoder: Stack,
        *,
        tied: bool,
        max_positions: int,
        head_scale: float = 1.0,
    ):
        super().__init__()
        self.config = dict(config)
        self.max_positions, self.head_scale = max_positions, head_scale
        self.embed_tokens = embed_tokens
        self.encoder, self.decoder = encoder, decoder
        self.lm_head = nn.Linear(embed_tokens.embedding_dim, embed_tokens.num_embeddings, bias=False)
        self.tied = {"lm_head.weight": "embed_tokens.weight"} if tied else {}
        tie(self)

    def forward(
        self,
        source_ids_BS: torch.Tensor,
        target_ids_BT: torch.Tensor,
        source_present: torch.Tensor | None = None,
        target_present: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The present ones: bool (B, S) and (B, T), False for padding (left or right); None where there is none. The
        target begins with the start token; logits at place t are those of target t + 1."""
        return self.decode(target_ids_BT, self.encode(source_ids_BS, source_present), None, target_present)

    def encode(self, source_ids_BS: torch.Tensor, source_present: torch.Tensor | None = None) -> Source:
        reading = Reading(0, source_ids_BS.shape[1], source_ids_BS.device, source_present, causal=False)
        return Source(self.encoder(self._embed(source_ids_BS), reading, None), source_present)

    def decode(
        self,
        target_ids_BT: torch.Tensor,
        source: Source,
        cache: AnyCache | None = None,
        target_present: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Logits. With a cache, the ids are the tokens after the cached ones; `source` then is the same object at each
        step, for it keeps the cross-attentions' keys and values."""
        return self.head(self.hidden(target_ids_BT, source, cache, target_present))

    def hidden(
        self,
        target_ids_BT: torch.Tensor,
        source: Source,
        cache: AnyCache | None = None,
        target_present: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The decoder's normed state before the head, (B, T, C)."""
        length, device = target_ids_BT.shape[1], target_ids_BT.device
        if cache is None:
            reading = Reading(0, length, device, target_present)
        else:
            reading = cache.read(length, device, target_present)
        x_BTC = self.decoder(self._embed(target_ids_BT), reading, cache, source)
        if cache is not None:
            cache.length = reading.total
        return x_BTC

    def head(self, x_BTC: torch.Tensor) -> torch.Tensor:
        """Logits of the decoder's normed states, (…, C) → (…, V)."""
        return self.lm_head(x_BTC if self.head_scale == 1 else x_BTC * self.head_scale)

    def _embed(self, ids: torch.Tensor) -> torch.Tensor:
        return self.embed_tokens(ids)

    def new_cache(self, batch: int, max_tokens: int) -> Cache:
        """Of the decoder, `max_tokens` of the target."""
        states = [cast(Any, layer).new_state(batch, max_tokens) for layer in self.decoder.layers]
        return Cache(states, max_tokens)

    def state_modules(self) -> list[nn.Module]:
        """Whose outputs are the hidden states: the encoder's, then the decoder's."""
        return [*self.encoder.state_modules(), *self.decoder.state_modules()]

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
