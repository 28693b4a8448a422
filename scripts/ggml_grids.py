"""Writes src/hanlin/core/model/ggml/grids.yaml: the grids of ggml's i-quants, as the gguf package holds them.

    python scripts/ggml_grids.py

Needs `make install-test`. See grids.py beside the file for the form.
"""

from __future__ import annotations

import base64
import textwrap
from pathlib import Path

import numpy as np
from gguf import quants

GRIDS = Path(__file__).parents[1] / "src" / "hanlin" / "core" / "model" / "ggml" / "grids.yaml"
NAMES = ("IQ1_S", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S")
HEAD = """\
# Grids of ggml's i-quants, https://github.com/ggml-org/ggml (ggml-common.h). Written by scripts/ggml_grids.py.
#
# MIT License
#
# Copyright (c) 2023-2026 The ggml authors
#
# Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
# documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
# rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
# persons to whom the Software is furnished to do so, subject to the following conditions:
#
# The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
# Software.
#
# THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
# WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
# COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
# OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


def main() -> None:
    GRIDS.write_text(HEAD + "".join(entry(name) for name in NAMES), encoding="utf-8")


def entry(name: str) -> str:
    kind = getattr(quants, name)
    kind.init_grid()
    rows, levels = kind.grid.reshape(kind.grid_shape).astype(int), list(kind.grid_map)
    width = rows.shape[1]
    numbers = np.searchsorted(levels, rows) @ (len(levels) ** np.arange(width))
    assert (np.diff(numbers) > 0).all(), "a bitmap keeps rows in ascending order only"
    chosen = np.zeros(len(levels) ** width, bool)
    chosen[numbers] = True
    bitmap = base64.b64encode(np.packbits(chosen)).decode()
    lines = textwrap.indent(textwrap.fill(bitmap, 116), "    ")
    return f"\n{name.lower()}:\n  levels: {levels}\n  width: {width}\n  rows: |\n{lines}\n"


if __name__ == "__main__":
    main()
