"""Logistic regression on hashed character n-grams: learns in seconds what separates two kinds of text.

As fastText (Joulin et al. 2016, https://arxiv.org/abs/1607.01759) without its hidden layer: the n-grams of a text are
hashed into 2^bits buckets (core/text/ngrams.py), counts become a vector of length 1, one weight a bucket decides.

    x[b] = log(1 + count[b]) / ‖…‖       p(good) = σ(Σ_b w[b]·x[b] + bias)

Trained by AdaGrad (Duchi et al. 2011), one text after another: for the log-loss's gradient g[b] = (p − y)·x[b],

    G[b] += g[b]²        w[b] −= rate · g[b] / √(G[b] + ε)

Both kinds weigh the same, however many texts there are of each. Everything is computed in float64, in one fixed order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hanlin.core.text.ngrams import code_points, hashed_ngrams

_RATE, _EPSILON = 0.5, 1e-8
Features = tuple[np.ndarray, np.ndarray]
"""The buckets of a text, ascending, and the value of each."""


@dataclass(frozen=True)
class Linear:
    """weights (2^bits + 1,) float32, the last one the bias; sizes of n-grams; characters that are read of a text."""

    weights: np.ndarray
    sizes: tuple[int, ...]
    bits: int
    most_characters: int

    def score(self, text: str) -> float:
        """p(good), 0 … 1."""
        return self.probability(features(text, self.sizes, self.bits, self.most_characters))

    def probability(self, found: Features) -> float:
        return _probability(self.weights, found)

    def save(self, path: Path) -> None:
        np.savez(path, weights=self.weights, sizes=self.sizes, bits=self.bits, most_characters=self.most_characters)


def load(path: Path) -> Linear:
    with np.load(path, allow_pickle=False) as file:
        sizes = tuple(file["sizes"].tolist())
        return Linear(file["weights"], sizes, int(file["bits"]), int(file["most_characters"]))


def features(text: str, sizes: Sequence[int], bits: int, most_characters: int) -> Features:
    """Of the first characters; white space of any kind and length is one blank."""
    plain = " ".join(text[:most_characters].lower().split())
    buckets, counts = np.unique(hashed_ngrams(code_points(plain), sizes, bits), return_counts=True)
    values = np.log1p(counts)
    length = math.sqrt(float(values @ values)) or 1.0
    return np.append(buckets, 1 << bits).astype(np.int64), np.append(values / length, 1.0)


def train(texts: Sequence[Features], good: Sequence[bool], bits: int, rounds: int, seed: int) -> np.ndarray:
    """The weights, float32."""
    weights, squares = np.zeros((1 << bits) + 1), np.zeros((1 << bits) + 1)
    share = sum(good) / len(good)
    worth = {True: 0.5 / share, False: 0.5 / (1 - share)}
    for turn in range(rounds):
        for place in np.random.default_rng((seed, turn)).permutation(len(texts)):
            buckets, values = texts[place]
            error = _probability(weights, texts[place]) - good[place]
            gradient = worth[good[place]] * error * values
            squares[buckets] += gradient * gradient
            weights[buckets] -= _RATE * gradient / np.sqrt(squares[buckets] + _EPSILON)
    return weights.astype(np.float32)


def area_under_curve(scores: Sequence[float], good: Sequence[bool]) -> float:
    """ROC AUC: how often a good text scores higher than a bad one; equal scores count half (Mann–Whitney U)."""
    of_good = np.sort([score for score, is_good in zip(scores, good) if is_good])
    of_bad = np.array([score for score, is_good in zip(scores, good) if not is_good])
    above = np.searchsorted(of_good, of_bad, "right")
    not_below = np.searchsorted(of_good, of_bad, "left")
    wins = (len(of_good) - above).sum() + 0.5 * (above - not_below).sum()
    return float(wins / (len(of_good) * len(of_bad)))


def _probability(weights: np.ndarray, found: Features) -> float:
    buckets, values = found
    total = float(weights[buckets].astype(np.float64) @ values)
    return 1 / (1 + math.exp(-max(-500.0, min(500.0, total))))
