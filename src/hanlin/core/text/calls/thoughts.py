"""Thoughts before a reply: `<think>…</think>`, and what other makers' templates call it."""

from __future__ import annotations

from collections.abc import Sequence

from hanlin.core.text.calls.source import Reading, Source
from hanlin.core.text.tokenizer import Tokenizer

Pair = tuple[str, str]

PAIRS: tuple[Pair, ...] = (
    ("<think>", "</think>"),
    ("[THINK]", "[/THINK]"),
    ("<seed:think>", "</seed:think>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
)
"""Qwen, DeepSeek and most others; Mistral; Seed; Cohere."""

TAIL_TOKENS = 12
"""The mark that opens a thought is among the last of a prompt."""


def pairs_of(template: str) -> list[Pair]:
    """What begins and ends a thought; the template's own first. The first is what models write that were taught without
    a template's help."""
    return sorted(PAIRS, key=lambda pair: pair[1] not in template)


def ends_in_thought(ids: Sequence[int], tokenizer: Tokenizer) -> bool:
    """Whether a prompt has already begun the reply's thought, as templates of models that always think do."""
    tail = tokenizer.decode(list(ids[-TAIL_TOKENS:]), skip_special=False).rstrip()
    return tail.endswith(tuple(opening for opening, _ in PAIRS))


def read_thought(source: Source, pairs: list[Pair], is_open: bool) -> Reading[None]:
    """Tell the thought with which a reply begins, if there is one, without the blank lines at its ends.

    Only there: a reply may speak of such marks. What the thought holds is all thought, up to the first closing mark;
    without one the whole reply is.
    """
    close = pairs[0][1]
    if not is_open:
        yield from source.skip()
        for opening, closing in pairs:
            if (yield from source.take(opening)):
                close = closing
                break
        else:
            source.at = 0
            return
    yield from source.skip("\r\n")
    source.drop()
    yield from source.until((close,), "thought", "\r\n")
    yield from source.skip("\r\n")
    source.drop()
