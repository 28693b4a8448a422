"""A folder without tokenizer.json: the `tokenizer.model` its maker trained, SentencePiece's or Llama 3's rank file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer

from hanlin.core.run.errors import HanlinError
from hanlin.core.text import sentencepiece, tiktoken

MODEL_FILE = "tokenizer.model"

_RANK_LINE = re.compile(rb"[A-Za-z0-9+/]+={0,2} [0-9]+\r?\n")


def read_original(path: Path, settings: dict[str, Any]) -> tuple[Tokenizer, dict[str, Any]]:
    """Backend and settings of a `tokenizer.model`. settings: tokenizer_config.json's; they win, and the tokens of its
    `added_tokens_decoder` are added."""
    with path.open("rb") as file:
        is_ranks = _RANK_LINE.match(file.read(2048)) is not None
    backend, found = tiktoken.read(path, "llama3") if is_ranks else sentencepiece.read(path)
    added = settings.get("added_tokens_decoder") or {}
    for place, token in sorted((int(place), token) for place, token in added.items()):
        facts = {"normalized": False, "special": False} | {k: v for k, v in token.items() if k != "__type"}
        backend.add_tokens([AddedToken(**facts)])
        if backend.token_to_id(facts["content"]) != place:
            raise HanlinError(
                f"{path}: the token {facts['content']} would get the number {backend.token_to_id(facts['content'])}, "
                f"tokenizer_config.json says {place}.",
                "added tokens that follow the vocabulary without a gap",
                "take the model's tokenizer.json instead",
                "docs/models.md",
            )
    return backend, {**found, **settings}
