"""Position encodings against their formulas, written out number by number."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hanlin.core.model.positions.alibi import ALiBi, slopes
from hanlin.core.model.positions.learned import LearnedPositions
from hanlin.core.model.positions.none import NoPosition
from hanlin.core.model.positions.rope import SCALINGS, Rope, rope_from
from hanlin.core.model.positions.sinusoidal import SinusoidalPositions
from hanlin.core.model.reading import Reading

CPU = torch.device("cpu")


@given(width=st.sampled_from([4, 8, 10]), position=st.integers(0, 5000))
def test_rope_turns_pairs_by_their_angle(width: int, position: int) -> None:
    """Half-split: number i and number i + D/2 are one point in the plane."""
    x = torch.randn(1, 1, 1, width + 2, dtype=torch.float64)
    turned, _ = Rope(width, 10_000.0).turn(x, x, Reading(position, 1, CPU))
    for i in range(width // 2):
        angle = position * 10_000.0 ** (-2 * i / width)
        a, b = float(x[..., i]), float(x[..., i + width // 2])
        assert float(turned[..., i]) == pytest.approx(a * math.cos(angle) - b * math.sin(angle), abs=2e-3)
        assert float(turned[..., i + width // 2]) == pytest.approx(b * math.cos(angle) + a * math.sin(angle), abs=2e-3)
    assert torch.equal(turned[..., width:], x[..., width:]), "partial rotary leaves the rest"


@given(shift=st.integers(0, 100), distance=st.integers(0, 50))
def test_rope_scores_depend_on_the_distance_alone(shift: int, distance: int) -> None:
    q, k = torch.randn(2, 1, 1, 1, 8, generator=torch.manual_seed(0)).double()
    rope = Rope(8, 100.0)

    def score(at: int) -> float:
        turned_q, _ = rope.turn(q, q, Reading(at + distance, 1, CPU))
        _, turned_k = rope.turn(k, k, Reading(at, 1, CPU))
        return float((turned_q * turned_k).sum())

    assert score(shift) == pytest.approx(score(0), abs=1e-4)


SETTINGS: dict[str, dict[str, Any]] = {
    "linear": {"factor": 4.0},
    "dynamic": {"factor": 4.0},
    "yarn": {"factor": 4.0},
    "llama3": {"factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0},
    "longrope": {"factor": 4.0, "short_factor": [1.0] * 32, "long_factor": [4.0] * 32},
}


@pytest.mark.parametrize("kind", SCALINGS)
def test_each_scaling_keeps_or_slows_every_pair(kind: str) -> None:
    """Never faster than plain, never slower than divided by the factor; the slowest pair is slowed."""
    settings = {"rope_type": kind, "original_max_position_embeddings": 64, **SETTINGS[kind]}
    rope = Rope(64, 10_000.0, settings, 64)
    plain = Rope(64, 10_000.0).known.values
    scaled = rope._frequencies(256).values
    share = scaled / plain
    assert bool((share <= 1 + 1e-5).all()) and bool((share >= 1 / 13 - 1e-5).all())
    assert float(share[-1]) < 0.5
    if kind != "linear" and kind != "longrope":
        assert float(share[0]) == pytest.approx(1.0), "the fastest pair stays"


def test_the_growing_kinds_change_nothing_inside_the_trained_length() -> None:
    plain = Rope(64, 10_000.0).known.values
    for kind in ("dynamic", "longrope"):
        settings = {"rope_type": kind, "original_max_position_embeddings": 64, **SETTINGS[kind]}
        assert torch.allclose(Rope(64, 10_000.0, settings, 64)._frequencies(64).values, plain)


def test_longrope_needs_a_factor_for_each_pair() -> None:
    settings = {"rope_type": "longrope", "original_max_position_embeddings": 64, **SETTINGS["longrope"]}
    with pytest.raises(ValueError, match="each of 32 pairs"):
        Rope(64, 10_000.0, {**settings, "short_factor": [1.0]}, 64)


def test_angles_survive_a_model_without_storage_and_in_half_precision() -> None:
    with torch.device("meta"):
        rope = Rope(8, 10_000.0, {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 16}, 32)
    assert rope.known.values.device.type == "cpu" and rope.known.values.dtype == torch.float32


def test_old_and_new_configs_say_the_same() -> None:
    scaling = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32}
    new = {"rope_parameters": {"rope_type": "llama3", "rope_theta": 500.0, **scaling}, "max_position_embeddings": 64}
    old = {"rope_theta": 500.0, "rope_scaling": {"type": "llama3", **scaling}, "max_position_embeddings": 64}
    assert torch.equal(rope_from(new, 16).known.values, rope_from(old, 16).known.values)
    assert rope_from({**old, "partial_rotary_factor": 0.5}, 16).width == 8
    assert rope_from({"max_position_embeddings": 64}, 16).theta == 10_000.0


@given(num_heads=st.integers(1, 40))
def test_alibi_slopes_fall_and_begin_as_the_paper_says(num_heads: int) -> None:
    found = slopes(num_heads).tolist()
    assert len(found) == num_heads and all(0 < slope < 1 for slope in found)
    if num_heads == 8:
        assert found == [2.0**-i for i in range(1, 9)]
    if num_heads & (num_heads - 1) == 0:
        assert found == sorted(found, reverse=True)


def test_alibi_costs_distance_times_slope_and_hides_the_future() -> None:
    bias = ALiBi(torch.tensor([0.5, 0.25])).mask(Reading(1, 2, CPU), None, torch.float32)
    assert bias.tolist() == [
        [[[-0.5, 0.0, -math.inf], [-1.0, -0.5, 0.0]], [[-0.25, 0.0, -math.inf], [-0.5, -0.25, 0.0]]]
    ]


def test_sinusoids_are_the_papers() -> None:
    found = SinusoidalPositions(6)(torch.zeros(1, 3, 6), Reading(4, 3, CPU))[0]
    for row, position in enumerate(range(4, 7)):
        for i in range(3):
            angle = position / 10_000 ** (2 * i / 6)
            assert float(found[row, 2 * i]) == pytest.approx(math.sin(angle), abs=1e-6)
            assert float(found[row, 2 * i + 1]) == pytest.approx(math.cos(angle), abs=1e-6)


def test_learned_positions_are_rows_and_end() -> None:
    positions = LearnedPositions(5, 2, offset=1)
    found = positions(torch.zeros(1, 2, 2), Reading(1, 2, CPU))
    assert torch.equal(found[0], positions.weight[2:4])
    with pytest.raises(IndexError):
        positions(torch.zeros(1, 2, 2), Reading(3, 2, CPU))


def test_no_position_leaves_everything() -> None:
    q, k = torch.randn(2, 1, 3, 1, 4)
    turned = NoPosition().turn(q, k, Reading(0, 3, CPU))
    assert torch.equal(turned[0], q) and torch.equal(turned[1], k)
