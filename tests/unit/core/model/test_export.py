"""Writing GGUF: whole or not at all, and refused where the reader would compute with something else."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import AddedToken
from tokenizers.pre_tokenizers import ByteLevel

from hanlin.core.model import gguf
from hanlin.core.model.ggml import F16, F32, Q8_0, TYPES
from hanlin.core.model.gguf.writing import as_stored, export_gguf, type_for
from hanlin.core.model.pretrained import load
from hanlin.core.run.errors import HanlinError
from hanlin.core.text.gguf_metadata import token_types, tokenizer_metadata
from hanlin.core.text.sentencepiece import CONTROL, NORMAL, UNUSED, USER_DEFINED
from hanlin.core.text.tokenizer import SPECIAL_TOKENS, Tokenizer


def test_a_break_leaves_no_file(tmp_path: Path) -> None:
    def fail() -> np.ndarray:
        raise KeyboardInterrupt

    path = tmp_path / "model.gguf"
    path.write_bytes(b"before")
    with pytest.raises(KeyboardInterrupt):
        gguf.write(
            path, {}, [gguf.Entry("a", (4,), F32, lambda: np.zeros(16, np.uint8)), gguf.Entry("b", (4,), F32, fail)]
        )
    assert path.read_bytes() == b"before"


def test_header_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    entry = gguf.Entry("w", (2, 3), F32, lambda: np.arange(6, dtype="<f4").view(np.uint8))
    size = gguf.write(path, {"a": 7, "b": "好", "c": [1, -2], "d": True, "e": -1, "f": 2**40}, [entry])
    data = path.read_bytes()
    assert len(data) == size and size % 32 == 0
    assert data[:24] == b"GGUF" + struct.pack("<IQQ", 3, 1, 6)
    assert struct.pack("<Q", 1) + b"a" + struct.pack("<II", 4, 7) in data
    assert struct.pack("<Q", 1) + b"c" + struct.pack("<IIQii", 9, 5, 2, 1, -2) in data
    assert struct.pack("<Q", 1) + b"w" + struct.pack("<IQQIQ", 2, 3, 2, 0, 0) in data
    assert data[-32:-8] == np.arange(6, dtype="<f4").tobytes()


def test_ticks_count_tensors(tmp_path: Path, tiny_model_folder: Path) -> None:
    loaded, ticks = load(tiny_model_folder), []
    export_gguf(tmp_path / "m.gguf", loaded, Q8_0, tick=ticks.append)
    assert ticks == list(range(1, len(list(loaded.model.parameters())) + 1))
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 70_000.0])
def test_numbers_the_type_cannot_hold_are_refused(tmp_path: Path, tiny_model_folder: Path, value: float) -> None:
    loaded = load(tiny_model_folder)
    with torch.no_grad():
        loaded.model.layers[1].mlp.up_proj.weight[3, 4] = value
    with pytest.raises(HanlinError, match=r"layers\.1\.mlp\.up_proj\.weight holds a number f16 can't"):
        export_gguf(tmp_path / "m.gguf", loaded, F16)
    assert not (tmp_path / "m.gguf").exists()


def test_a_foreign_tokenizer_is_refused_before_anything_is_written(tmp_path: Path, tiny_model_folder: Path) -> None:
    loaded = load(tiny_model_folder)
    loaded.tokenizer.backend.pre_tokenizer = ByteLevel(add_prefix_space=False)
    with pytest.raises(HanlinError, match="does not cut text"):
        export_gguf(tmp_path / "m.gguf", loaded, F16)
    assert not list(tmp_path.iterdir())


def test_token_types(tiny_tokenizer: Tokenizer, tmp_path: Path) -> None:
    """Special → control, added by a user → user-defined, rows of the embedding beyond the vocabulary → unused."""
    tiny_tokenizer.save(tmp_path)
    backend = type(tiny_tokenizer.backend).from_file(str(tmp_path / "tokenizer.json"))
    backend.add_tokens([AddedToken("翰林院", special=False)])
    tokenizer = Tokenizer(backend, tiny_tokenizer.settings)
    types = token_types(tokenizer, tokenizer.vocab_size + 2)
    assert [types[tokenizer.id_of(name)] for name in SPECIAL_TOKENS] == [CONTROL] * 4
    assert types[tokenizer.id_of("翰林院")] == USER_DEFINED
    assert types[-2:] == [UNUSED, UNUSED]
    assert types.count(NORMAL) == tokenizer.vocab_size - 5
    names = tokenizer_metadata(tokenizer, tokenizer.vocab_size + 2)["tokenizer.ggml.tokens"]
    assert len(set(names)) == tokenizer.vocab_size + 2


def test_f32_is_the_model_itself_and_leaves_it_alone(tiny_model_folder: Path) -> None:
    loaded = load(tiny_model_folder)
    before = {name: weight.clone() for name, weight in loaded.model.named_parameters()}
    ids = torch.randint(loaded.model.vocab_size, (1, 20))
    assert torch.equal(loaded(ids), as_stored(loaded, F32)(ids))
    assert not torch.equal(loaded(ids), as_stored(loaded, Q8_0)(ids))
    assert all(torch.equal(weight, before[name]) for name, weight in loaded.model.named_parameters())


def test_each_tensor_gets_a_type_its_rows_fill() -> None:
    up, q4_k = "blk.0.ffn_up.weight", TYPES["q4_k"]
    assert type_for("blk.0.attn_norm.weight", (64,), Q8_0) is F32
    assert type_for("blk.0.ffn_gate_inp.weight", (8, 64), Q8_0) is F32, "a router decides who works"
    assert type_for(up, (8, 64), Q8_0) is Q8_0
    assert type_for(up, (64, 40), Q8_0) is F16
    assert type_for(up, (64, 256), q4_k) is q4_k
    assert type_for(up, (64, 128), q4_k) is TYPES["q5_0"]
    assert type_for(up, (64, 40), q4_k) is F16
    assert type_for("token_embd.weight", (64, 256), q4_k) is TYPES["q6_k"]
    assert type_for("token_embd.weight", (64, 128), q4_k) is Q8_0
