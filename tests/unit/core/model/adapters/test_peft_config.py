"""adapter_config.json: endings that mean the chosen modules and no others, patterns, and what is not known."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hanlin.core.model.adapters.attach import Lora
from hanlin.core.model.adapters.lora import Adapter
from hanlin.core.model.adapters.peft_config import CONFIG_FILE, config_facts, patterns, read_config, short_names
from hanlin.core.run.errors import HanlinError

FACTS = {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": ["q_proj"], "bias": "none"}
LAYERS = [f"model.layers.{n}.{part}" for n in range(12) for part in ("attn.q", "attn.out.dense", "mlp.out.dense")]


def written(folder: Path, **changes: Any) -> Path:
    (folder / CONFIG_FILE).write_text(json.dumps({**FACTS, **changes}), encoding="utf-8")
    return folder


@given(st.sets(st.sampled_from(LAYERS), min_size=1))
def test_endings_mean_exactly_the_chosen(chosen: set[str]) -> None:
    endings = short_names(chosen, LAYERS)
    assert {name for name in LAYERS if any(name == e or name.endswith(f".{e}") for e in endings)} == chosen


def test_endings_are_short_where_they_can_be() -> None:
    assert short_names([n for n in LAYERS if n.endswith(".q")], LAYERS) == ["q"]
    assert short_names([n for n in LAYERS if n.endswith("dense")], LAYERS) == ["dense"]
    assert short_names([n for n in LAYERS if "mlp" in n], LAYERS) == ["mlp.out.dense"]
    assert short_names(["model.layers.1.attn.q"], LAYERS) == ["model.layers.1.attn.q"]
    # A module that our model does without, and transformers' has.
    assert short_names([n for n in LAYERS if n.endswith("dense")], LAYERS, (r"(bert\.)?pooler\.dense\.weight",)) == [
        "attn.out.dense",
        "mlp.out.dense",
    ]


@given(ranks=st.dictionaries(st.sampled_from(LAYERS), st.sampled_from([4, 8, 12]), min_size=1), rslora=st.booleans())
def test_ranks_and_alphas_come_back(
    ranks: dict[str, int], rslora: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Each module's scale, whatever its rank; layer 1 is not layer 11."""
    adapters = {
        name: Adapter(torch.zeros(rank, 3), torch.zeros(2, rank), 0.5 + rank) for name, rank in sorted(ranks.items())
    }
    options = Lora(8, 16.0, rslora=rslora)
    facts = config_facts(adapters, LAYERS, (), options, "base", None, False)
    folder = tmp_path_factory.mktemp("config")
    (folder / CONFIG_FILE).write_text(json.dumps(facts), encoding="utf-8")
    read = read_config(folder)
    assert (read.base, read.options.rank, read.options.rslora) == ("base", 8, rslora)
    for name, adapter in adapters.items():
        assert math.isclose(read.scale(name, adapter.rank), adapter.scale, rel_tol=1e-12)


def test_patterns_by_the_last_part_where_it_is_enough() -> None:
    assert patterns({"a.1.q": 4, "a.2.q": 4, "a.1.v": 8}, 8) == {"q": 4}
    assert patterns({"a.1.q": 4, "a.11.q": 8}, 8) == {"a.1.q": 4}
    assert patterns({"a.1.q": 8}, 8) == {}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"peft_type": "IA3"}, "peft_type='IA3'"),
        ({"modules_to_save": ["lm_head"]}, r"modules_to_save=\['lm_head'\]"),
        ({"bias": "all"}, "bias='all'"),
        ({"lora_bias": True}, "lora_bias=True"),
        ({"target_parameters": ["mlp.experts.gate_up_proj"]}, "target_parameters"),
        ({"trainable_token_indices": [3]}, "trainable_token_indices"),
        ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights='pissa_niter_4'"),
        ({"something_new": {"a": 1}}, "something_new"),
    ],
)
def test_what_is_not_known_is_refused(changes: dict[str, Any], named: str, tmp_path: Path) -> None:
    with pytest.raises(HanlinError, match=f"asks for {named}.*, which is not known here"):
        read_config(written(tmp_path, **changes))


@pytest.mark.parametrize("first_values", [True, False, "gaussian", "eva", "orthogonal"])
def test_first_values_that_leave_the_base_alone(first_values: Any, tmp_path: Path) -> None:
    assert read_config(written(tmp_path, init_lora_weights=first_values, something_new=None)).options.alpha == 16


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"peft_type": "LORA"}', '{"peft_type": "LORA", "r": "x", "lora_alpha": 1}']
)
def test_damaged(text: str, tmp_path: Path) -> None:
    (tmp_path / CONFIG_FILE).write_text(text, encoding="utf-8")
    with pytest.raises(HanlinError, match="is not a readable adapter"):
        read_config(tmp_path)


def test_a_pattern_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(HanlinError, match="is not a readable adapter"):
        read_config(written(tmp_path, alpha_pattern={"(": 3}))
