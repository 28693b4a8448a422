"""MinHash signatures and their bands. Broder 1997; Leskovec, Rajaraman, Ullman: Mining of Massive Datasets, ch. 3.

    J(A, B) = |A ∩ B| / |A ∪ B|  ≈  share of equal places of the two signatures    (deviation √(J(1-J)/num_perm))

Cut into b bands of r places, two signatures share at least one whole band with probability

    P(J) = 1 - (1 - J^r)^b,    an S whose steepest place is about (1/b)^(1/r)

Signatures are rensa's R-MinHash (Fast Similarity Sketching, Dahlgaard et al. 2017): a pure function of the n-grams, the
number of places and the seed, the same in every process and on every machine.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np

from hanlin.core.run.errors import HanlinError
from hanlin.make.collect.steps.matching.units import mixed

SURE = 0.95
"""Bands are chosen so that a pair exactly at the threshold is found with this probability."""

NEIGHBOURS = 64
"""Rows that share a band are compared with so many before them, and with the first; most bands hold two or three."""

_ROWS_AT_ONCE = 512
"""rensa hands out Python integers: so few at once stay in the processor's cache, in half the time of 8192 rows."""

_PAIRS_AT_ONCE = 65536


def signatures(hashes: np.ndarray, offsets: np.ndarray, num_perm: int, seed: int) -> np.ndarray:
    """uint32 (rows, num_perm) of the n-grams hashes[offsets[i]:offsets[i + 1]] of each row; what a row without n-grams
    gets means nothing. Raises HanlinError where rensa is missing."""
    digest = _rensa().digest_matrix_from_flat_token_hashes
    in_bytes = struct.Struct(f"={num_perm}I").pack
    found = np.empty((len(offsets) - 1, num_perm), np.uint32)
    for first in range(0, len(found), _ROWS_AT_ONCE):
        last = min(first + _ROWS_AT_ONCE, len(found))
        begin, end = int(offsets[first]), int(offsets[last])
        places = (offsets[first : last + 1] - begin).astype(np.uint64)
        rows = digest(np.ascontiguousarray(hashes[begin:end]), places, num_perm, seed).to_rows()
        flat = np.frombuffer(b"".join(in_bytes(*row) for row in rows), np.uint32)
        found[first:last] = flat.reshape(last - first, num_perm)
    return found


def found_share(similarity: float, bands: int, rows: int) -> float:
    """P(J) above: how many of the pairs of this similarity share a band."""
    return 1 - (1 - similarity**rows) ** bands


def bands_for(threshold: float, num_perm: int) -> tuple[int, int]:
    """(bands, places of each): the widest bands, and so the fewest vain comparisons, that find a pair at the threshold
    with probability SURE."""
    for rows in range(num_perm, 1, -1):
        if found_share(threshold, num_perm // rows, rows) >= SURE:
            return num_perm // rows, rows
    return num_perm, 1


def estimate(signatures: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The estimated similarity of the rows a[i] and b[i], float32."""
    found = np.empty(len(a), np.float32)
    for first in range(0, len(a), _PAIRS_AT_ONCE):
        here = slice(first, first + _PAIRS_AT_ONCE)
        found[here] = (signatures[a[here]] == signatures[b[here]]).mean(axis=1)
    return found


def band_pairs(
    signatures: np.ndarray, band: int, rows: int, usable: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs (earlier row, later row) of `usable` rows that share this band; those of neighbours first. Only this
    band's keys (16 bytes a row) are in memory meanwhile."""
    keys = mixed(_band_keys(signatures, band, rows)[usable])
    order = np.argsort(keys)  # not a stable one, which takes six times as long: the few that share are put right below
    keys = keys[order]
    repeats = np.zeros(len(keys) + 1, bool)
    repeats[1:-1] = keys[1:] == keys[:-1]
    shared = repeats[1:] | repeats[:-1]
    keys, order = keys[shared], order[shared]
    places = usable[order[np.lexsort((order, keys))]]
    begins = np.flatnonzero(~repeats[:-1][shared])
    rank = np.arange(len(keys)) - np.repeat(begins, np.diff(np.append(begins, len(keys))))
    for distance in range(1, NEIGHBOURS + 1):
        later = np.flatnonzero(rank >= distance)
        if not len(later):
            return
        yield places[later - distance], places[later]
    far = np.flatnonzero(rank > NEIGHBOURS)
    yield places[far - rank[far]], places[far]


def unite(parents: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
    """Union-find over whole arrays: afterwards parents[i] is the first row of i's cluster."""
    changed = False
    while len(a):
        roots_a, roots_b = parents[a], parents[b]
        apart = roots_a != roots_b
        a, b, roots_a, roots_b = a[apart], b[apart], roots_a[apart], roots_b[apart]
        np.minimum.at(parents, np.maximum(roots_a, roots_b), np.minimum(roots_a, roots_b))
        changed = changed or bool(len(a))
        while changed and not np.array_equal(above := parents[parents], parents):
            parents[:] = above


def _band_keys(signatures: np.ndarray, band: int, rows: int) -> np.ndarray:
    columns = signatures[:, band * rows : (band + 1) * rows]
    keys = np.zeros(len(columns), np.uint64)
    for column in range(rows):
        keys = mixed(keys + columns[:, column]) if column else columns[:, 0].astype(np.uint64)
    return keys


def _rensa():
    try:
        from rensa import RMinHash
    except ImportError:
        raise HanlinError(
            "The step near needs the package rensa, which is not installed.",
            "rensa, for MinHash signatures",
            'pip install "hanlin[corpus]"',
            "src/hanlin/make/collect/README.md",
        ) from None
    return RMinHash
