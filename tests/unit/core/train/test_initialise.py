"""First values: from one seed, blocks that begin as the identity, variance that keeps its size."""

from __future__ import annotations

import math

import pytest
import torch
from toy import VOCAB

from hanlin.core.model.decoder import Decoder
from hanlin.core.model.families import bert, qwen3
from hanlin.core.train.initialise import EMBEDDING_STD, initialise

CONFIG = qwen3.new_config(
    vocab_size=VOCAB,
    width=64,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    head_width=16,
    hidden=96,
    max_positions=32,
)


def fresh(seed: int) -> Decoder:
    model = qwen3.build(CONFIG)
    initialise(model, seed)
    return model


def test_one_seed_gives_the_same_bits() -> None:
    torch.manual_seed(1)
    one = fresh(3)
    torch.manual_seed(2)
    other, third = fresh(3), fresh(4)
    for name, parameter in one.named_parameters():
        assert torch.equal(parameter, other.get_parameter(name)), name
    assert not torch.equal(one.embed_tokens.weight, third.embed_tokens.weight)


@torch.no_grad()
def test_each_kind_of_parameter_has_its_values() -> None:
    for name, parameter in fresh(0).named_parameters():
        if parameter.ndim == 1:
            assert (parameter == 1).all(), name
        elif name.endswith(("o_proj.weight", "down_proj.weight")):
            assert not parameter.any(), name
        elif name.startswith("layers."):
            bound = math.sqrt(3 / parameter.shape[1])
            assert parameter.abs().max() <= bound, name
            assert float(parameter.std()) == pytest.approx(1 / math.sqrt(parameter.shape[1]), rel=0.1), name
        else:
            assert float(parameter.std()) == pytest.approx(EMBEDDING_STD, rel=0.1), name


def test_blocks_begin_as_the_identity() -> None:
    model = fresh(0)
    ids = torch.arange(10)[None]
    embedded = model.embed_tokens(ids)
    assert torch.equal(model.hidden(ids), model.norm(embedded))


@torch.no_grad()
def test_the_first_loss_is_that_of_a_guess() -> None:
    """Small embeddings: at the beginning all tokens are nearly equally likely."""
    ids = torch.randint(VOCAB, (4, 16), generator=torch.Generator().manual_seed(0))
    logits = fresh(0)(ids[:, :-1])
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
    assert float(loss) == pytest.approx(math.log(VOCAB), rel=0.1)


@torch.no_grad()
def test_biases_begin_at_zero_and_norms_at_one() -> None:
    """BERT has both, of one dimension each."""
    model = bert.build(
        bert.new_config(vocab_size=VOCAB, width=64, num_layers=2, num_heads=2, hidden=96, max_positions=32, pad_id=0)
    )
    initialise(model, 0)
    for name, parameter in model.named_parameters():
        if name.endswith(".bias"):
            assert not parameter.any(), name
        elif parameter.ndim == 1:
            assert (parameter == 1).all(), name
    assert not model.layers[0].attention.o_proj.weight.any() and model.layers[0].mlp.up_proj.weight.any()
