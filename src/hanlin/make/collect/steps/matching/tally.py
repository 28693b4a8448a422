"""Which of many hashes occur more than once in a corpus, and where first. In passes over ranges of hashes, so that
memory stays flat: a pass holds those of one range alone, and what is known of each occurrence is 3 bytes.

    8 bytes a hash are read from the looks in every pass; with PASS_HASHES = 8 million, a pass takes 0.5 GB
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hanlin.make.collect.steps.step import Findings

PASS_HASHES = 8_000_000
MOST = 65_535
"""Counts end here."""


def tally(looks: Sequence[Findings], name: str, pass_hashes: int = PASS_HASHES) -> tuple[np.ndarray, np.ndarray]:
    """(how often its hash occurs, up to MOST: uint16; whether it is the first of them: bool) of each of the hashes
    look[name] of all looks, one after the other."""
    total = sum(len(look[name]) for look in looks)
    counts, first = np.ones(total, np.uint16), np.ones(total, bool)
    passes = max(1, -(-total // pass_hashes))
    # Borders between ranges; hashes are spread evenly over 64 bits.
    borders = [number * 2**64 // passes for number in range(passes)]
    for number, border in enumerate(borders):
        upto = borders[number + 1] - 1 if number + 1 < passes else 2**64 - 1
        _one_range(looks, name, np.uint64(border), np.uint64(upto), counts, first)
    return counts, first


def _one_range(looks, name: str, lowest: np.uint64, highest: np.uint64, counts: np.ndarray, first: np.ndarray) -> None:
    hashes, places, begin = [], [], 0
    for look in looks:
        inside = np.flatnonzero((look[name] >= lowest) & (look[name] <= highest))
        hashes.append(look[name][inside])
        places.append(inside + begin)
        begin += len(look[name])
    if not hashes:
        return
    all_hashes, all_places = np.concatenate(hashes), np.concatenate(places)
    hashes.clear()
    places.clear()
    order = np.argsort(all_hashes, kind="stable")
    all_hashes, all_places = all_hashes[order], all_places[order]
    again = np.zeros(len(all_hashes), bool)
    again[1:] = all_hashes[1:] == all_hashes[:-1]
    begins = np.flatnonzero(~again)
    sizes = np.diff(np.append(begins, len(again)))
    counts[all_places] = np.minimum(np.repeat(sizes, sizes), MOST)
    first[all_places[again]] = False
