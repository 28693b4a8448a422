"""XLM-RoBERTa, a hundred languages, and RoBERTa, English. Conneau et al. 2019, https://arxiv.org/abs/1911.02116; Liu et
al. 2019, https://arxiv.org/abs/1907.11692.

BERT's encoder; positions start after the padding token's id. multilingual-e5 and bge-m3 are XLMRobertaModel.
"""

from __future__ import annotations

from functools import partial

import torch

from hanlin.core.model.config import ModelConfig
from hanlin.core.model.encoder import Encoder
from hanlin.core.model.families.bert import body_names, embedding, entry, has_head, head, layers, only_encoding
from hanlin.core.model.positions.learned import LearnedPositions
from hanlin.core.model.reading import Reading
from hanlin.core.model.weights import Names

KIND = "encoder"
ARCHITECTURES = ("XLMRobertaForMaskedLM", "XLMRobertaModel", "RobertaForMaskedLM", "RobertaModel")
MODEL_TYPE = "xlm-roberta"
SUMMARY = "encoder: BERT whose positions start after the padding token's id"
PREFIX = "roberta."
IGNORED = (
    r"(roberta\.)?pooler\.dense\.(weight|bias)",
    r"(roberta\.)?embeddings\.(position_ids|token_type_ids)",
    r"lm_head\.(bias|(decoder|dense|layer_norm)\.(weight|bias))",
)
"""As BERT's."""


def build(config: ModelConfig) -> Encoder:
    only_encoding(config)
    num_positions, pad_id = config["max_position_embeddings"], config.get("pad_token_id", 1)
    positions = LearnedPositions(num_positions, config["hidden_size"], offset=pad_id + 1, padding=pad_id)
    return Encoder(
        config,
        embedding(config, pad_id),
        entry(config, positions),
        layers(config),
        head(config, "gelu"),
        tied=config.get("tie_word_embeddings", True),
        max_positions=num_positions - pad_id - 1,
        read=partial(CountingReading, pad_id),
    )


class CountingReading(Reading):
    """Positions count the tokens that are not the padding token, even where no padding is announced: it stands at −1,
    the place of its own id in the table."""

    def __init__(self, pad_id: int, ids_BT: torch.Tensor, present_BT: torch.Tensor | None):
        super().__init__(0, ids_BT.shape[1], ids_BT.device, present_BT, causal=False)
        self.counted_BT = ids_BT != pad_id
        if present_BT is not None:
            self.counted_BT = self.counted_BT & present_BT

    @property
    def key_positions(self) -> torch.Tensor:
        """(B, T) int64."""
        return self.counted_BT.cumsum(-1) * self.counted_BT - 1


def names(config: ModelConfig) -> Names:
    """XLMRobertaModel's files carry no prefix."""
    if not has_head(config):
        return body_names("")
    bias = "bias" if config.get("tie_word_embeddings", True) else "decoder.bias"
    return {
        **body_names(PREFIX),
        "head.dense": "lm_head.dense",
        "head.norm": "lm_head.layer_norm",
        "head.decoder": "lm_head.decoder",
        "head.decoder.bias": f"lm_head.{bias}",
    }
