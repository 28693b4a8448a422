"""objective: masked. An encoder of BERT's shape learns hidden tokens from both sides; measured in nats a hidden one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from hanlin.core.model.cross_entropy import CrossEntropy
from hanlin.core.model.families import bert
from hanlin.core.model.pretrained import Pretrained
from hanlin.core.run.errors import HanlinError
from hanlin.core.text.shards import Documents
from hanlin.core.text.tokenizer import Tokenizer
from hanlin.core.train.batch import Batch
from hanlin.core.train.objectives.masked import Masked, Masking, mask_tokens
from hanlin.make.pretrain.config import Pretrain
from hanlin.make.pretrain.heldout import GLANCE_TOKENS, hidden_likelihood, random_at
from hanlin.make.pretrain.size import encoder_config
from hanlin.make.pretrain.special_tokens import mask_id, with_mask
from hanlin.make.pretrain.windows import Windows

FAMILY, KIND = bert, "encoder"
FIGURE = "loss"


class MaskedWindows:
    """Batches of windows with hidden tokens; which ones, (seed, step) decides."""

    def __init__(self, windows: Windows, masking: Masking):
        self.windows, self.masking = windows, masking

    def __len__(self) -> int:
        return len(self.windows)

    def __call__(self, step: int) -> Batch:
        batch = self.hidden(self.windows.rows(step), random_at(self.windows.seed, step))
        if not batch.num_trained:
            raise HanlinError(
                f"Nothing to hide in step {step + 1}: its texts ({self.describe(batch.rows[0])}, …) are special tokens "
                "alone.",
                "text that the tokenizer knows",
                "hanlin tokenize on this corpus, or remove those texts",
                "src/hanlin/make/pretrain/README.md",
            )
        return batch

    def hidden(self, rows: Sequence[int], random: np.random.Generator) -> Batch:
        texts = [self.windows.window(row) for row in rows]
        lengths_B1 = torch.tensor([[len(text)] for text in texts])
        present_BT = torch.arange(self.windows.context + 1) < lengths_B1
        ids_BT = torch.full(present_BT.shape, self.windows.pad_id)
        ids_BT[present_BT] = torch.from_numpy(np.concatenate(texts).astype(np.int64))
        return mask_tokens(ids_BT, present_BT, self.masking, random, tuple(rows))

    def describe(self, row: int) -> str:
        return self.windows.describe(row)

    def longest(self) -> int:
        return self.windows.longest()


def prepared(tokenizer: Tokenizer, config: Pretrain) -> Tokenizer:
    return with_mask(tokenizer)


def new_config(config: Pretrain, tokenizer: Tokenizer) -> dict[str, Any]:
    return encoder_config(config.model, tokenizer)


def batches(documents: Documents, config: Pretrain, loaded: Pretrained) -> MaskedWindows:
    tokenizer, train = loaded.tokenizer, config.train
    ordinary_V = torch.zeros(loaded.model.vocab_size, dtype=torch.bool)
    ordinary_V[[*tokenizer.backend.get_vocab(with_added_tokens=True).values()]] = True
    ordinary_V[[*tokenizer.special_ids, tokenizer.pad_id]] = False
    masking = Masking(mask_id(tokenizer), ordinary_V, config.corrupted_share)
    # A window is read with the token behind it: the next token is no target here.
    windows = Windows(
        documents, config.model.context - 1, train.batch_rows, train.seed, tokenizer.pad_id, order=config.data_order
    )
    return MaskedWindows(windows, masking)


def objective(cross_entropy: CrossEntropy) -> Masked:
    return Masked(cross_entropy)


def glance(loaded: Pretrained, heldout: Documents, config: Pretrain) -> float:
    windows = batches(heldout, config, loaded)
    return hidden_likelihood(loaded.model, Masked(), windows, config.model.context, GLANCE_TOKENS).nats_per_token


def measured(loaded: Pretrained, heldout: Documents, config: Pretrain) -> dict[str, float]:
    windows = batches(heldout, config, loaded)
    found = hidden_likelihood(loaded.model, Masked(), windows, config.model.context, config.heldout_tokens)
    return {"heldout_loss": found.nats_per_token, "heldout_tokens": found.tokens}
