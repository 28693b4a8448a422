"""The family that docs/families.md invents works as the page says: one file, and everything else finds it."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import hanlin
from hanlin.core.model import families
from hanlin.core.model.anatomy import lines, read_anatomy
from hanlin.core.model.families import llama
from hanlin.core.model.pretrained import known_families, load, load_model, save
from hanlin.core.run.errors import HanlinError
from hanlin.core.text.tokenizer import Tokenizer

PAGE = Path(__file__).parents[4] / "docs" / "families.md"

CONFIG = {
    "architectures": ["FeatherForCausalLM"],
    "model_type": "feather",
    "vocab_size": 500,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
    "hidden_act": "silu",
    "tie_word_embeddings": True,
}


@pytest.fixture
def feather(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The page's code as a file in a folder where families are looked for."""
    code = re.search(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert code is not None
    (tmp_path / "feather.py").write_text(code[1], encoding="utf-8")
    monkeypatch.setattr(families, "__path__", [*families.__path__, str(tmp_path)])
    return next(family for family in known_families() if family.MODEL_TYPE == "feather")


def test_it_is_found_saved_loaded_shown_and_writes(
    feather: ModuleType, tiny_tokenizer: Tokenizer, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    torch.manual_seed(0)
    save(folder, feather.build(CONFIG), feather, tiny_tokenizer)
    loaded = load(folder)
    assert loaded.family is feather
    assert "".join(hanlin.generate(loaded, "台灣", max_tokens=4, temperature=0)) is not None
    assert lines(read_anatomy(folder))[0] == "FeatherForCausalLM: Llama with LayerNorm"


def test_the_changed_norm_is_what_differs(feather: ModuleType) -> None:
    """Llama, its norms exchanged by hand, is Feather."""
    torch.manual_seed(0)
    ours, plain = feather.build(CONFIG), llama.build(CONFIG)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    plain.load_state_dict(ours.state_dict())
    ids = torch.randint(500, (2, 9))
    assert not torch.allclose(ours(ids), plain(ids))

    class LayerNorm(nn.Module):
        def __init__(self, weight: nn.Parameter):
            super().__init__()
            self.weight = weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.layer_norm(x, (32,), self.weight, None, 1e-5)

    for block in plain.layers:
        block.attention_norm, block.mlp_norm = LayerNorm(block.attention_norm.weight), LayerNorm(block.mlp_norm.weight)
    plain.norm = LayerNorm(plain.norm.weight)
    assert torch.allclose(ours(ids), plain(ids), atol=1e-6)


def test_without_the_file_the_error_says_how_to_add_it(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"architectures": ["FeatherForCausalLM"]}')
    with pytest.raises(HanlinError, match="unknown architecture FeatherForCausalLM") as caught:
        load_model(tmp_path)
    assert "docs/families.md" in str(caught.value)
