"""The i-quants' grids: which rows of 4 or 8 magnitudes a code can stand for. ggml chose them; grids.yaml holds them.

All rows over a grid's levels are numbered like numbers whose digits are the levels, the last place counting most. A
grid is a subset of them, in this order, so a bitmap says it all. `scripts/ggml_grids.py` writes the file.
"""

from __future__ import annotations

import base64
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml


@cache
def grid(name: str) -> np.ndarray:
    """(rows, 4 or 8) float32."""
    stored = _file()[name]
    levels, width = np.array(stored["levels"], np.float32), stored["width"]
    bitmap = np.frombuffer(base64.b64decode(stored["rows"]), np.uint8)
    numbers = np.flatnonzero(np.unpackbits(bitmap))
    return levels[numbers[:, None] // len(levels) ** np.arange(width) % len(levels)]


@cache
def signs() -> np.ndarray:
    """(256, 8) float32: −1 where the row's number has a bit, the lowest bit first."""
    return 1 - 2 * np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little").astype(np.float32)


@cache
def even_signs() -> np.ndarray:
    """(128, 8) float32: seven free signs, and an eighth that makes the number of minus signs even."""
    seven = np.arange(128)
    parity = np.array([number.bit_count() & 1 for number in range(128)])
    return signs()[seven | parity << 7]


@cache
def _file() -> dict[str, dict[str, Any]]:
    return yaml.safe_load(Path(__file__).with_name("grids.yaml").read_text(encoding="utf-8"))
