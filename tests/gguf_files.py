"""GGUF files for tests of tokenizers: one with a tokenizer and, because llama.cpp opens nothing else, a tiny Qwen3;
and the metadata of any, quickly."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from gguf import GGUFWriter

from hanlin.core.text.gguf_metadata import tokenizer_metadata
from hanlin.core.text.tokenizer import Tokenizer

WIDTH, HEAD = 32, 16


def write_vocabulary(path: Path, tokenizer: Tokenizer) -> Path:
    """`tokenizer` under the keys our export writes, by the gguf package."""
    facts: dict[str, Any] = dict(tokenizer_metadata(tokenizer, tokenizer.vocab_size))
    facts.pop("tokenizer.chat_template", None)  # llama.cpp refuses the whole file for some
    return write_metadata(path, facts)


def write_metadata(path: Path, facts: dict[str, Any]) -> Path:
    """A file with these keys, and a model with a row for each of tokenizer.ggml.tokens."""
    num_rows = len(facts["tokenizer.ggml.tokens"])
    writer = GGUFWriter(path, "qwen3")
    numbers = {"block_count": 1, "context_length": 64, "embedding_length": WIDTH, "feed_forward_length": WIDTH}
    numbers |= {"attention.head_count": 2, "attention.head_count_kv": 1, "attention.key_length": HEAD}
    for key, number in (numbers | {"attention.value_length": HEAD}).items():
        writer.add_uint32(f"qwen3.{key}", number)
    writer.add_float32("qwen3.attention.layer_norm_rms_epsilon", 1e-6)
    writer.add_float32("qwen3.rope.freq_base", 1e4)
    for key, value in facts.items():
        if isinstance(value, list | bytes):
            writer.add_array(key, value)
        elif isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        else:
            writer.add_string(key, str(value))
    shapes = {
        "attn_q": (2 * HEAD, WIDTH),
        "attn_k": (HEAD, WIDTH),
        "attn_v": (HEAD, WIDTH),
        "attn_output": (WIDTH, 2 * HEAD),
        **dict.fromkeys(("ffn_gate", "ffn_up", "ffn_down"), (WIDTH, WIDTH)),
        **dict.fromkeys(("attn_q_norm", "attn_k_norm"), (HEAD,)),
        **dict.fromkeys(("attn_norm", "ffn_norm"), (WIDTH,)),
    }
    tensors = {f"blk.0.{name}.weight": shape for name, shape in shapes.items()}
    tensors |= {"token_embd.weight": (num_rows, WIDTH), "output_norm.weight": (WIDTH,)}
    for name, shape in tensors.items():
        writer.add_tensor(name, np.ones(shape, np.float16 if len(shape) > 1 else np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


_NUMBERS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9


def read_metadata(path: Path) -> dict[str, Any]:
    """What GGUFReader reads, without the quarter of a minute it takes for Gemma's 262,144 tokens."""
    with path.open("rb") as file:
        assert file.read(4) == b"GGUF"
        _, _, num_keys = struct.unpack("<IQQ", file.read(20))
        return {_text(file): _value(file, *struct.unpack("<I", file.read(4))) for _ in range(num_keys)}


def _value(file: BinaryIO, kind: int) -> Any:
    if kind == _STRING:
        return _text(file)
    if kind == _ARRAY:
        inner, count = struct.unpack("<IQ", file.read(12))
        if inner in _NUMBERS:
            size = struct.calcsize(_NUMBERS[inner])
            return np.frombuffer(file.read(count * size), _NUMBERS[inner]).tolist()
        return [_value(file, inner) for _ in range(count)]
    (number,) = struct.unpack(_NUMBERS[kind], file.read(struct.calcsize(_NUMBERS[kind])))
    return number


def _text(file: BinaryIO) -> str:
    (size,) = struct.unpack("<Q", file.read(8))
    return file.read(size).decode()
