"""objective: span_corruption. An encoder-decoder of T5's shape learns to write what was cut out; measured in nats a
target token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hanlin.core.model.cross_entropy import CrossEntropy
from hanlin.core.model.families import t5
from hanlin.core.model.pretrained import Pretrained
from hanlin.core.run.errors import HanlinError
from hanlin.core.text.shards import Documents
from hanlin.core.text.tokenizer import Tokenizer
from hanlin.core.train.batch import Batch
from hanlin.core.train.objectives.span_corruption import SpanCorruption, Spans, corrupt, pair_up
from hanlin.make.pretrain.config import Pretrain
from hanlin.make.pretrain.heldout import GLANCE_TOKENS, hidden_likelihood, random_at
from hanlin.make.pretrain.size import encoder_decoder_config
from hanlin.make.pretrain.special_tokens import sentinel_ids, with_sentinels
from hanlin.make.pretrain.windows import Windows

FAMILY, KIND = t5, "encoder-decoder"
FIGURE = "loss"


class SpanWindows:
    """Batches of windows with spans cut out; which ones, (seed, step) decides. start_id: what a target begins after."""

    def __init__(self, windows: Windows, spans: Spans, start_id: int):
        self.windows, self.spans, self.start_id = windows, spans, start_id

    def __len__(self) -> int:
        return len(self.windows)

    def __call__(self, step: int) -> Batch:
        return self.hidden(self.windows.rows(step), random_at(self.windows.seed, step))

    def hidden(self, rows: Sequence[int], random: np.random.Generator) -> Batch:
        pairs = [corrupt(self.windows.window(row).tolist(), self.spans, random) for row in rows]
        return pair_up(pairs, self.start_id, self.windows.pad_id, tuple(rows))

    def describe(self, row: int) -> str:
        return self.windows.describe(row)

    def longest(self) -> int:
        """The first that reads a longest window: shorter ones are documents shorter than a window."""
        sizes = (len(self.windows.window(row)) for row in range(len(self)))
        widest = max(range(len(self)), key=list(sizes).__getitem__)
        step = 0
        while widest not in self.windows.rows(step):
            step += 1
        return step


def prepared(tokenizer: Tokenizer, config: Pretrain) -> Tokenizer:
    return with_sentinels(tokenizer, _num_spans(config) + 1)


def _num_spans(config: Pretrain) -> int:
    spans = Spans((), 0, config.corrupted_share, config.span_tokens)
    return spans.counts(spans.longest_text(config.model.context))[1]


def new_config(config: Pretrain, tokenizer: Tokenizer) -> dict[str, Any]:
    return encoder_decoder_config(config.model, tokenizer)


def batches(documents: Documents, config: Pretrain, loaded: Pretrained) -> SpanWindows:
    """Raises HanlinError when a window has more spans than the tokenizer has sentinels."""
    tokenizer, train = loaded.tokenizer, config.train
    spans = Spans(sentinel_ids(tokenizer), tokenizer.eos_id, config.corrupted_share, config.span_tokens)
    if _num_spans(config) >= len(spans.sentinels):
        raise HanlinError(
            f"A context of {config.model.context} tokens has {_num_spans(config)} spans; the tokenizer has "
            f"{len(spans.sentinels)} sentinels.",
            "one sentinel more than there are spans",
            "a smaller model.context or corrupted_share, or a larger span_tokens",
            "src/hanlin/make/pretrain/README.md",
        )
    length = spans.longest_text(config.model.context)
    windows = Windows(
        documents, length - 1, train.batch_rows, train.seed, tokenizer.pad_id, text_alone=True, order=config.data_order
    )
    return SpanWindows(windows, spans, loaded.model.config.get("decoder_start_token_id", tokenizer.pad_id))


def objective(cross_entropy: CrossEntropy) -> SpanCorruption:
    return SpanCorruption(cross_entropy)


def glance(loaded: Pretrained, heldout: Documents, config: Pretrain) -> float:
    windows = batches(heldout, config, loaded)
    found = hidden_likelihood(loaded.model, SpanCorruption(), windows, config.model.context, GLANCE_TOKENS)
    return found.nats_per_token


def measured(loaded: Pretrained, heldout: Documents, config: Pretrain) -> dict[str, float]:
    windows = batches(heldout, config, loaded)
    found = hidden_likelihood(loaded.model, SpanCorruption(), windows, config.model.context, config.heldout_tokens)
    return {"heldout_loss": found.nats_per_token, "heldout_tokens": found.tokens}
