"""The options of fine-tuning: which optimizer follows from what is trained, and values outside their range."""

from __future__ import annotations

from typing import Any

import pytest

from hanlin.core.run.config import build, parse_overrides
from hanlin.core.run.errors import HanlinError
from hanlin.shape.finetune.config import Finetune


def options(*words: str) -> Finetune:
    return build(Finetune, parse_overrides(words), "finetune")


@pytest.mark.parametrize(
    ("tune", "optimizer"), [("full", "muon"), ("lora", "adamw"), ("qlora", "adamw"), ("embeddings", "adamw")]
)
def test_the_optimizer_follows_from_what_is_trained_unless_it_is_given(tune: str, optimizer: str) -> None:
    assert options(f"tune={tune}").train.optimizer == optimizer
    assert options(f"tune={tune}", "train.steps=3").train.optimizer == optimizer
    assert options(f"tune={tune}", "train.optimizer=lion").train.optimizer == "lion"
    assert Finetune(tune=tune, train={"steps": 3}).train.steps == 3


def test_defaults_are_those_of_the_documentation() -> None:
    found = options()
    assert (found.tune, found.pack, found.context, found.certify) == ("full", False, None, False)
    assert (found.lora.rank, found.lora.alpha, found.lora.targets) == (16, 32, ("all-linear",))
    assert (found.train.minutes, found.train.compile, found.train.decay) == (1.0, "off", 1.0)
    assert (found.distil.top_k, found.distil.direction, found.distil.share) == (64, "forward", 0.5)


def test_a_draft_learns_from_the_model_alone_unless_it_is_told() -> None:
    assert options("method=draft").distil.share == 1
    assert options("method=draft", "distil.top_k=8").distil.share == 1
    assert options("method=draft", "distil.share=0.3").distil.share == 0.3
    assert (options().method, options().draft.layers) == ("sft", 0)


def test_targets_are_a_list_of_names() -> None:
    assert options("lora.targets=[q_proj, embed_tokens]").lora.targets == ("q_proj", "embed_tokens")


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("tune=adapter", "'full', 'lora', 'qlora' or 'embeddings'"),
        ("method=drafts", "'sft' or 'draft'"),
        ("draft.layers=-1", "greater than or equal to 0"),
        ("draft.laiers=1", 'did you mean "draft.layers"?'),
        ("frozen_layers=-1", "greater than or equal to 0"),
        ("lora.rank=0", "greater than or equal to 1"),
        ("lora.dropout=1", "less than 1"),
        ("lora.plus_ratio=0", "greater than 0"),
        ("distil.share=1.5", "less than or equal to 1"),
        ("distil.temperature=0", "greater than 0"),
        ("distil.direction=both", "'forward' or 'reverse'"),
        ("context=4", "greater than or equal to 8"),
        ("lora.rnak=8", 'did you mean "lora.rank"?'),
    ],
)
def test_what_is_wrong_is_named(word: str, expected: str) -> None:
    with pytest.raises(HanlinError) as raised:
        options(word)
    assert word.partition("=")[0] in raised.value.what and expected in str(raised.value)


@pytest.mark.parametrize("values", [{}, {"tune": "lora"}, {"tune": "lora", "train": {"steps": 3}}, {"method": "draft"}])
def test_what_is_recorded_builds_the_same_options_again(values: dict[str, Any]) -> None:
    """A manifest's config, as recipes and `hanlin runs` read it."""
    found = Finetune(**values)
    assert build(Finetune, found.model_dump(mode="json"), "finetune") == found
