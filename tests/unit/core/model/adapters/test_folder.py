"""An adapter's folder: what is written is read again; what does not fit its base is refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from toy import small_decoder

from hanlin.core.model.adapters.attach import Lora, adapters_of, attach
from hanlin.core.model.adapters.base import BASE_FILE, Base
from hanlin.core.model.adapters.folder import WEIGHTS_FILE, read_adapter, write_adapter
from hanlin.core.model.adapters.peft_config import CONFIG_FILE
from hanlin.core.model.families import qwen3
from hanlin.core.run.errors import HanlinError
from hanlin.core.text.tokenizer import Tokenizer, load_tokenizer

Q = "base_model.model.model.layers.0.self_attn.q_proj"
E = "base_model.model.model.embed_tokens"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer: Tokenizer) -> Path:
    return write(tmp_path_factory.mktemp("adapter"), tiny_tokenizer, Lora(2, targets=("q_proj", "embed_tokens")))


def write(folder: Path, tokenizer: Tokenizer, options: Lora, dtype: torch.dtype = torch.float32) -> Path:
    model = small_decoder().to(dtype)
    attach(model, qwen3, options)
    write_adapter(folder, model, qwen3, options, Base("runs/base", "abc"), tokenizer, {"eos_token_id": [3]})
    return folder


def read(folder: Path) -> tuple[dict[str, Any], Lora]:
    model = small_decoder()
    return read_adapter(folder, model, qwen3, model.get_parameter)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("dora", [False, True])
def test_written_and_read(dora: bool, dtype: torch.dtype, tmp_path: Path, tiny_tokenizer: Tokenizer) -> None:
    options = Lora(3, 6.0, 0.1, ("all-linear", "embed_tokens"), rslora=True, dora=dora)
    model = small_decoder().to(dtype)
    attach(model, qwen3, options, seed=4)
    write_adapter(tmp_path, model, qwen3, options, Base("runs/base", "abc"), tiny_tokenizer)
    found, read_options = read(tmp_path)
    assert found.keys() == adapters_of(model).keys()
    for name, adapter in adapters_of(model).items():
        assert torch.equal(found[name].lora_A, adapter.lora_A) and torch.equal(found[name].lora_B, adapter.lora_B)
        assert found[name].scale == pytest.approx(adapter.scale)
        assert (adapter.magnitude is not None) == dora
        assert not dora or torch.equal(found[name].magnitude, adapter.magnitude)
    assert (read_options.rank, read_options.alpha, read_options.dropout) == (3, 6.0, 0.1)
    assert json.loads((tmp_path / BASE_FILE).read_text()) == {
        "path": "runs/base",
        "sha256": "abc",
        "four_bit": "",
        "dtype": str(dtype).removeprefix("torch."),
    }


def test_the_tokenizer_comes_along(written: Path, tiny_tokenizer: Tokenizer) -> None:
    assert load_tokenizer(written).chat_template == tiny_tokenizer.chat_template
    assert json.loads((written / "generation_config.json").read_text())["eos_token_id"] == [3]


def without(name: str) -> Callable[[dict], None]:
    return lambda tensors: tensors.pop(name)


def with_tensor(name: str, *shape: int) -> Callable[[dict], None]:
    return lambda tensors: tensors.update({name: torch.ones(shape)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without(f"{Q}.lora_B.weight"), r"lacks lora_B of model\.layers\.0\.self_attn\.q_proj"),
        (without(f"{Q}.lora_A.weight"), "lacks lora_A of"),
        (
            with_tensor(f"{Q}.lora_A.weight", 2, 31),
            r"lora_A of .*q_proj has shape \(2, 31\), the base calls for \(2, 32\)",
        ),
        (with_tensor(f"{Q}.lora_B.weight", 32, 3), r"lora_B of .* has shape \(32, 3\), the base calls for \(32, 2\)"),
        (with_tensor(f"{E}.lora_embedding_A", 2, 41), r"lora_A of model\.embed_tokens has shape \(2, 41\)"),
        (with_tensor(f"{Q}.lora_magnitude_vector", 32), "holds magnitude of .*, without use_dora"),
        (with_tensor(f"{E}.base_layer.weight", 40, 32), r"holds another model\.embed_tokens than the base"),
        (with_tensor(f"{Q}.lora_B.bias", 32), r"q_proj\.lora_B\.bias, for which this model has no matrix"),
        (with_tensor("base_model.model.lm_head.weight", 40, 32), "for which this model has no matrix"),
        (with_tensor(Q.replace("layers.0", "layers.7") + ".lora_A.weight", 2, 32), r"layers\.7.*has no matrix"),
    ],
)
def test_what_does_not_fit_is_named(
    change: Callable[[dict], None], message: str, written: Path, tmp_path: Path
) -> None:
    tensors = load_file(written / WEIGHTS_FILE)
    change(tensors)
    save_file(tensors, tmp_path / WEIGHTS_FILE)
    (tmp_path / CONFIG_FILE).write_bytes((written / CONFIG_FILE).read_bytes())
    with pytest.raises(HanlinError, match=message):
        read(tmp_path)


def test_the_base_s_own_embedding_may_lie_beside_it(written: Path, tmp_path: Path) -> None:
    """PEFT stores it, in the dtype it was trained in."""
    tensors = load_file(written / WEIGHTS_FILE)
    tensors[f"{E}.base_layer.weight"] = small_decoder().embed_tokens.weight.detach().bfloat16()
    save_file(tensors, tmp_path / WEIGHTS_FILE)
    (tmp_path / CONFIG_FILE).write_bytes((written / CONFIG_FILE).read_bytes())
    assert "embed_tokens" in read(tmp_path)[0]


@pytest.mark.parametrize(
    ("content", "message"), [(None, "has no adapter_model.safetensors"), (b"half", "is not readable safetensors")]
)
def test_weights_that_are_missing_or_damaged(
    content: bytes | None, message: str, written: Path, tmp_path: Path
) -> None:
    (tmp_path / CONFIG_FILE).write_bytes((written / CONFIG_FILE).read_bytes())
    if content is not None:
        (tmp_path / WEIGHTS_FILE).write_bytes(content)
    with pytest.raises(HanlinError, match=message):
        read(tmp_path)
