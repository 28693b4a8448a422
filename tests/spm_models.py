"""Small SentencePiece models trained on our lines by its own library."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from samples import varied_lines

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its wrapper's own, from Python 3.12 on
    import sentencepiece

LINES = [part for line in varied_lines(1500) for part in line.replace("\0", "").split("\n") if part.strip()]


def train(folder: Path, lines: list[str] = LINES, **options: Any) -> Path:
    """The `.model` file. character_coverage: so that some characters fall back."""
    defaults = {"vocab_size": 1500, "byte_fallback": True, "hard_vocab_limit": False, "character_coverage": 0.98}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_prefix=str(folder / "m"), minloglevel=2, **(defaults | options)
    )
    return folder / "m.model"
