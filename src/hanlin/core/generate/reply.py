"""A reply's tokens as text: whole characters, nothing of a stop text, and why it ended."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from hanlin.core.generate.logprobs import Logprobs
from hanlin.core.text.tokenizer import StreamDecoder, Tokenizer


@dataclass(frozen=True)
class Piece:
    """text: newly readable characters (may be empty). token: the id that brought them. finish: "" while going on, then
    "stop" or "length". logprobs: where they were asked for."""

    text: str
    num_tokens: int
    finish: str = ""
    token: int = -1
    logprobs: Logprobs | None = None


class TextFilter(Protocol):
    """Changes a text while it is being written; `finish` gives what it still holds."""

    def push(self, text: str) -> str: ...

    def finish(self) -> str: ...


class Reply:
    """Tokens in, pieces out. Text that may be the start of a stop text is held back until it is known.

    max_tokens: after so many it ends with "length". wording: what is read goes through it; stop texts don't.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        stop_ids: Collection[int],
        stops: Sequence[str],
        max_tokens: int,
        wording: TextFilter | None = None,
    ):
        self._wording = wording
        self._decoder = StreamDecoder(tokenizer)
        self._stop_ids, self._stops, self._max_tokens = stop_ids, stops, max_tokens
        self._held = ""
        self.num_tokens = 0

    @property
    def num_left(self) -> int:
        """Tokens it may still have."""
        return self._max_tokens - self.num_tokens

    def push(self, token: int, logprobs: Logprobs | None = None) -> Piece:
        self.num_tokens += 1
        stopped = token in self._stop_ids
        ended = stopped or self.num_tokens >= self._max_tokens
        if not stopped:
            self._held += self._decoder.push(token)
        if ended:
            self._held += self._decoder.finish()
        cut = find_stop(self._held, self._stops)
        if cut is not None or ended:
            finish = "stop" if stopped or cut is not None else "length"
            return Piece(self._worded(self._held[:cut], ends=True), self.num_tokens, finish, token, logprobs)
        safe = len(self._held) - possible_start(self._held, self._stops)
        text, self._held = self._held[:safe], self._held[safe:]
        return Piece(self._worded(text), self.num_tokens, "", token, logprobs)

    def end(self, finish: str) -> Piece:
        """The last piece where no token more comes: what is still held."""
        text = self._held + self._decoder.finish()
        cut = find_stop(text, self._stops)
        return Piece(self._worded(text[:cut], ends=True), self.num_tokens, "stop" if cut is not None else finish)

    def _worded(self, text: str, ends: bool = False) -> str:
        if self._wording is None:
            return text
        return self._wording.push(text) + (self._wording.finish() if ends else "")


def find_stop(text: str, stops: Sequence[str]) -> int | None:
    """Where the first stop text begins."""
    places = [text.find(stop) for stop in stops if stop and stop in text]
    return min(places) if places else None


def possible_start(text: str, stops: Sequence[str]) -> int:
    """Length of the longest ending of `text` that begins a stop text."""
    longest = 0
    for stop in stops:
        for length in range(min(len(stop) - 1, len(text)), longest, -1):
            if text.endswith(stop[:length]):
                longest = length
                break
    return longest
