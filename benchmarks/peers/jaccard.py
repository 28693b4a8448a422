"""The truth about near duplicates: every pair of texts whose sets of n-grams have a Jaccard similarity of t or more.

Prefix filtering (Bayardo, Ma, Srikant 2007): with each set's n-grams in one order, rarest first, two sets A and B can
only reach t if they share one of their first |A| - ⌈t·|A|⌉ + 1 and |B| - ⌈t·|B|⌉ + 1 n-grams. The pairs that do are
compared exactly; nothing is estimated.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

_PAIRS_AT_ONCE = 2_000_000


def similar_pairs(hashes: np.ndarray, offsets: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """((2, pairs) numbers of texts, similarity) of all pairs at or above the threshold."""
    grams, begins = _sets(hashes, offsets)
    sizes = np.diff(begins)
    prefix = np.where(sizes > 0, sizes - np.ceil(threshold * sizes - 1e-9).astype(np.int64) + 1, 0)
    text_of = np.repeat(np.arange(len(sizes)), prefix)
    within = np.arange(len(text_of)) - np.repeat(np.cumsum(prefix) - prefix, prefix)
    keys = grams[begins[text_of] + within]
    order = np.argsort(keys, kind="stable")
    found = [np.empty(0, np.int64)]
    for a, b in _sharing(keys[order], text_of[order]):
        near = np.minimum(sizes[a], sizes[b]) >= threshold * np.maximum(sizes[a], sizes[b]) - 1e-9
        found.append(np.unique(a[near] * len(sizes) + b[near]))
    a, b = np.divmod(np.unique(np.concatenate(found)), len(sizes))
    similarity = np.array([_jaccard(grams, begins, i, j) for i, j in zip(a.tolist(), b.tolist())])
    true = similarity >= threshold - 1e-9
    return np.stack([a[true], b[true]]), similarity[true]


def _sets(hashes: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different n-grams of each text as numbers, rarest first, and where each text's begin."""
    _, grams, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    rank = np.empty(len(counts), np.int64)
    rank[np.argsort(counts, kind="stable")] = np.arange(len(counts))
    text_of = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    both = np.unique((text_of << 32) | rank[grams])
    return both & 0xFFFFFFFF, np.searchsorted(both >> 32, np.arange(len(offsets)))


def _sharing(keys: np.ndarray, texts: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All pairs (smaller, larger number) of texts that share a key, in portions."""
    begins = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])) if len(keys) else np.empty(0, np.int64)
    sizes = np.diff(np.append(begins, len(keys)))
    left = np.repeat(begins + sizes, sizes) - np.arange(len(keys)) - 1
    some = np.flatnonzero(left)
    begin = 0
    totals = np.cumsum(left[some])
    while begin < len(some):
        end = max(begin + 1, int(np.searchsorted(totals, (totals[begin - 1] if begin else 0) + _PAIRS_AT_ONCE)))
        here, counts = some[begin:end], left[some[begin:end]]
        first = np.repeat(here, counts)
        second = first + 1 + np.arange(len(first)) - np.repeat(np.cumsum(counts) - counts, counts)
        yield np.minimum(texts[first], texts[second]), np.maximum(texts[first], texts[second])
        begin = end


def _jaccard(grams: np.ndarray, begins: np.ndarray, a: int, b: int) -> float:
    first, second = grams[begins[a] : begins[a + 1]], grams[begins[b] : begins[b + 1]]
    common = len(np.intersect1d(first, second, assume_unique=True))
    return common / (len(first) + len(second) - common)
