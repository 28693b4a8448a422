"""Mirostat: what it leaves, how it corrects itself, and that the surprise comes near its target."""

from __future__ import annotations

import math

import pytest
import torch

from hanlin.core.generate.sampling import Sampler, Sampling
from hanlin.core.generate.strategies import mirostat

SHARES = torch.tensor([0.5, 0.25, 0.125, 0.125])


def zipf(exponent: float, vocab_size: int) -> torch.Tensor:
    return -exponent * torch.arange(1, vocab_size + 1).log()


def test_version_2_by_hand() -> None:
    logits = SHARES.log()
    assert mirostat.keep_by_surprise(logits, 2.5).tolist() == [0, 1]
    assert mirostat.keep_by_surprise(logits, 3.01).tolist() == [0, 1, 2, 3]
    assert mirostat.keep_by_surprise(logits, 0.5).tolist() == [0], "the likeliest stays"
    assert mirostat.keep_by_surprise(logits, -7.0).tolist() == [0]


@pytest.mark.parametrize("exponent", [0.7, 1.0, 1.3])
def test_zipf_exponent_is_found(exponent: float) -> None:
    assert mirostat.zipf_exponent(zipf(exponent, 100)) == pytest.approx(exponent, abs=1e-5)


@pytest.mark.parametrize("exponent", [0.7, 1.0, 1.3])
def test_version_1_leaves_out_what_surprises_more(exponent: float) -> None:
    """Of a Zipf vocabulary the last one kept surprises by about μ: the paper's sum over ranks is an integral."""
    logits = zipf(exponent, 50_000)
    kept = mirostat.keep_by_rank(logits, 9.0, 50_000)
    assert kept.equal(torch.arange(len(kept)))
    assert -logits.log_softmax(-1)[kept[-1]].item() / math.log(2) == pytest.approx(9.0, abs=0.8)


def test_version_1_at_its_edges() -> None:
    assert len(mirostat.keep_by_rank(torch.zeros(50), 3.0, 50)) == 50, "no rank, no exponent"
    assert mirostat.keep_by_rank(torch.tensor([0.0]), 3.0, 1).tolist() == [0]
    assert mirostat.keep_by_rank(zipf(1.1, 50), -40.0, 50).tolist() == [0]
    assert len(mirostat.keep_by_rank(zipf(1.1, 50), 400.0, 50)) == 50


def test_mu_follows_what_was_seen() -> None:
    """μ moves by η times how far the surprise was from τ, within what was left; a draw alone moves nothing."""
    sampler = Sampler(Sampling(mirostat=2, mirostat_tau=1, mirostat_eta=0.5, temperature=1, repetition_penalty=1), [])
    logits = SHARES.log()

    def left() -> list[float]:
        return sampler.distribution(logits).tolist()

    assert left() == pytest.approx([2 / 3, 1 / 3, 0, 0]), "μ begins at 2τ = 2 bits"
    sampler.draw(logits)
    assert left() == pytest.approx([2 / 3, 1 / 3, 0, 0])
    other = sampler.copy()
    sampler.saw(0)  # 0.58 bits: μ = 2.21
    sampler.distribution(logits)
    sampler.saw(0)  # μ = 2.42
    assert left() == pytest.approx([2 / 3, 1 / 3, 0, 0])
    for _ in range(3):
        sampler.saw(0)  # 2.63, and without a distribution in between nothing more
    assert left() == pytest.approx([2 / 3, 1 / 3, 0, 0])
    sampler.saw(0)
    sampler.distribution(logits)
    sampler.saw(0)  # 3.05
    assert left() == pytest.approx(SHARES.tolist())
    other.saw(1)  # 1.58 bits: μ = 1.71
    assert other.distribution(logits).tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("tau", [2.0, 4.0])
def test_the_surprise_comes_near_its_target(version: int, tau: float) -> None:
    sampling = Sampling(mirostat=version, mirostat_tau=tau, temperature=1, repetition_penalty=1, seed=0)
    sampler, logits, surprises = Sampler(sampling, []), zipf(1.1, 2000), []
    for _ in range(1500):
        shares = sampler.distribution(logits)
        token = sampler.draw(logits)
        surprises.append(-math.log2(shares[token]))
        sampler.saw(token)
    assert sum(surprises[500:]) / 1000 == pytest.approx(tau, abs=0.1)
