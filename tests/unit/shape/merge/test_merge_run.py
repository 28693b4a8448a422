"""The room: a model folder with its card, the budget, and what it can't measure."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hanlin.core.model.adapters.attach import Lora, attach
from hanlin.core.model.adapters.base import base_of
from hanlin.core.model.adapters.folder import write_adapter
from hanlin.core.model.opening import open_model
from hanlin.core.model.pretrained import load
from hanlin.core.run.artifact import Artifact
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.execute import execute
from hanlin.rooms import ROOMS
from hanlin.shape.merge.config import Merge

IDS = torch.arange(20).view(2, 10)
QUICK = Merge(num_tokens=80, num_prompts=2, reply_tokens=4)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Artifact:
    folder = tmp_path_factory.mktemp("adapters") / "lora"
    folder.mkdir()
    loaded = load(tiny_model_folder)
    for name in attach(loaded.model, loaded.family, Lora(4)):
        torch.nn.init.normal_(loaded.model.get_parameter(name), std=0.1)
    write_adapter(folder, loaded.model, loaded.family, Lora(4), base_of(tiny_model_folder), loaded.tokenizer)
    return Artifact(folder, "adapter", "id-of-the-adapter")


def test_a_model_with_its_card(adapter: Artifact, tmp_path: Path) -> None:
    made = execute(ROOMS["merge"], QUICK, {"adapter": adapter}, tmp_path / "merged")
    assert made.kind == "model" and {"config.json", "model.safetensors", "README.md"} <= {*made.manifest.files}
    assert torch.equal(load(made.path)(IDS), open_model(adapter.path)(IDS))
    figures = made.manifest.metrics
    assert figures["kl_nats_mean"] < 1e-6 and figures["top1_agreement"] == 1 and figures["greedy_match"] == 4
    assert "kl nats mean" in made.file("README.md").read_text(encoding="utf-8")


def test_another_dtype_and_a_base_that_is_named(adapter: Artifact, tmp_path: Path, tiny_model_folder: Path) -> None:
    """Rounding shows in the figures, and does not break the budget."""
    inputs = {"adapter": adapter, "model": Artifact(tiny_model_folder, "model", "id-of-the-base")}
    made = execute(ROOMS["merge"], QUICK.model_copy(update={"dtype": "bfloat16"}), inputs, tmp_path / "merged")
    assert load(made.path).model.dtype == torch.bfloat16
    assert 1e-9 < made.manifest.metrics["kl_nats_mean"] < 0.01


def test_outside_the_budget_nothing_is_sealed(adapter: Artifact, tmp_path: Path) -> None:
    strict = QUICK.model_copy(update={"dtype": "bfloat16", "max_kl_nats": 1e-12})
    with pytest.raises(HanlinError, match="is not the one that was trained: its mean divergence"):
        execute(ROOMS["merge"], strict, {"adapter": adapter}, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()
