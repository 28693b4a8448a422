"""A student is some of the model's own blocks, in every family, and its folder opens as what it is."""

from __future__ import annotations

import copy
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_families import CONFIGS, tiny_model

from hanlin.core.model.pretrained import load, save
from hanlin.core.run.errors import HanlinError
from hanlin.core.text.tokenizer import Tokenizer
from hanlin.shape.finetune.student import smaller_config, spread, student_of

IDS = torch.arange(24).view(2, 12)


@given(count=st.integers(1, 40), more=st.integers(1, 40))
def test_the_first_and_the_last_and_even_steps_between(count: int, more: int) -> None:
    total = count + more
    places = spread(count, total)
    assert len(set(places)) == count and places == sorted(places)
    assert places[0] == 0 and (count == 1 or places[-1] == total - 1)
    steps = [b - a for a, b in pairwise(places)]
    assert not steps or max(steps) - min(steps) <= 1


@pytest.mark.parametrize("family", CONFIGS)
def test_it_computes_what_the_kept_blocks_compute(family: str, tiny_tokenizer: Tokenizer, tmp_path: Path) -> None:
    loaded = tiny_model(family, tiny_tokenizer)
    student = student_of(loaded, 2)
    by_hand = copy.deepcopy(loaded.model)
    kept = [0, 2]
    by_hand.layers = torch.nn.ModuleList([by_hand.layers[place] for place in kept])
    if family in ("gemma3", "rwkv"):  # what a block does hangs on its place as well: windows in turn, halved states
        assert student(IDS).isfinite().all()
    else:
        assert torch.equal(student(IDS), by_hand(IDS))
    save(tmp_path, student.model, student.family, student.tokenizer)
    assert torch.equal(load(tmp_path)(IDS), student(IDS))


def test_nothing_is_shared_with_the_model(tiny_tokenizer: Tokenizer) -> None:
    loaded = tiny_model("qwen3", tiny_tokenizer)
    before = loaded(IDS)
    student = student_of(loaded, 1)
    with torch.no_grad():
        for parameter in student.model.parameters():
            parameter.zero_()
    assert torch.equal(loaded(IDS), before)


@pytest.mark.parametrize("every", [2, 3])
def test_windows_in_a_pattern(tiny_tokenizer: Tokenizer, every: int) -> None:
    """Where the config gives a pattern, two blocks follow it again, each from a block of its own kind."""
    loaded = tiny_model("gemma3", tiny_tokenizer, num_layers=6)
    config = {key: value for key, value in loaded.model.config.items() if key != "layer_types"}
    model = loaded.family.build({**config, "sliding_window_pattern": every})
    loaded.model.layers, loaded.model.config = model.layers, model.config
    for number, layer in enumerate(model.layers):
        layer.mlp_norm.weight.data.fill_(number)
    student = student_of(loaded, 2).model
    came_from = [int(layer.mlp_norm.weight[0]) for layer in student.layers]
    windows = [model.layers[place].attention.window for place in came_from]
    assert windows == [layer.attention.window for layer in student.layers]
    assert came_from == ([0, 5] if every == 2 else [0, 4])


def test_what_is_said_of_each_layer_is_cut_too() -> None:
    config = {
        "num_hidden_layers": 4,
        "layer_types": ["a", "b", "c", "d"],
        "eos_token_id": [1, 2, 3, 4],
        "hidden_size": 4,
    }
    smaller = smaller_config(config, [0, 3], 4)
    assert smaller == {**config, "num_hidden_layers": 2, "layer_types": ["a", "d"]}


def test_a_sixth_unless_asked(tiny_tokenizer: Tokenizer) -> None:
    loaded = tiny_model("qwen3", tiny_tokenizer, num_layers=12)
    assert len(student_of(loaded, 0).model.layers) == 2
    assert len(student_of(tiny_model("qwen3", tiny_tokenizer), 0).model.layers) == 1


@pytest.mark.parametrize(("total", "asked"), [(1, 0), (3, 3), (3, 7)])
def test_a_student_as_large_as_the_model_is_refused(tiny_tokenizer: Tokenizer, total: int, asked: int) -> None:
    with pytest.raises(HanlinError, match=f"the model has {total} blocks"):
        student_of(tiny_model("qwen3", tiny_tokenizer, num_layers=total), asked)
