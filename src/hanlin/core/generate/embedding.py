"""Texts as vectors, by an encoder: those of like length together, so that little padding is read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence

import torch

from hanlin.core.model import pooling
from hanlin.core.model.encoder import Encoder
from hanlin.core.model.pretrained import Pretrained
from hanlin.core.run.errors import HanlinError, RequestError

POOLING_FILE = "1_Pooling/config.json"
"""Where sentence-transformers says how a model was trained to be read."""


def embed(loaded: Pretrained, texts: Sequence[str], pool: str = "", batch_tokens: int = 8192) -> torch.Tensor:
    """One vector of length 1 a text, (N, C) float32, in the order of the texts; dot products are cosines.

    pool: "mean" of the tokens' states or "first" ([CLS]); "": as the model's folder says, else the mean. batch_tokens:
    read at a time, padding included. Raises HanlinError for a model that is no encoder and for a text too long for it,
    naming which.
    """
    _encoder(loaded)
    return embed_ids(loaded, loaded.tokenizer.encode_framed(texts), pool, batch_tokens)


@torch.inference_mode()
def embed_ids(
    loaded: Pretrained, ids: Sequence[Sequence[int]], pool: str = "", batch_tokens: int = 8192
) -> torch.Tensor:
    """The same for texts that are ids already, with the tokens the model expects around them."""
    model = _encoder(loaded)
    _refuse_long(loaded, ids)
    pooled = {"mean": pooling.mean, "first": pooling.first}[pool or trained_pooling(loaded)]
    vectors_NC = torch.empty(len(ids), model.width)
    for numbers in batches([len(text) for text in ids], batch_tokens):
        vectors_NC[numbers] = _read(model, [ids[number] for number in numbers], pooled)
    return vectors_NC


def batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Numbers of texts that are read together, the longest first: as many as `batch_tokens` hold when all are padded to
    the longest; at least one."""
    left = sorted(range(len(lengths)), key=lambda number: (-lengths[number], number))
    while left:
        count = max(1, batch_tokens // max(1, lengths[left[0]]))
        yield left[:count]
        left = left[count:]


def trained_pooling(loaded: Pretrained) -> str:
    file = loaded.path / POOLING_FILE
    if not file.is_file():
        return "mean"
    return "first" if json.loads(file.read_text(encoding="utf-8")).get("pooling_mode_cls_token") else "mean"


def _read(
    model: Encoder, texts: Sequence[Sequence[int]], pooled: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    lengths_B1 = torch.tensor([len(ids) for ids in texts])[:, None]
    longest, device = int(lengths_B1.max()), model.embed_tokens.weight.device
    present_BT = (torch.arange(longest) < lengths_B1).to(device)
    ids_BT = torch.tensor([[*ids, *[0] * (longest - len(ids))] for ids in texts], device=device)
    return pooling.unit(pooled(model.hidden(ids_BT, present_BT).float(), present_BT)).cpu()


def _encoder(loaded: Pretrained) -> Encoder:
    model: object = loaded.model
    if not isinstance(model, Encoder):
        raise HanlinError(
            f"{loaded.path} is no encoder: it doesn't make vectors of texts.",
            "an encoder (BERT, XLM-RoBERTa, …)",
            "hanlin show model …  says what a folder holds",
            "docs/families.md",
        )
    return model


def _refuse_long(loaded: Pretrained, ids: Sequence[Sequence[int]]) -> None:
    for number, text in enumerate(ids):
        if len(text) > loaded.context:
            raise RequestError(
                f"Text {number + 1} of {len(ids)} has {len(text)} tokens.",
                f"at most {loaded.context} for this model",
                "cut it into passages first",
                "docs/generate.md",
            )
