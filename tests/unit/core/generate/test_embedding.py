"""Texts as vectors: in any batch as alone, in their order, refused where they don't fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import ours_of, randomise
from samples import SENTENCES
from tokenizers import Tokenizer as Backend
from tokenizers.processors import TemplateProcessing
from transformers import AutoModel, BertConfig

import hanlin
from hanlin.core.generate.embedding import POOLING_FILE, batches, embed
from hanlin.core.model.pretrained import Pretrained, load
from hanlin.core.run.errors import HanlinError
from hanlin.core.text.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def encoder(tiny_tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Pretrained:
    config = BertConfig(
        vocab_size=tiny_tokenizer.vocab_size,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=64,
    )
    model, family = ours_of(randomise(AutoModel.from_config(config), 1))
    backend = Backend.from_str(tiny_tokenizer.backend.to_str())
    frame = [("<|im_start|>", tiny_tokenizer.id_of("<|im_start|>")), ("<|im_end|>", tiny_tokenizer.eos_id)]
    backend.post_processor = TemplateProcessing(single="<|im_start|> $A <|im_end|>", special_tokens=frame)
    tokenizer = Tokenizer(backend, tiny_tokenizer.settings)
    return Pretrained(model, tokenizer, family, tmp_path_factory.mktemp("encoder"), {})


def test_together_as_alone(encoder: Pretrained) -> None:
    texts = [*(sentence[:20] for sentence in SENTENCES[:12]), "", "台"]
    together = hanlin.embed(encoder, texts, batch_tokens=100)
    alone = torch.cat([embed(encoder, [text]) for text in texts])
    assert torch.allclose(together, alone, atol=1e-6)
    assert torch.allclose(together.norm(dim=-1), torch.ones(len(texts)))


def test_special_tokens_stand_around_a_text_and_none_inside(encoder: Pretrained) -> None:
    (ids,) = encoder.tokenizer.encode_framed(["<|im_end|>"])
    assert ids[0] == encoder.tokenizer.id_of("<|im_start|>") and ids.count(encoder.tokenizer.eos_id) == 1


def test_the_folder_says_how_to_pool(encoder: Pretrained, tmp_path: Path) -> None:
    (tmp_path / POOLING_FILE).parent.mkdir()
    (tmp_path / POOLING_FILE).write_text('{"pooling_mode_cls_token": true}', encoding="utf-8")
    texts = ["台灣", "最高的山"]
    assert torch.equal(embed(replace(encoder, path=tmp_path), texts), embed(encoder, texts, "first"))
    assert not torch.allclose(embed(encoder, texts), embed(encoder, texts, "first"))


def test_refusals(encoder: Pretrained, tiny_model_folder: Path) -> None:
    with pytest.raises(HanlinError, match="Text 2 of 2 has"):
        embed(encoder, ["台", "台灣最高的山是玉山。" * 20])
    with pytest.raises(HanlinError, match="no encoder"):
        embed(load(tiny_model_folder), ["台"])


@given(st.lists(st.integers(0, 50), max_size=40), st.integers(1, 200))
def test_batches_hold_each_text_once_and_little_padding(lengths: list[int], batch_tokens: int) -> None:
    found = list(batches(lengths, batch_tokens))
    assert sorted(number for numbers in found for number in numbers) == list(range(len(lengths)))
    for numbers in found:
        assert len(numbers) == 1 or len(numbers) * max(lengths[n] for n in numbers) <= max(batch_tokens, len(numbers))
