"""T5's buckets against a plain loop, and the bias they choose."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from hanlin.core.model.positions.relative import RelativePosition, buckets
from hanlin.core.model.reading import Reading


def plain_bucket(distance: int, num_buckets: int, max_distance: int, bidirectional: bool) -> set[int]:
    """The paper's words for one distance; both neighbours where rounding decides between them."""
    first = 0
    if bidirectional:
        num_buckets //= 2
        if distance < 0:
            first, distance = num_buckets, -distance
    distance = max(distance, 0)
    exact = num_buckets // 2
    if distance < exact:
        return {first + distance}
    place = (num_buckets - exact) * math.log(distance / exact) / math.log(max_distance / exact)
    return {first + min(exact + math.floor(place + rounding), num_buckets - 1) for rounding in (-1e-4, 1e-4)}


@given(st.integers(4, 64), st.integers(1, 200), st.booleans(), st.integers(-500, 500))
def test_buckets_equal_a_plain_loop(num_buckets: int, more: int, bidirectional: bool, start: int) -> None:
    max_distance = num_buckets // (4 if bidirectional else 2) + more
    distances = torch.arange(start, start + 60).view(6, 10)
    found = buckets(distances, num_buckets, max_distance, bidirectional)
    assert found.dtype == torch.int64 and found.shape == distances.shape
    for distance, bucket in zip(distances.flatten().tolist(), found.flatten().tolist()):
        assert bucket in plain_bucket(distance, num_buckets, max_distance, bidirectional)


def test_the_numbers_of_t5() -> None:
    """32 buckets up to 128: one-sided 16 near ones, in both directions 8 near ones each."""
    distances = torch.tensor([-3, 0, 1, 15, 16, 127, 128, 9999])
    assert buckets(distances, 32, 128, bidirectional=False).tolist() == [0, 0, 1, 15, 16, 31, 31, 31]
    assert buckets(distances, 32, 128, bidirectional=True).tolist() == [19, 0, 1, 9, 10, 15, 15, 15]


@pytest.mark.parametrize("start", [0, 3])
@pytest.mark.parametrize("causal", [False, True])
def test_the_bias_is_the_buckets_and_the_future_is_hidden(start: int, causal: bool) -> None:
    position = RelativePosition(nn.Embedding(8, 2), 6, bidirectional=not causal)
    reading = Reading(start, 5, torch.device("cpu"), causal=causal)
    mask = position.mask(reading, None, torch.float32)
    assert mask.shape == (1, 2, 5, start + 5) and position.mask(reading, None, torch.float32) is mask
    for t in range(5):
        for s in range(start + 5):
            distance = start + t - s
            (bucket,) = buckets(torch.tensor([distance]), 8, 6, not causal).tolist()
            expected = position.bias.weight[bucket]
            if causal and distance < 0:
                expected = torch.full((2,), -torch.inf)
            assert torch.equal(mask[0, :, t, s], expected)


@pytest.mark.parametrize(("num_buckets", "max_distance", "bidirectional"), [(3, 9, True), (1, 9, False), (8, 4, False)])
def test_no_bucket_left_is_refused(num_buckets: int, max_distance: int, bidirectional: bool) -> None:
    with pytest.raises(ValueError, match=f"{num_buckets} buckets"):
        RelativePosition(nn.Embedding(num_buckets, 2), max_distance, bidirectional)
