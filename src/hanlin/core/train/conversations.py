"""Conversations as training rows: rendered once, replies trained, short batches of similar length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from hanlin.core.model.cross_entropy import CrossEntropy
from hanlin.core.model.decoder import Decoder
from hanlin.core.model.likelihood import ROWS_AT_ONCE, Likelihood
from hanlin.core.run.errors import HanlinError
from hanlin.core.text.chat import Rendered, render
from hanlin.core.text.documents import Row
from hanlin.core.text.tokenizer import Tokenizer
from hanlin.core.train.batch import IGNORED, Batch, epoch_order

POOL_BATCHES = 8
"""Batches that are filled from one pool of rows sorted by length: little padding, still a random order."""


@dataclass(frozen=True)
class Example:
    """One conversation: ids (T + 1) and whether each is trained as a target."""

    name: str
    ids: list[int]
    trained: list[bool]

    @property
    def num_trained(self) -> int:
        return sum(self.trained[1:])


@dataclass(frozen=True)
class Prepared:
    """Examples that fit the context, what was cut to make them fit, and the replies their template can't train."""

    examples: list[Example]
    num_cut_rows: int
    num_cut_tokens: int
    num_untrained_replies: int = 0


def prepare(rows: Sequence[Row], tokenizer: Tokenizer, context: int) -> Prepared:
    """Render conversations; what is longer than the context is cut at its end and counted, and so are replies that
    can't be trained (see `Rendered`).

    Raises HanlinError, naming the row's file and line, for a conversation without a trained token or one that the
    model's template refuses.
    """
    examples, cut_rows, cut_tokens, untrained = [], 0, 0, 0
    for row in rows:
        try:
            rendered = render(row.messages, tokenizer, tools=row.tools)
        except HanlinError as error:
            raise HanlinError(f"{row.id}: {error.what}", error.expected, error.do, error.more) from None
        ids, trained = rendered.ids[: context + 1], rendered.trained[: context + 1]
        if not any(trained[1:]):
            raise HanlinError(
                f"{row.id}: no token of this conversation would be trained ({_cause(rendered)}).",
                f"a reply that begins within {context} tokens and ends with the template's stop token",
                "shorten or remove the row",
                "src/hanlin/shape/finetune/README.md",
            )
        cut_rows += len(ids) < len(rendered.ids)
        cut_tokens += len(rendered.ids) - len(ids)
        untrained += rendered.num_untrained_replies
        examples.append(Example(row.id, ids, trained))
    return Prepared(examples, cut_rows, cut_tokens, untrained)


def _cause(rendered: Rendered) -> str:
    if any(rendered.trained):
        return "its question alone fills the context"
    if rendered.num_untrained_replies:
        return "the chat template rewrites what was before its replies, or puts no stop token behind them"
    return "it has no assistant message"


class Conversations:
    """Batches of conversations padded on the right: causal attention can't see the padding, and it is not trained."""

    def __init__(self, examples: Sequence[Example], batch_rows: int, seed: int, pad_id: int):
        self.examples, self.seed, self.pad_id = examples, seed, pad_id
        self.batch_rows = min(batch_rows, len(examples))
        self.batches_per_epoch = -(-len(examples) // self.batch_rows)

    def __call__(self, step: int) -> Batch:
        epoch, place = divmod(step, self.batches_per_epoch)
        rows = self._epoch(epoch)[place]
        return collate([self.examples[row] for row in rows], self.pad_id, tuple(rows))

    def describe(self, row: int) -> str:
        return self.examples[row].name

    def longest(self) -> int:
        """Of the first epoch, the step whose padded batch has the most tokens."""
        sizes = [len(rows) * (max(len(self.examples[row].ids) for row in rows) - 1) for rows in self._epoch(0)]
        return sizes.index(max(sizes))

    def _epoch(self, epoch: int) -> list[list[int]]:
        """All rows once: shuffled, sorted by length inside each pool, cut into batches, the batches shuffled."""
        order = epoch_order(self.seed, epoch, len(self.examples)).tolist()
        pool_rows = self.batch_rows * POOL_BATCHES
        batches = []
        for first in range(0, len(order), pool_rows):
            pool = sorted(order[first : first + pool_rows], key=lambda row: len(self.examples[row].ids))
            batches += [pool[i : i + self.batch_rows] for i in range(0, len(pool), self.batch_rows)]
        shuffle = np.random.Generator(np.random.Philox(key=[self.seed, epoch + 2**32])).permutation(len(batches))
        return [batches[place] for place in shuffle]


def collate(examples: Sequence[Example], pad_id: int, rows: tuple[int, ...] = ()) -> Batch:
    """Pad to the longest: ids (B, T), targets (B, T) with IGNORED for prompts and padding."""
    width = max(len(example.ids) for example in examples) - 1
    ids_BT = torch.full((len(examples), width), pad_id)
    targets_BT = torch.full((len(examples), width), IGNORED)
    for place, example in enumerate(examples):
        ids = torch.tensor(example.ids)
        ids_BT[place, : len(ids) - 1] = ids[:-1]
        trained = torch.tensor(example.trained[1:])
        targets_BT[place, : len(ids) - 1] = torch.where(trained, ids[1:], IGNORED)
    return Batch(ids_BT, targets_BT, rows)


@torch.inference_mode()
def reply_likelihood(model: Decoder, examples: Sequence[Example], pad_id: int) -> Likelihood:
    """How well the model predicts the replies alone; characters are not counted (0)."""
    nats, tokens = 0.0, 0
    ordered = sorted(examples, key=lambda example: len(example.ids))
    for first in range(0, len(ordered), ROWS_AT_ONCE):
        batch = collate(ordered[first : first + ROWS_AT_ONCE], pad_id)
        nats += float(CrossEntropy()(model, model.hidden(batch.ids_BT), batch.targets_BT))
        tokens += batch.num_trained
    return Likelihood(nats, tokens, 0)
