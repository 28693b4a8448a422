"""Character n-grams of a text as numbers of buckets, for linear models on texts (language, quality).

As in fastText (Joulin et al. 2016, https://arxiv.org/abs/1607.01759; Bojanowski et al. 2017), n-grams aren't collected
in a vocabulary but hashed: the bucket of an n-gram c₁…cₙ is FNV-1a over its code points (fastText takes the bytes of
its UTF-8, and words' borders),

    h₀ = 2166136261,  hᵢ = (hᵢ₋₁ xor cᵢ) · 16777619 mod 2³²,  bucket = (hₙ xor hₙ >> 15) mod 2^bits
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_OFFSET, _PRIME = np.uint32(2166136261), np.uint32(16777619)


def code_points(text: str) -> np.ndarray:
    """(characters,) uint32. Half surrogate pairs count as characters."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def hashed_ngrams(codes: np.ndarray, sizes: Sequence[int], bits: int) -> np.ndarray:
    """The bucket of every n-gram in `codes`, for ascending n in `sizes`; a text shorter than n has none of that n."""
    hashes = np.full(len(codes), _OFFSET, dtype=np.uint32)
    found = []
    for size in range(1, max(sizes) + 1):
        hashes = hashes[: len(codes) - size + 1]
        if not len(hashes):
            break
        hashes = (hashes ^ codes[size - 1 :]) * _PRIME
        if size in sizes:
            found.append((hashes ^ (hashes >> np.uint32(15))) & np.uint32((1 << bits) - 1))
    return np.concatenate(found) if found else np.empty(0, np.uint32)
