"""What is told of single tokens: OpenAI's two shapes of log-probabilities."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hanlin.core.generate.logprobs import Logprobs
from hanlin.core.generate.reply import Piece
from hanlin.core.text.tokenizer import Tokenizer

LOWEST = -9999.0
"""JSON has no −∞; OpenAI says this instead."""


@dataclass(frozen=True)
class Entry:
    """A token with what is known of it. offset: characters of the text before it."""

    token: int
    logprobs: Logprobs
    offset: int


class TokenLog:
    """One reply's tokens, given out once their text can be read: with a stop text that never shows, its tokens don't
    either."""

    def __init__(self, tokenizer: Tokenizer):
        self._tokenizer = tokenizer
        self._characters = codecs.getincrementaldecoder("utf-8")("replace")
        self._offset = 0
        self._held: list[Entry] = []
        self._shown: list[Entry] = []

    def push(self, piece: Piece) -> None:
        ends_silently = piece.finish == "stop" and piece.token in self._tokenizer.special_ids
        if piece.logprobs is not None and not ends_silently:
            self._held.append(Entry(piece.token, piece.logprobs, self._offset))
            self._offset += len(self._characters.decode(self._tokenizer.token_bytes[piece.token]))
        if piece.text or piece.finish == "length":
            self._shown += self._held
            self._held = []

    def take(self) -> list[Entry]:
        """The entries that can be shown since."""
        shown, self._shown = self._shown, []
        return shown


def in_chat(entries: Sequence[Entry], words: Sequence[bytes]) -> dict[str, Any]:
    """The shape of /v1/chat/completions. words: the bytes of every token."""
    content = []
    for entry in entries:
        likeliest = [_chat_token(token, number, words) for token, number in entry.logprobs.likeliest]
        content.append({**_chat_token(entry.token, entry.logprobs.own, words), "top_logprobs": likeliest})
    return {"content": content, "refusal": None}


def in_text(entries: Sequence[Entry], words: Sequence[bytes]) -> dict[str, Any]:
    """The older shape of /v1/completions."""
    return {
        "tokens": [spelled(words[entry.token], "bytes:") for entry in entries],
        "token_logprobs": [_finite(entry.logprobs.own) for entry in entries],
        "top_logprobs": [
            {spelled(words[token], "bytes:"): _finite(number) for token, number in entry.logprobs.likeliest}
            for entry in entries
        ],
        "text_offset": [entry.offset for entry in entries],
    }


def spelled(word: bytes, mark: str = "") -> str:
    r"""A token as text; bytes that are no character as \xe4\xb8, behind `mark`, as OpenAI writes them."""
    try:
        return word.decode()
    except UnicodeDecodeError:
        return mark + "".join(f"\\x{byte:02x}" for byte in word)


def _chat_token(token: int, number: float, words: Sequence[bytes]) -> dict[str, Any]:
    return {"token": spelled(words[token]), "logprob": _finite(number), "bytes": list(words[token])}


def _finite(number: float) -> float:
    return max(number, LOWEST)
