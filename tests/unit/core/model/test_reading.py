"""Who sees whom, written out pair by pair."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from hanlin.core.model.cache import Cache
from hanlin.core.model.reading import Reading


@given(
    start=st.integers(0, 6),
    length=st.integers(1, 6),
    window=st.none() | st.integers(1, 8),
    padding=st.none() | st.lists(st.integers(0, 3), min_size=1, max_size=3),
    causal=st.booleans(),
)
def test_a_mask_is_the_rule_for_every_pair(
    start: int, length: int, window: int | None, padding: list[int] | None, causal: bool
) -> None:
    total = start + length
    present = None if padding is None else torch.arange(total) >= torch.tensor(padding)[:, None]
    reading = Reading(start, length, torch.device("cpu"), present, causal)
    mask = reading.mask(window)
    found = torch.ones(length, total, dtype=torch.bool) if mask is None else mask
    if mask is None and reading.is_causal(mask):
        found = found.tril(total - length)
    for row in range(1 if present is None else len(present)):
        seen = found if found.ndim == 2 else found[row, 0]
        for query in range(length):
            for key in range(total):
                distance = start + query - key
                allowed = distance >= 0 or not causal
                allowed = allowed and (window is None or distance < window)
                if present is not None:
                    allowed = (allowed and bool(present[row, key])) or distance == 0
                assert bool(seen[query, key]) == allowed, (row, query, key)


@given(padding=st.lists(st.integers(0, 3), min_size=1, max_size=3), cut=st.integers(1, 5))
def test_positions_count_real_tokens_also_across_a_cache(padding: list[int], cut: int) -> None:
    present = torch.arange(6) >= torch.tensor(padding)[:, None]
    whole = Reading(0, 6, torch.device("cpu"), present).positions
    cache = Cache([], 8)
    pieces = []
    for piece in present.split([cut, 6 - cut], dim=1):
        reading = cache.read(piece.shape[1], torch.device("cpu"), piece)
        cache.length = reading.total
        pieces.append(reading.positions)
    assert torch.equal(torch.cat(pieces, dim=1), whole)
    for row, left in enumerate(padding):
        assert whole[row, left:].tolist() == list(range(6 - left))


def test_tokens_after_a_padded_prompt_are_real() -> None:
    cache = Cache([], 8)
    cache.length = cache.read(3, torch.device("cpu"), torch.tensor([[False, True, True]])).total
    reading = cache.read(2, torch.device("cpu"), None)
    assert reading.present_BS is not None
    assert reading.present_BS.tolist() == [[False, True, True, True, True]]
    assert reading.positions.tolist() == [[2, 3]]


def test_what_a_pass_shares_is_made_once() -> None:
    reading, made = Reading(0, 2, torch.device("cpu")), []
    assert reading.once("x", lambda: made.append(1) or 7) == reading.once("x", lambda: made.append(2) or 8) == 7
    assert made == [1]
