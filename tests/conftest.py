"""Shared fixtures: a tiny tokenizer and a tiny random Qwen3 folder."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from samples import SENTENCES
from tokenizers import Tokenizer as Backend
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

from hanlin.core.model.families import qwen3
from hanlin.core.model.pretrained import save
from hanlin.core.text.chat import CHATML
from hanlin.core.text.pretokenize import new_backend
from hanlin.core.text.tokenizer import IM_END, PAD, SPECIAL_TOKENS, Tokenizer

TINY_VOCAB = 500

# No timed assertion: machines are shared. Locally every run draws new cases; CI repeats the same ones.
settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")

# No test asks a model hub; and tiny matrices on many threads are slower than on one, by far when cores are busy.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
torch.set_num_threads(1)

# torch's checkpoints log two lines a tensor, and set their loggers' level when they are imported: a filter stays.
for chatty in ("c10d-NullHandler-dcp_logger", "c10d-NullHandler-default"):
    logging.getLogger(chatty).addFilter(lambda record: record.levelno >= logging.ERROR)


def train_tiny_backend(vocab_size: int = TINY_VOCAB) -> Backend:
    """A byte-level BPE learned from the sample sentences."""
    backend = new_backend()
    trainer = BpeTrainer(
        vocab_size=vocab_size,
        initial_alphabet=ByteLevel.alphabet(),
        special_tokens=list(SPECIAL_TOKENS),
        show_progress=False,
    )
    backend.train_from_iterator(SENTENCES, trainer)
    assert backend.get_vocab_size() == vocab_size
    return backend


def tiny_settings() -> dict:
    """tokenizer_config.json of a chat model."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "add_bos_token": False,
        "bos_token": None,
        "eos_token": IM_END,
        "pad_token": PAD,
        "ggml_pre": "qwen2",
        "chat_template": CHATML,
    }


@pytest.fixture(scope="session")
def tiny_tokenizer() -> Tokenizer:
    """500 tokens: 256 bytes, 4 special, the rest merges; ChatML; eos is <|im_end|>."""
    return Tokenizer(train_tiny_backend(), tiny_settings())


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer: Tokenizer) -> Path:
    """A Qwen3 folder: 2 layers, C 64, 4 heads over 2 key/value heads of width 32, tied, random float32.

    Matrices have a standard deviation of 0.25 (0.02 is usual): with the usual one all logits are nearly equal, the
    largest changes with the last bit, and "the same greedy tokens" would test rounding instead of the model.
    """
    config = qwen3.new_config(
        vocab_size=tiny_tokenizer.vocab_size,
        width=64,
        num_layers=2,
        num_heads=4,
        num_kv_heads=2,
        head_width=32,
        hidden=96,
        max_positions=256,
    )
    model = qwen3.build(config)
    random = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.empty(parameter.shape).normal_(0, 0.25, generator=random)
            parameter.copy_(1 + noise if parameter.ndim == 1 else noise)
    folder = tmp_path_factory.mktemp("models") / "tiny"
    folder.mkdir()
    save(folder, model, qwen3, tiny_tokenizer)
    return folder
