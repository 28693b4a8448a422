"""Opening a model folder: shards, and every way in which a folder can be wrong."""

from __future__ import annotations

import json
import random
import shutil
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from hanlin.core.model.checkpoint_files import INDEX_FILE, WEIGHTS_FILE
from hanlin.core.model.families import gpt2, llama
from hanlin.core.model.opening import open_model
from hanlin.core.model.pretrained import folder_state, load, load_model, model_without_weights, save_model
from hanlin.core.run.errors import HanlinError

CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 40,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 32,
    "rms_norm_eps": 1e-6,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save_model(tmp_path, llama.build(CONFIG), llama)
    return tmp_path


def shard(folder: Path, count: int = 3) -> dict[str, str]:
    """Spread the weights over `count` files with an index, as transformers does for large models."""
    tensors = load_file(folder / WEIGHTS_FILE)
    (folder / WEIGHTS_FILE).unlink()
    index: dict[str, str] = {}
    for number in range(count):
        name = f"model-{number + 1:05d}-of-{count:05d}.safetensors"
        part = {key: tensor for place, (key, tensor) in enumerate(tensors.items()) if place % count == number}
        save_file(part, folder / name)
        index |= dict.fromkeys(part, name)
    (folder / INDEX_FILE).write_text(json.dumps({"metadata": {}, "weight_map": index}))
    return index


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    tensors = load_file(folder / WEIGHTS_FILE)
    change(tensors)
    save_file(tensors, folder / WEIGHTS_FILE)


def change_config(folder: Path, **values: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **values}))


def assert_refused(folder: Path, *parts: str) -> None:
    """Four lines that name what matters."""
    with pytest.raises(HanlinError) as caught:
        load_model(folder)
    message = str(caught.value)
    assert len(message.splitlines()) == 4, message
    assert all(part in message for part in parts), message


def test_shards_give_the_same_model(folder: Path) -> None:
    ids = torch.randint(40, (2, 9))
    whole = load_model(folder)[0](ids)
    shard(folder)
    assert torch.equal(load_model(folder)[0](ids), whole)


def test_a_missing_shard_is_named(folder: Path) -> None:
    lost = sorted(set(shard(folder).values()))[1]
    (folder / lost).unlink()
    assert_refused(folder, f"lacks the shard {lost} (1 of 3 are missing)", INDEX_FILE)


@pytest.mark.parametrize("index", ["{", "[]", '{"weight_map": {}}', '{"weight_map": {"a": "../x.safetensors"}}', "{}"])
def test_an_index_that_is_none(folder: Path, index: str) -> None:
    shard(folder)
    (folder / INDEX_FILE).write_text(index)
    assert_refused(folder, INDEX_FILE)


def test_another_shape_names_the_tensor_and_both_shapes(folder: Path) -> None:
    change_config(folder, intermediate_size=25)
    assert_refused(folder, "model.layers.0.mlp.", "shape (16, 24)", "config says (16, 25)")


def test_a_vocabulary_that_disagrees_with_the_embedding(folder: Path) -> None:
    change_config(folder, vocab_size=41)
    assert_refused(folder, "shape (40, 16), the config says (41, 16)")


def test_a_tokenizer_larger_than_the_embedding(tiny_model_folder: Path, tmp_path: Path) -> None:
    loaded = load(tiny_model_folder)
    small = {**loaded.model.config, "vocab_size": 300}
    save_model(tmp_path, loaded.family.build(small), loaded.family)
    loaded.tokenizer.save(tmp_path)
    with pytest.raises(HanlinError, match="the tokenizer has 500 tokens, the embedding 300 rows"):
        load(tmp_path)


def test_a_missing_tensor(folder: Path) -> None:
    change_weights(folder, lambda tensors: tensors.pop("model.norm.weight"))
    assert_refused(folder, "lacks the tensor model.norm.weight")


def test_a_tensor_nobody_asks_for_is_not_passed_over(folder: Path) -> None:
    """A bias that is silently dropped would be missing from every answer."""
    change_weights(folder, lambda t: t.update({"model.layers.0.self_attn.q_proj.bias": torch.zeros(16)}))
    assert_refused(folder, "does not know: model.layers.0.self_attn.q_proj.bias", "did you mean")


def test_an_unknown_architecture_lists_the_known_ones_and_how_to_add_one(folder: Path) -> None:
    change_config(folder, architectures=["LlamaForSequenceClassification"])
    assert_refused(folder, "LlamaForSequenceClassification", "LlamaForCausalLM", "Qwen3ForCausalLM", "docs/families.md")


def test_the_model_type_serves_where_no_architecture_is_named(folder: Path) -> None:
    change_config(folder, architectures=None)
    assert load_model(folder)[1] is llama
    change_config(folder, model_type="llamas")
    assert_refused(folder, "unknown architecture llamas")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pth"])
def test_pickle_is_refused(folder: Path, name: str) -> None:
    (folder / WEIGHTS_FILE).rename(folder / name)
    assert_refused(folder, name, "can run code", "pickle files are refused")


def test_a_cut_file(folder: Path) -> None:
    data = (folder / WEIGHTS_FILE).read_bytes()
    (folder / WEIGHTS_FILE).write_bytes(data[: len(data) // 2])
    assert_refused(folder, "is not readable safetensors")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"hidden_size": None}, "config.json"),
        ({"hidden_act": "nosuch"}, "activation nosuch"),
        ({"rope_parameters": {"rope_type": "nosuch"}}, "rope_type nosuch"),
        ({"rope_parameters": {"rope_type": "linear"}}, "factor"),
    ],
)
def test_a_config_that_can_not_be_built(folder: Path, values: dict[str, Any], said: str) -> None:
    change_config(folder, **values)
    assert_refused(folder, said)


def test_a_missing_number_of_the_config(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    del config["intermediate_size"]
    (folder / "config.json").write_text(json.dumps(config))
    assert_refused(folder, "'intermediate_size' is missing or wrong")


def test_names_without_the_prefix(tmp_path: Path) -> None:
    """GPT-2 is shared both with and without "transformer." before every name; old files carry their masks."""
    config = {
        "architectures": ["GPT2LMHeadModel"],
        "vocab_size": 30,
        "n_embd": 8,
        "n_layer": 1,
        "n_head": 2,
        "n_positions": 16,
        "layer_norm_epsilon": 1e-5,
        "activation_function": "gelu_new",
    }
    save_model(tmp_path, gpt2.build(config), gpt2)
    ids = torch.randint(30, (1, 7))
    whole = load_model(tmp_path)[0](ids)
    tensors = {key.removeprefix("transformer."): value for key, value in load_file(tmp_path / WEIGHTS_FILE).items()}
    save_file(tensors | {"h.0.attn.bias": torch.ones(1, 1, 16, 16).tril()}, tmp_path / WEIGHTS_FILE)
    assert torch.equal(load_model(tmp_path)[0](ids), whole)


def test_a_tied_head_that_is_stored_all_the_same(tmp_path: Path) -> None:
    save_model(tmp_path, llama.build({**CONFIG, "tie_word_embeddings": True}), llama)
    embedding = load_file(tmp_path / WEIGHTS_FILE)["model.embed_tokens.weight"]
    change_weights(tmp_path, lambda tensors: tensors.update({"lm_head.weight": embedding.clone()}))
    model = load_model(tmp_path)[0]
    assert model.lm_head.weight is model.embed_tokens.weight


MEASURE = """
import sys, torch, resource
from pathlib import Path
from hanlin.core.model.families import llama
from hanlin.core.model.pretrained import load_model
torch.zeros(1) @ torch.zeros(1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
model, _ = load_model(Path(sys.argv[1]), getattr(torch, sys.argv[2]))
model(torch.zeros(1, 2, dtype=torch.long))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024, sum(p.nbytes for p in model.parameters()))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has another unit elsewhere")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_loading_holds_the_model_and_one_shard_at_most(tmp_path: Path, dtype: str) -> None:
    config = {**CONFIG, "vocab_size": 64, "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 4}
    save_model(tmp_path, llama.build(config), llama)
    largest = max((tmp_path / name).stat().st_size for name in set(shard(tmp_path, 6).values()))
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path), dtype], capture_output=True, text=True, check=True
    )
    peak, model = map(int, done.stdout.split())
    assert peak <= model + largest + 24 * 2**20, (peak / 2**20, model / 2**20, largest / 2**20)


def damage(data: bytes, draw: random.Random) -> bytes:
    """Flip, overwrite, cut: the header, where names, shapes and places are, more often than the numbers."""
    damaged = bytearray(data)
    header = 8 + int.from_bytes(data[:8], "little")
    for _ in range(draw.randint(1, 3)):
        at = draw.randrange(min(header, len(damaged)) if draw.random() < 0.8 else len(damaged))
        kind = draw.random()
        if kind < 0.5:
            damaged[at] ^= 1 << draw.randrange(8)
        elif kind < 0.6:
            damaged[:8] = struct.pack("<Q", draw.choice([0, 1, header, 2**31, 2**62, 2**64 - 1]))
        elif kind < 0.8:
            damaged[at : at + 4] = draw.choice([b"9999", b"null", b"{}[]", b"-1,0", b'F64"', b"\x00\xff\xfe\x01"])
        else:
            del damaged[at : at + draw.randint(1, 300)]
        if not damaged:
            break
    return bytes(damaged)


def test_ten_thousand_damaged_files(folder: Path) -> None:
    """Each either opens, with every weight readable, or is refused in four lines; none takes memory beyond its size."""
    draw, data = random.Random(0), (folder / WEIGHTS_FILE).read_bytes()
    model, family = model_without_weights(folder)
    opened, peak = 0, 0
    tracemalloc.start()
    for number in range(10_000):
        if number == 500:  # tracing is slow: the first hundreds tell
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        (folder / WEIGHTS_FILE).write_bytes(damage(data, draw))
        try:
            for pieces in folder_state(model, family, folder).pieces():
                assert all(piece.isfinite().numel() for piece in pieces.values())
        except HanlinError as error:
            assert len(str(error).splitlines()) == 4
        else:
            opened += 1
    assert 200 < opened < 9000, opened
    assert peak < 8 * 2**20


def test_a_repository_in_the_hubs_cache_opens_by_its_address(
    tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a network, as HF_HUB_OFFLINE asks."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    repository = tmp_path / "models--someone--tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    shutil.copytree(tiny_model_folder, repository / "snapshots" / ("0" * 40))
    ids = torch.randint(500, (1, 5))
    assert torch.equal(open_model("hf:someone/tiny")(ids), load(tiny_model_folder)(ids))
    with pytest.raises(HanlinError, match="hf:someone/other could not be had"):
        open_model("hf:someone/other")
