"""What followed the last words where they stood before."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanlin.core.generate.speculate.lookup import LONGEST_NGRAM, SHORTEST_NGRAM, continuation


@pytest.mark.parametrize(
    ("ids", "found"),
    [
        ([1, 2, 3, 4, 1, 2], [3, 4, 1]),
        ([1, 2, 3, 1, 2, 4, 1, 2], [4, 1, 2]),  # the latest place
        ([7, 1, 2, 3, 8, 1, 2, 9, 7, 1, 2], [3, 8, 1]),  # the longest ending
        ([5, 5, 5], [5]),  # a place may overlap the ending
        ([1, 2, 3], []),
        ([1], []),
        ([], []),
    ],
)
def test_examples(ids: list[int], found: list[int]) -> None:
    assert continuation(ids, 3) == found


@given(ids=st.lists(st.integers(0, 3), max_size=40), count=st.integers(0, 6))
def test_what_is_found_stood_there(ids: list[int], count: int) -> None:
    found = continuation(ids, count)
    assert len(found) <= count
    lengths = range(SHORTEST_NGRAM, LONGEST_NGRAM + 1)
    stood = [
        ids[start + n : start + n + count]
        for n in lengths
        for start in range(len(ids) - n)
        if n < len(ids) and ids[start : start + n] == ids[-n:]
    ]
    assert found in stood if found else not count or not any(stood)
