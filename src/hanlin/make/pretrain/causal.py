"""objective: causal. A decoder of Qwen3's shape learns the next token; measured in bits per held-out character."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

from hanlin.core.model.cross_entropy import CrossEntropy
from hanlin.core.model.families import qwen3
from hanlin.core.model.likelihood import document_likelihood
from hanlin.core.model.pretrained import Pretrained
from hanlin.core.text.shards import Documents
from hanlin.core.text.tokenizer import Tokenizer
from hanlin.core.train.objectives.causal import Causal
from hanlin.make.pretrain.config import Pretrain
from hanlin.make.pretrain.size import decoder_config
from hanlin.make.pretrain.windows import Windows, place_windows

FAMILY, KIND = qwen3, "decoder"
FIGURE = "bpc"
"""What a glance at held-out text gives, by its name in the log."""

GLANCE_TOKENS = 10_000
"""Held-out tokens read at each milestone: enough for a curve, quick enough not to be waited for."""


def prepared(tokenizer: Tokenizer, config: Pretrain) -> Tokenizer:
    return tokenizer


def new_config(config: Pretrain, tokenizer: Tokenizer) -> dict[str, Any]:
    return decoder_config(config.model, tokenizer.vocab_size)


def batches(documents: Documents, config: Pretrain, loaded: Pretrained) -> Windows:
    pad_id = loaded.tokenizer.pad_id
    return Windows(
        documents, config.model.context, config.train.batch_rows, config.train.seed, pad_id, order=config.data_order
    )


def objective(cross_entropy: CrossEntropy) -> Causal:
    return Causal(cross_entropy)


def glance(loaded: Pretrained, heldout: Documents, config: Pretrain) -> float:
    """Bits per character from windows spread evenly over the whole split, so that no document decides alone."""
    context = config.model.context
    documents = list(heldout)
    places = place_windows([len(ids) for ids in documents], context)
    chosen = places[:: max(1, len(places) * context // GLANCE_TOKENS)]
    rows = [(documents[document][start : start + context + 1].tolist(), 0) for document, start in chosen]
    characters_per_token = heldout.characters / max(1, heldout.num_tokens - len(heldout))
    return document_likelihood(loaded.model, rows, context).nats_per_token / math.log(2) / characters_per_token


def measured(loaded: Pretrained, heldout: Documents, config: Pretrain) -> dict[str, float]:
    """From the first documents of the split that reach `heldout_tokens`; the last one is left out, not cut."""
    found = document_likelihood(loaded.model, _first(heldout, config.heldout_tokens), config.model.context)
    return {"heldout_bpc": found.bits_per_character, "heldout_tokens": found.tokens}


def _first(heldout: Documents, max_tokens: int) -> Iterator[tuple[list[int], int]]:
    totals = accumulate(len(ids) for ids in heldout)
    for place, (ids, characters, total) in enumerate(zip(heldout, heldout.lengths, totals)):
        if place and total > max_tokens:
            return
        yield ids.tolist(), characters
