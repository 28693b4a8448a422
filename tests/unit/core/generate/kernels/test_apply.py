"""with_weights: what is replaced, what is shared, and that each family still computes nearly the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from hanlin.core.generate.kernels import WEIGHTS, with_weights
from hanlin.core.generate.kernels.linear import CodedLinear
from hanlin.core.model.pretrained import Pretrained, load
from hanlin.core.run.errors import HanlinError


@pytest.fixture(scope="module")
def loaded(tiny_model_folder: Path) -> Pretrained:
    return load(tiny_model_folder)


def test_keep_is_what_was_given(loaded: Pretrained) -> None:
    assert with_weights(loaded, "keep") is loaded


def test_an_unknown_format_names_the_known(loaded: Pretrained) -> None:
    with pytest.raises(HanlinError, match="int3"):
        with_weights(loaded, "int3")


@pytest.mark.parametrize("weights", [name for name in WEIGHTS if name != "keep"])
def test_the_model_given_stays_and_shares_its_embeddings(
    loaded: Pretrained, tiny_model_folder: Path, weights: str
) -> None:
    before = {name: value.clone() for name, value in loaded.model.named_parameters()}
    changed = with_weights(loaded, weights)
    assert all(type(module) is not nn.Linear for name, module in changed.model.named_modules() if "layers" in name)
    assert changed.model.embed_tokens.weight.data_ptr() == loaded.model.embed_tokens.weight.data_ptr()
    ids = torch.arange(12)[None]
    wanted = of_the_same_numbers(changed, tiny_model_folder) if weights == "int4" else loaded.model
    with torch.inference_mode():
        here, there = wanted(ids), changed.model(ids)
    assert (here - there).abs().max() < 0.1 * here.abs().max()
    assert all(torch.equal(value, before[name]) for name, value in loaded.model.named_parameters())
    assert type(loaded.model.lm_head) is nn.Linear


def of_the_same_numbers(changed: Pretrained, folder: Path) -> Any:
    """A plain model of the numbers that codes stand for: one plane of 4 bits is far from what random weights were."""
    model = load(folder).model
    for name, module in changed.model.named_modules():
        if isinstance(module, CodedLinear):
            model.get_submodule(name).weight = nn.Parameter(module.weight)
    return model
