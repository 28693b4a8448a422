"""DRY, "don't repeat yourself": the longer a repetition has grown, the less likely what would go on with it. p-e-w
2024, https://github.com/oobabooga/text-generation-webui/pull/5677; breakers of several tokens as in llama.cpp."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from weakref import WeakKeyDictionary

import torch

from hanlin.core.text.tokenizer import Tokenizer

LONGEST_MATCH = 50
"""Further back nothing is compared: with the usual base, the penalty is beyond any logit long before."""

MOST = 1e30
"""A penalty beyond any logit, but still a number: were every token penalised so, they would still be in order."""


class Breakers:
    """Runs of ids at which a repetition is taken as ended."""

    def __init__(self, runs: Iterable[Sequence[int]]):
        self._by_last: dict[int, list[tuple[int, ...]]] = {}
        for run in filter(None, runs):
            self._by_last.setdefault(run[-1], []).append(tuple(run))

    def are_at_end_of(self, ids: Sequence[int]) -> bool:
        return any(tuple(ids[-len(run) :]) == run for run in self._by_last.get(ids[-1], ()))


def penalise(
    logits_V: torch.Tensor, seen: torch.Tensor, multiplier: float, base: float, allowed: int, breakers: Breakers
) -> torch.Tensor:
    """z_i − multiplier·base^(m_i − allowed) where m_i ≥ allowed: m_i is the length of the longest end of `seen` that
    stood there before with token i behind it, and has no breaker in it. A breaker itself is never penalised."""
    longest = {
        token: length
        for token, length in _match_lengths(seen, _since_breaker(seen, breakers)).items()
        if length >= allowed and not breakers.are_at_end_of([token])
    }
    if not longest:
        return logits_V
    penalties = [min(multiplier * base ** (length - allowed), MOST) for length in longest.values()]
    ids = torch.tensor(list(longest), device=logits_V.device)
    return logits_V.index_put((ids,), -logits_V.new_tensor(penalties), accumulate=True)


def _since_breaker(seen: torch.Tensor, breakers: Breakers) -> int:
    """How many tokens at the end have no breaker behind or between them, up to LONGEST_MATCH."""
    ids = seen[-2 * LONGEST_MATCH :].tolist()
    for length in range(min(len(ids), LONGEST_MATCH)):
        if breakers.are_at_end_of(ids[: len(ids) - length]):
            return length
    return min(len(ids), LONGEST_MATCH)


def _match_lengths(seen: torch.Tensor, limit: int) -> dict[int, int]:
    """Token → length of the longest end of `seen`, up to `limit` tokens, that it stood behind before."""
    longest: dict[int, int] = {}
    ends = torch.arange(len(seen) - 1, device=seen.device)
    for length in range(1, limit + 1):
        ends = ends[ends >= length - 1]
        ends = ends[seen[ends - (length - 1)] == seen[-length]]
        if not len(ends):
            break
        longest.update(dict.fromkeys(seen[ends + 1].tolist(), length))
    return longest


_kept: WeakKeyDictionary[Tokenizer, dict[tuple[str, ...], Collection[tuple[int, ...]]]] = WeakKeyDictionary()


def breaker_runs(tokenizer: Tokenizer, texts: Iterable[str]) -> Collection[tuple[int, ...]]:
    """The runs of ids in which one of `texts` stands: each token that contains it, each that ends with its beginning
    before the rest as the tokenizer writes it, and the whole as the tokenizer writes it."""
    texts = tuple(text for text in texts if text)
    kept = _kept.setdefault(tokenizer, {})
    if texts not in kept:
        kept[texts] = frozenset(run for text in texts for run in _runs(tokenizer, text))
    return kept[texts]


def _runs(tokenizer: Tokenizer, text: str) -> Iterable[tuple[int, ...]]:
    whole = text.encode()
    yield tuple(tokenizer.encode(text, at_start=False))
    for token, data in enumerate(tokenizer.token_bytes):
        if whole in data:
            yield (token,)
    for cut in range(1, len(text)):
        beginning, rest = text[:cut].encode(), tuple(tokenizer.encode(text[cut:], at_start=False))
        for token, data in enumerate(tokenizer.token_bytes):
            if data.endswith(beginning) and whole not in data:
                yield (token, *rest)
