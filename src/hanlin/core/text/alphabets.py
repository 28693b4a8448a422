"""Which alphabetic language a text is in: a linear model on hashed character n-grams, 46 languages in half a megabyte.

The text is reduced to its letters in lower case, words between single blanks; its features are the buckets of all
1- to 4-grams, each weighing 1/√(their number), so that a longer text counts more, but not in proportion:

    score(language) = Σ weight[bucket, language] / √n        P(language) = softmax over the languages of the alphabet

Languages written in other alphabets than the text are never asked. The weights are made by scripts/train_language.py.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

import numpy as np

from hanlin.core.text.ngrams import code_points, hashed_ngrams

SIZES = (1, 2, 3, 4)
BITS = 14
MOST_LETTERS = 400
"""What is read of a text; more doesn't change the answer."""

CYRILLIC, ARABIC, INDIC = ("bg", "mk", "ru", "sr", "uk"), ("ar", "fa", "ur"), ("hi", "mr", "ne")
_NO_LETTERS = re.compile(r"[^\w']|[\d_]")


def features(text: str) -> tuple[np.ndarray, np.ndarray]:
    """The buckets of a text's n-grams, and the weight of each, float32."""
    plain = " ".join(_NO_LETTERS.sub(" ", text[: 2 * MOST_LETTERS].lower()).split())[:MOST_LETTERS]
    buckets = hashed_ngrams(code_points(f" {plain} "), SIZES, BITS) if plain else np.empty(0, np.uint32)
    return buckets, np.full(len(buckets), 1 / np.sqrt(max(1, len(buckets))), np.float32)


def best(text: str, alphabet: str = "") -> tuple[str, float]:
    """The likeliest language and its probability. alphabet: Latin, Cyrillic, Arabic, Devanagari; "" asks all."""
    weights, scale, languages = model()
    buckets, shares = features(text)
    if not len(buckets):
        return "und", 0.0
    scores = weights[buckets].sum(axis=0, dtype=np.int64) * (scale * shares[0])
    allowed = _places(alphabet)
    odds = np.exp(scores[allowed] - scores[allowed].max())
    place = int(odds.argmax())
    return languages[allowed[place]], float(odds[place] / odds.sum())


@lru_cache(maxsize=1)
def model() -> tuple[np.ndarray, float, list[str]]:
    with np.load(Path(__file__).with_name("language.npz"), allow_pickle=False) as file:
        return file["weights"], float(file["scale"]), file["languages"].tolist()


@lru_cache(maxsize=8)
def _places(alphabet: str) -> np.ndarray:
    of = {"Cyrillic": CYRILLIC, "Arabic": ARABIC, "Devanagari": INDIC}
    others = {name for names in of.values() for name in names}
    languages = model()[2]
    if not alphabet:
        return np.arange(len(languages))
    return np.array(
        [i for i, name in enumerate(languages) if (name in of[alphabet] if alphabet in of else name not in others)]
    )
