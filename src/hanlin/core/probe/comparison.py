"""How far a changed model is from the one it was made from: divergence, agreement, greedy match, bits per character.

Any step that transforms weights can be measured with it: both models are given as decoders with one tokenizer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import torch

from hanlin.core.generate.sampling import GREEDY
from hanlin.core.generate.stream import generate_ids
from hanlin.core.model.decoder import Decoder
from hanlin.core.model.pretrained import Pretrained
from hanlin.core.text.tokenizer import Tokenizer

POSITIONS_AT_ONCE = 256
"""Logits of this many tokens are held at a time: a large vocabulary times a long context would not fit."""


@dataclass(frozen=True)
class Window:
    """A stretch of text: ids (T + 1) whose first token is only read, and the number of characters of the other T."""

    ids: Sequence[int]
    characters: int


@dataclass(frozen=True)
class Comparison:
    """Of each predicted token, (N,): KL(original ‖ changed), is the likeliest token the same, both losses; in nats."""

    kl_N: torch.Tensor
    same_top1_N: torch.Tensor
    loss_before_N: torch.Tensor
    loss_after_N: torch.Tensor


@dataclass(frozen=True)
class Card:
    """The figures of one changed model. Divergences are nats per token; `greedy_match` is of `reply_tokens` tokens."""

    num_tokens: int
    kl_nats_mean: float
    kl_nats_p99: float
    top1_agreement: float
    bits_per_character_before: float
    bits_per_character_after: float
    greedy_match: float
    reply_tokens: int


def cut_windows(
    documents: Iterable[Sequence[int]], tokenizer: Tokenizer, context: int, num_tokens: int
) -> list[Window]:
    """Windows of at most `context` predicted tokens, until there are `num_tokens`.

    documents: ids with a leading token, which is read and not predicted.
    """
    windows: list[Window] = []
    left = num_tokens
    for ids in documents:
        for start in range(0, len(ids) - 1, context):
            window = ids[start : start + min(context, left) + 1]
            windows.append(Window(window, len(tokenizer.decode(window[1:]))))
            left -= len(window) - 1
            if left <= 0:
                return windows
    return windows


@torch.inference_mode()
def compare(
    before: Decoder, after: Decoder, windows: Sequence[Window], tick: Callable[[int], None] = lambda done: None
) -> Comparison:
    """Read every window with both models. tick: called with the number of windows read."""
    parts: list[Comparison] = []
    for done, window in enumerate(windows, start=1):
        ids = torch.tensor([window.ids])
        states = before.hidden(ids[:, :-1])[0], after.hidden(ids[:, :-1])[0]
        for start in range(0, ids.shape[1] - 1, POSITIONS_AT_ONCE):
            part = slice(start, start + POSITIONS_AT_ONCE)
            logits = before.head(states[0][part]), after.head(states[1][part])
            parts.append(compare_logits(*logits, ids[0, 1:][part]))
        tick(done)
    columns = zip(*((p.kl_N, p.same_top1_N, p.loss_before_N, p.loss_after_N) for p in parts))
    return Comparison(*(torch.cat(column) for column in columns))


def compare_logits(before_NV: torch.Tensor, after_NV: torch.Tensor, targets_N: torch.Tensor) -> Comparison:
    """KL(p‖q) = Σ p · (log p − log q), p and q the softmax of the logits; losses: −log p and −log q of the target."""
    log_p, log_q = before_NV.float().log_softmax(-1), after_NV.float().log_softmax(-1)
    target = targets_N[:, None]
    return Comparison(
        kl_N=(log_p.exp() * (log_p - log_q)).sum(-1).clamp(min=0),  # rounding can put it a hair below
        same_top1_N=log_p.argmax(-1) == log_q.argmax(-1),
        loss_before_N=-log_p.gather(1, target)[:, 0],
        loss_after_N=-log_q.gather(1, target)[:, 0],
    )


def greedy_replies(
    loaded: Pretrained, model: Decoder, prompts: Sequence[Sequence[int]], reply_tokens: int
) -> list[list[int]]:
    """The likeliest continuation of each prompt by `model`, which stands in for the model of `loaded`."""
    greedy = GREEDY.model_copy(update={"max_tokens": reply_tokens})
    return [list(generate_ids(replace(loaded, model=model), prompt, greedy)) for prompt in prompts]


def greedy_match(before: Sequence[Sequence[int]], after: Sequence[Sequence[int]], reply_tokens: int) -> float:
    """Mean number of leading tokens, out of `reply_tokens`, in which the replies of two models are equal."""
    counts = [equal_start(first, second, reply_tokens) for first, second in zip(before, after)]
    return sum(counts) / max(1, len(counts))


def equal_start(first: Sequence[int], second: Sequence[int], length: int) -> int:
    """How many leading tokens are equal; replies that are equal to their end count as `length`."""
    if first == second:
        return length
    pairs = zip(first, second)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second)))


def summarise(comparison: Comparison, windows: Sequence[Window], match: float, reply_tokens: int) -> Card:
    bits = math.log(2) * max(1, sum(window.characters for window in windows))
    return Card(
        num_tokens=len(comparison.kl_N),
        kl_nats_mean=comparison.kl_N.double().mean().item(),
        kl_nats_p99=comparison.kl_N.double().quantile(0.99).item(),
        top1_agreement=comparison.same_top1_N.double().mean().item(),
        bits_per_character_before=comparison.loss_before_N.double().sum().item() / bits,
        bits_per_character_after=comparison.loss_after_N.double().sum().item() / bits,
        greedy_match=match,
        reply_tokens=reply_tokens,
    )


def overspent(card: Card, max_kl_nats: float, min_top1_agreement: float) -> str:
    """What breaks the budget, in words; "" when the card is inside. A figure that is no number breaks it."""
    if not card.kl_nats_mean <= max_kl_nats:
        return f"its mean divergence is {card.kl_nats_mean:.4g} nats per token (at most {max_kl_nats:g})"
    if not card.top1_agreement >= min_top1_agreement:
        agreement = f"{card.top1_agreement:.2%} of tokens (at least {min_top1_agreement:.2%})"
        return f"the likeliest token stays the same for {agreement}"
    return ""
