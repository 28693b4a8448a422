"""DRY: the longest repetition, what breaks it, what it costs."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hanlin.core.generate.strategies.dry import LONGEST_MATCH, Breakers, breaker_runs, penalise
from hanlin.core.text.tokenizer import Tokenizer


def penalties(seen: list[int], breakers: list[list[int]], allowed: int = 2, vocab_size: int = 6) -> list[float]:
    """With base 2 and multiplier 1."""
    after = penalise(torch.zeros(vocab_size), torch.tensor(seen), 1.0, 2.0, allowed, Breakers(breakers))
    return (-after).tolist()


def by_definition(seen: list[int], breakers: list[list[int]], allowed: int, vocab_size: int) -> list[float]:
    """For each token, all ends of `seen` tried against all places."""
    costs = []
    for token in range(vocab_size):
        lengths = [0]
        for length in range(1, min(len(seen), LONGEST_MATCH + 1)):
            end = seen[-length:]
            stands = any(seen[i : i + length] == end and seen[i + length] == token for i in range(len(seen) - length))
            # A breaker that ends inside of the repetition, even if it began before.
            ends = [seen[: len(seen) - back] for back in range(length)]
            broken = any(text[-len(run) :] == run for text in ends for run in breakers)
            if stands and not broken:
                lengths.append(length)
        cost = 2.0 ** (max(lengths) - allowed) if max(lengths) >= allowed else 0.0
        costs.append(0.0 if [token] in breakers else cost)
    return costs


def test_by_hand() -> None:
    assert penalties([1, 2, 3, 4, 1, 2, 3], []) == [0, 0, 0, 0, 2, 0]
    assert penalties([1, 2, 3, 4, 1, 2, 3], [], allowed=3) == [0, 0, 0, 0, 1, 0]
    assert penalties([1, 2, 3, 4, 1, 2, 3], [], allowed=4) == [0] * 6
    assert penalties([1, 2, 3, 4, 1, 2, 3], [[1]]) == [0, 0, 0, 0, 1, 0], "only 2 3 is behind the breaker"
    assert penalties([1, 2, 3, 4, 1, 2, 3], [[3]]) == [0] * 6, "the end itself is a breaker"
    assert penalties([1, 2, 3, 4, 1, 2, 3], [[4]]) == [0] * 6, "a breaker is never penalised"
    assert penalties([1, 2, 3, 4, 1, 2, 3], [[4, 1]]) == [0, 0, 0, 0, 1, 0]
    assert penalties([5], []) == [0] * 6


def test_the_longest_counts() -> None:
    assert penalties([2, 3, 4, 1, 2, 3, 4, 1, 2, 3], []) == [0, 0, 0, 0, 2.0**4, 0]
    assert penalties([1, 1, 1, 1], []) == [0, 2, 0, 0, 0, 0]


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=70),
    st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=2), max_size=2),
    st.integers(1, 3),
)
def test_as_defined(seen: list[int], breakers: list[list[int]], allowed: int) -> None:
    assert penalties(seen, breakers, allowed, 4) == by_definition(seen, breakers, allowed, 4)


def test_endless_repetition_stays_a_number() -> None:
    after = penalise(torch.zeros(2), torch.ones(5000, dtype=torch.long), 100.0, 10.0, 1, Breakers([]))
    assert after[0] == 0 and -torch.inf < after[1] < -9e29


def test_breakers_are_whatever_holds_the_text(tiny_tokenizer: Tokenizer) -> None:
    runs = breaker_runs(tiny_tokenizer, ("\n", "臺", ""))
    assert runs is breaker_runs(tiny_tokenizer, ("\n", "臺")), "found once for a tokenizer"
    for token, data in enumerate(tiny_tokenizer.token_bytes):
        assert ((token,) in runs) == (b"\n" in data or "臺".encode() in data)
    assert tuple(tiny_tokenizer.encode("臺")) in runs


@pytest.mark.parametrize("text", ["的人", "：「"])
def test_a_text_of_several_tokens(tiny_tokenizer: Tokenizer, text: str) -> None:
    """Wherever the text stands, alone or with others' characters in its first token, its end is the breaker's."""
    breakers = Breakers(breaker_runs(tiny_tokenizer, (text,)))
    for before in ("", "他", "台灣"):
        assert breakers.are_at_end_of(tiny_tokenizer.encode(before + text))
    assert not breakers.are_at_end_of(tiny_tokenizer.encode("台灣"))
