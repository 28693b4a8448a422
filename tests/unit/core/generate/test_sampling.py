"""Drawing the next token."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hanlin.core.generate.sampling import (
    GREEDY,
    Sampling,
    distribution,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    next_token,
    penalise_repetition,
)
from hanlin.core.run.config import build
from hanlin.core.run.errors import HanlinError

NOTHING_SEEN = torch.tensor([], dtype=torch.long)
LOGITS = st.lists(st.floats(-20, 20, width=32), min_size=1, max_size=30).map(torch.tensor)


def kept(logits: torch.Tensor) -> list[int]:
    return torch.isfinite(logits).nonzero()[:, 0].tolist()


def test_by_hand() -> None:
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    assert kept(keep_top_k(logits, 2)) == [0, 1]
    assert kept(keep_top_p(logits, 0.75)) == [0, 1]
    assert kept(keep_top_p(logits, 0.85)) == [0, 1, 2]
    assert kept(keep_min_p(logits, 0.25)) == [0, 1, 2]
    penalised = penalise_repetition(torch.tensor([2.0, -2.0, 1.0]), torch.tensor([0, 1, 1, 0]), 2.0)
    assert penalised.tolist() == [1.0, -4.0, 1.0]


@given(LOGITS, st.integers(0, 40), st.floats(0.01, 1), st.floats(0, 0.99), st.floats(0.05, 5))
def test_always_a_distribution_with_the_likeliest_token(
    logits: torch.Tensor, k: int, p: float, m: float, temperature: float
) -> None:
    sampling = Sampling(temperature=temperature, top_k=k, top_p=p, min_p=m)
    probabilities = distribution(logits, sampling)
    assert probabilities.sum().item() == pytest.approx(1, abs=1e-5)
    # Softmax rounds: logits that are equal to it may stand in either order.
    assert logits[probabilities.argmax()].item() == pytest.approx(logits.max().item(), abs=1e-6, rel=1e-6)


@given(LOGITS)
def test_greedy_takes_the_likeliest(logits: torch.Tensor) -> None:
    assert next_token(logits, NOTHING_SEEN, GREEDY, None) == int(logits.argmax())


def test_almost_no_temperature_is_greedy() -> None:
    sampling = Sampling(temperature=1e-40, repetition_penalty=1)
    assert next_token(torch.tensor([1.0, 3.0, 2.0]), NOTHING_SEEN, sampling, None) == 1


def test_the_seed_decides() -> None:
    logits, sampling = torch.zeros(1000), Sampling(temperature=1, top_p=1, repetition_penalty=1)

    def draw(seed: int) -> list[int]:
        random = torch.Generator().manual_seed(seed)
        return [next_token(logits, NOTHING_SEEN, sampling, random) for _ in range(5)]

    assert draw(1) == draw(1) != draw(2)


def test_draws_follow_the_distribution() -> None:
    logits, random = torch.tensor([0.6, 0.3, 0.1]).log(), torch.Generator().manual_seed(0)
    sampling = Sampling(temperature=1, top_p=1, repetition_penalty=1)
    counts = (
        torch.bincount(
            torch.tensor([next_token(logits, NOTHING_SEEN, sampling, random) for _ in range(4000)]), minlength=3
        )
        / 4000
    )
    assert counts.tolist() == pytest.approx([0.6, 0.3, 0.1], abs=0.03)


@pytest.mark.parametrize(
    "option",
    [
        {"temperature": -1},
        {"top_p": 0},
        {"top_p": 1.1},
        {"min_p": 1},
        {"repetition_penalty": 0},
        {"max_tokens": 0},
        {"topp": 1},
    ],
)
def test_impossible_options_are_refused(option: dict[str, float]) -> None:
    with pytest.raises(HanlinError):
        build(Sampling, option, "generate")
