"""Windows: what a pretraining step reads. A window lies inside one document, so no document ever sees another; what is
longer than a window is read in several, and nothing is cut off."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

from hanlin.core.run.errors import HanlinError
from hanlin.core.text.shards import Documents
from hanlin.core.train.batch import IGNORED, Batch, rows_of_step


class Windows:
    """Batches of windows of `context` tokens and their next tokens, in an order that (seed, step) alone decides.

    The last window of a document is moved back to end with it; a document shorter than a window is padded, and the
    padding is not trained. text_alone: leave out the token that stands before every document. order: as_written reads
    the documents one after the other, for a corpus that was put into an order.
    """

    def __init__(
        self,
        documents: Documents,
        context: int,
        batch_rows: int,
        seed: int,
        pad_id: int,
        text_alone: bool = False,
        order: Literal["shuffled", "as_written"] = "shuffled",
    ):
        self.order = order
        self.context, self.batch_rows, self.seed, self.pad_id = context, batch_rows, seed, pad_id
        self.documents = [ids[text_alone:] for ids in documents]
        self.names = documents.names
        self.places = place_windows([len(ids) for ids in self.documents], context)
        if not len(self.places):
            raise HanlinError(
                "The training split has no text to learn from.",
                "at least one document of two tokens",
                "hanlin collect with more text",
                "src/hanlin/make/pretrain/README.md",
            )

    def __len__(self) -> int:
        return len(self.places)

    def __call__(self, step: int) -> Batch:
        rows = self.rows(step)
        ids_BS = np.full((len(rows), self.context + 1), self.pad_id, dtype=np.int64)
        targets_BT = np.full((len(rows), self.context), IGNORED, dtype=np.int64)
        for place, row in enumerate(rows):
            window = self.window(row)
            ids_BS[place, : len(window)] = window
            targets_BT[place, : len(window) - 1] = window[1:]
        return Batch(torch.from_numpy(ids_BS[:, :-1].copy()), torch.from_numpy(targets_BT), rows)

    def rows(self, step: int) -> tuple[int, ...]:
        """The windows a step reads."""
        if self.order == "as_written":
            first = step * self.batch_rows
            return tuple(place % len(self) for place in range(first, first + self.batch_rows))
        return tuple(rows_of_step(step, self.batch_rows, len(self), self.seed))

    def window(self, row: int) -> np.ndarray:
        """At most `context` + 1 tokens: a window and the token behind it."""
        document, start = self.places[row]
        return self.documents[document][start : start + self.context + 1]

    def describe(self, row: int) -> str:
        return self.names[self.places[row][0]]

    def longest(self) -> int:
        """All batches are of one size."""
        return 0


def place_windows(lengths: list[int], context: int) -> np.ndarray:
    """(document, start) of every window, (n, 2): each token but a document's first is a target at least once."""
    places = []
    for document, length in enumerate(lengths):
        last = max(0, length - context - 1)
        starts = [*range(0, last, context), last] if length > 1 else []
        places += [(document, start) for start in starts]
    return np.array(places, dtype=np.int64).reshape(-1, 2)
