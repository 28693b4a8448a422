"""A GGUF file that holds a tokenizer and, because llama.cpp opens nothing else, a tiny Qwen3."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from gguf import GGUFWriter

from hanlin.core.text.gguf_metadata import tokenizer_metadata
from hanlin.core.text.tokenizer import Tokenizer

WIDTH, HEAD = 32, 16


def write_vocabulary(path: Path, tokenizer: Tokenizer, **changes: object) -> Path:
    """`tokenizer` under the keys our export writes, by the gguf package; changes: tokenizer.ggml.* keys put over."""
    num_rows = tokenizer.vocab_size
    facts = tokenizer_metadata(tokenizer, num_rows) | {f"tokenizer.ggml.{key}": value for key, value in changes.items()}
    writer = GGUFWriter(path, "qwen3")
    numbers = {"block_count": 1, "context_length": 64, "embedding_length": WIDTH, "feed_forward_length": WIDTH}
    numbers |= {"attention.head_count": 2, "attention.head_count_kv": 1, "attention.key_length": HEAD}
    for key, number in (numbers | {"attention.value_length": HEAD}).items():
        writer.add_uint32(f"qwen3.{key}", number)
    writer.add_float32("qwen3.attention.layer_norm_rms_epsilon", 1e-6)
    writer.add_float32("qwen3.rope.freq_base", 1e4)
    for key, value in facts.items():
        if isinstance(value, list):
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
        **{name: (WIDTH, WIDTH) for name in ("ffn_gate", "ffn_up", "ffn_down")},
        **{name: (HEAD,) for name in ("attn_q_norm", "attn_k_norm")},
        **{name: (WIDTH,) for name in ("attn_norm", "ffn_norm")},
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
