"""What the pages of `hanlin show` have in common: the prompt they ask about, and how a token looks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hanlin.columns import cut, one_line
from hanlin.core.generate.options import EngineOptions
from hanlin.core.generate.sampling import Sampling
from hanlin.core.generate.stream import chat_prompt, text_prompt
from hanlin.core.model.pretrained import Pretrained
from hanlin.core.run.config import build
from hanlin.core.run.errors import HanlinError
from hanlin.core.text.tokenizer import Tokenizer

LONGEST_TITLE = 60


def prompt_ids(loaded: Pretrained, text: str, chat: bool) -> list[int]:
    """chat: as a question to the model. Else a text that it goes on with, as `hanlin generate` has it."""
    if not chat:
        return text_prompt(loaded, text)
    if not loaded.tokenizer.chat_template:
        raise HanlinError(
            f"{loaded.path} has no chat template: it is a base model, which continues text.",
            "a model that was taught to answer",
            "the same command without --chat",
            "docs/chat.md",
        )
    return chat_prompt(loaded, [{"role": "user", "content": text}])


def options_of(values: Mapping[str, Any], defaults: Mapping[str, Any], name: str) -> tuple[Sampling, EngineOptions]:
    """engine.… and the rest."""
    values = {**defaults, **values}
    engine = build(EngineOptions, values.pop("engine", {}), f"{name} engine.…")
    return build(Sampling, values, name), engine


def title(loaded: Pretrained, model: str, text: str, ids: list[int]) -> str:
    """runs/chat: 7.3 M parameters · 「台灣最高的山是」, 8 tokens"""
    said = cut(one_line(text), LONGEST_TITLE)
    return f"{model}: {loaded.model.num_parameters() / 1e6:.1f} M parameters · 「{said}」, {len(ids)} tokens"


def shown(tokenizer: Tokenizer, token: int) -> str:
    """A token to look at: its text, blanks and line ends visible; bytes that are no whole character as <E5>."""
    if token >= tokenizer.vocab_size:
        return f"<{token}>"
    raw = tokenizer.token_bytes[token]
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return "".join(f"<{byte:02X}>" for byte in raw)
    text = text.replace(" ", "␣").replace("\n", "⏎").replace("\t", "⇥")
    return one_line(text) or f"<{token}>"
