"""What of a model is trained, at which rates, and with which first values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from hanlin.core.model.adapters.attach import adapters_of
from hanlin.core.model.nf4 import Nf4Linear
from hanlin.core.model.opening import open_model
from hanlin.core.model.pretrained import Pretrained
from hanlin.core.run.errors import HanlinError
from hanlin.core.text.tokenizer import IM_END, IM_START, PAD
from hanlin.shape.finetune.config import Finetune
from hanlin.shape.finetune.tuning import choose_trained, has_adapter, lora_options, mean_initialise

MATRICES = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


@pytest.fixture
def loaded(tiny_model_folder: Path) -> Pretrained:
    """Qwen3 of two blocks, its head tied to its embedding."""
    return open_model(tiny_model_folder, torch.float32)


def trained(loaded: Pretrained) -> set[str]:
    return {name for name, parameter in loaded.model.named_parameters() if parameter.requires_grad}


def every_name(loaded: Pretrained) -> set[str]:
    return {name for name, _ in loaded.model.named_parameters()}


def test_everything(loaded: Pretrained) -> None:
    assert choose_trained(loaded, Finetune()) == {}
    assert trained(loaded) == every_name(loaded)


def test_all_but_the_first_blocks(loaded: Pretrained) -> None:
    assert choose_trained(loaded, Finetune(frozen_layers=1)) == {}
    assert trained(loaded) == {name for name in every_name(loaded) if not name.startswith("layers.0.")}


@pytest.mark.parametrize("count", [2, 9])
def test_a_model_has_more_blocks_than_are_frozen(loaded: Pretrained, count: int) -> None:
    with pytest.raises(HanlinError, match=f"frozen_layers={count}: the model has 2 blocks") as raised:
        choose_trained(loaded, Finetune(frozen_layers=count))
    assert raised.value.expected == "at most 1"


def test_embeddings_alone(loaded: Pretrained) -> None:
    """And the head, which is the same matrix here."""
    assert choose_trained(loaded, Finetune(tune="embeddings")) == {}
    assert trained(loaded) == {"embed_tokens.weight"}
    assert loaded.model.lm_head.weight is loaded.model.embed_tokens.weight


@pytest.mark.parametrize("dora", [False, True])
@pytest.mark.parametrize("tune", ["lora", "qlora"])
def test_adapters_alone_and_each_at_a_rate(loaded: Pretrained, tune: str, dora: bool) -> None:
    before = {name: parameter.clone() for name, parameter in loaded.model.named_parameters()}
    rates = choose_trained(loaded, Finetune(tune=tune, lora={"rank": 3, "rate": 0.002, "plus_ratio": 16, "dora": dora}))
    assert trained(loaded) == rates.keys() and has_adapter(Finetune(tune=tune))
    for name, rate in rates.items():
        assert rate == (0.032 if name.endswith(".lora_B") else 0.002)
    assert {name.rpartition(".")[2] for name in rates} == {"lora_A", "lora_B"} | ({"magnitude"} if dora else set())
    assert {name.split(".")[-1] for name in adapters_of(loaded.model)} == MATRICES
    for name, parameter in loaded.model.named_parameters():
        if name in before:  # embedding, norms and, with lora, nothing of the blocks: those stand one level deeper
            assert torch.equal(parameter, before[name])


def test_qlora_keeps_the_frozen_matrices_in_four_bits(loaded: Pretrained) -> None:
    choose_trained(loaded, Finetune(tune="qlora"))
    kinds = {type(module.base) for module in loaded.model.modules() if hasattr(module, "lora_A")}
    assert kinds == {Nf4Linear}
    assert not any(".base." in name for name, _ in loaded.model.named_parameters())


def test_chosen_matrices(loaded: Pretrained) -> None:
    config = Finetune(tune="lora", lora={"targets": ["v_proj", "embed_tokens"], "rank": 2})
    choose_trained(loaded, config)
    wanted = {"embed_tokens", "layers.0.attention.v_proj", "layers.1.attention.v_proj"}
    assert adapters_of(loaded.model).keys() == wanted
    with pytest.raises(HanlinError, match='No matrix of this model is called "v_prj"'):
        choose_trained(open_model(loaded.path, torch.float32), Finetune(tune="lora", lora={"targets": ["v_prj"]}))


def test_options_reach_the_adapter(loaded: Pretrained) -> None:
    values: dict[str, Any] = {"rank": 4, "alpha": 6.0, "dropout": 0.25, "rslora": True, "dora": False}
    options = lora_options(Finetune(tune="lora", lora=values))
    assert vars(options) == {**values, "targets": ("all-linear",)} and options.scale == 3.0
    choose_trained(loaded, Finetune(tune="lora", lora=values))
    adapted = loaded.model.layers[0].attention.q_proj
    assert (adapted.scale, adapted.dropout, adapted.lora_A.shape[0]) == (3.0, 0.25, 4)


def test_first_values_follow_from_the_seed(loaded: Pretrained) -> None:
    def first(seed: int) -> torch.Tensor:
        model = open_model(loaded.path, torch.float32)
        choose_trained(model, Finetune(tune="lora", train={"seed": seed}))
        return model.model.layers[1].mlp.up_proj.lora_A.detach()

    assert torch.equal(first(3), first(3)) and not torch.equal(first(3), first(4))


def test_tokens_that_pretraining_never_showed_begin_at_the_mean(loaded: Pretrained) -> None:
    weight_VC = loaded.model.embed_tokens.weight
    before, mean_C = weight_VC.clone(), weight_VC.mean(0)
    mean_initialise(loaded)
    unseen = [loaded.tokenizer.id_of(token) for token in (IM_START, IM_END, PAD)]
    for number in range(len(before)):
        wanted_C = mean_C if number in unseen else before[number]
        assert torch.allclose(weight_VC[number], wanted_C, atol=1e-6)
