"""How ggml stores a tensor's numbers: every type a GGUF file can hold is read here, the common ones are written.

Formats: https://github.com/ggml-org/ggml, ggml-common.h and ggml-quants.c. `types.py` is the table of all of them; each
other file is one kind of format.
"""

from hanlin.core.model.ggml.types import (
    BF16,
    BY_NUMBER,
    F16,
    F32,
    Q8_0,
    TYPES,
    TensorType,
    decode,
    decode_into,
    encode,
)

__all__ = [
    "BF16",
    "BY_NUMBER",
    "F16",
    "F32",
    "Q8_0",
    "TYPES",
    "TensorType",
    "decode",
    "decode_into",
    "encode",
]
