"""BPE merges of a vocabulary that has none written down.

SentencePiece, tiktoken and llama.cpp's "llama" kind merge any two neighbours that together are a token, best token
first. The `tokenizers` library wants the pairs listed; these are all of them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

LONGEST_TOKEN = 1_024
"""Characters. Real vocabularies stay below 200; each token is cut in two at every place."""


def merges_of(tokens: Sequence[str], parts: Collection[str]) -> list[tuple[str, str]]:
    """Pairs of `parts` that together are a token, in the order of `tokens` (the first merges first).

    Of two ways to make the same token the one with the longer left part comes first: in a run such as "aaaa" that is
    the leftmost place, which the originals take.
    """
    known = parts if isinstance(parts, (set, frozenset, dict)) else set(parts)
    return [
        (token[:cut], token[cut:])
        for token in tokens
        for cut in range(len(token) - 1, 0, -1)
        if token[:cut] in known and token[cut:] in known
    ]
