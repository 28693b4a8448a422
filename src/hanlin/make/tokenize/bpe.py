"""Byte-level byte-pair encoding. Sennrich et al. 2015, https://arxiv.org/abs/1508.07909; bytes: Radford et al. 2019
(GPT-2).

Repeat: join the most frequent pair of neighbouring tokens into a new token. Pairs are counted inside pieces.
Chinese has no spaces, so a piece is a whole clause and nearly every piece is unique: counting them all is what makes
the stock trainer slow. Two bounds keep it short, while learning only: a sample of the documents, and pieces of a few
characters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from tokenizers import Regex, Tokenizer
from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split
from tokenizers.trainers import BpeTrainer

from hanlin.core.text.pretokenize import QWEN2_PATTERN, new_backend
from hanlin.core.text.tokenizer import SPECIAL_TOKENS


def train(texts: Iterable[str], vocab_size: int, piece_characters: int) -> Tokenizer:
    """Learn merges from `texts`. The result uses the unbounded pattern: the bound shapes what is learned, not how
    text is cut."""
    backend = new_backend()
    whole = backend.pre_tokenizer
    backend.pre_tokenizer = Sequence(
        [
            Split(Regex(QWEN2_PATTERN), "isolated"),
            Split(Regex(f"[\\s\\S]{{1,{piece_characters}}}"), "isolated"),
            ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = BpeTrainer(
        vocab_size=vocab_size,
        initial_alphabet=ByteLevel.alphabet(),
        special_tokens=list(SPECIAL_TOKENS),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    backend.pre_tokenizer = whole
    return backend


def sample(texts: Iterable[str], characters: int, seed: int) -> Iterator[str]:
    """Whole documents in a random but fixed order until `characters` are reached; the last one is cut."""
    documents = list(texts)
    left = characters
    for place in np.random.Generator(np.random.Philox(key=[seed, 0])).permutation(len(documents)):
        if left <= 0:
            return
        yield documents[place][:left]
        left -= len(documents[place])
