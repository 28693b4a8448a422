"""T5's relative positions: a learned number for each head and each bucket of distances, added to the scores. Raffel et
al. 2019, https://arxiv.org/abs/1910.10683, section 2.1; the buckets as in Mesh TensorFlow.

With n buckets for one direction and m = ⌊n/2⌋: bucket(d) = d for d < m, and beyond, up to n − 1,
m + ⌊(n − m) · log(d/m) / log(max_distance/m)⌋.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from hanlin.core.model.reading import Reading


class RelativePosition:
    """One for all layers of a stack.

    bias: (num_buckets, H). The stack owns it; here it is only used, or each layer would list it as its own.
    """

    def __init__(self, bias: nn.Embedding, max_distance: int, bidirectional: bool):
        """Raises ValueError where no bucket is left for near distances, or none for far ones."""
        exact = bias.num_embeddings // (4 if bidirectional else 2)
        if not 0 < exact < max_distance:
            raise ValueError(f"{bias.num_embeddings} buckets of distances up to {max_distance}")
        self.bias, self.max_distance, self.bidirectional = bias, max_distance, bidirectional

    def turn(self, q_BTHD: torch.Tensor, k_BTKD: torch.Tensor, reading: Reading) -> tuple[torch.Tensor, torch.Tensor]:
        return q_BTHD, k_BTKD

    def mask(self, reading: Reading, window: int | None, dtype: torch.dtype) -> torch.Tensor:
        return reading.once(("relative", id(self), window), lambda: self._mask(reading, window, dtype))

    def _mask(self, reading: Reading, window: int | None, dtype: torch.dtype) -> torch.Tensor:
        """(1 or B, H, T, S): distances count tokens, padding included on both sides alike, so padding changes
        nothing."""
        distance_TS = reading.distance()
        bucket_TS = buckets(distance_TS, self.bias.num_embeddings, self.max_distance, self.bidirectional)
        bias_1HTS = self.bias(bucket_TS).permute(2, 0, 1)[None]
        seen = reading.mask(window)
        if seen is None and reading.causal:
            seen = distance_TS >= 0
        return (bias_1HTS if seen is None else bias_1HTS.masked_fill(~seen, -torch.inf)).to(dtype)


def buckets(distance: torch.Tensor, num_buckets: int, max_distance: int, bidirectional: bool) -> torch.Tensor:
    """The bucket of each distance (int64, how many tokens the key stands before the query), int64 of the same shape.

    bidirectional: keys after the query have the second half of the buckets. Otherwise they share distance 0's:
    attention hides them.
    """
    offset = torch.zeros_like(distance)
    if bidirectional:
        num_buckets //= 2
        offset, distance = (distance < 0) * num_buckets, distance.abs()
    near = distance.clamp(min=0)
    exact = num_buckets // 2
    # In float32 and in this order, as models were trained: where the logarithm comes out whole, the last bit decides.
    share = torch.log(near.clamp(min=exact).float() / exact) / math.log(max_distance / exact)
    far = (exact + (share * (num_buckets - exact)).long()).clamp(max=num_buckets - 1)
    return offset + torch.where(near < exact, near, far)
