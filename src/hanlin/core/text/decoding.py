"""Ids back to text as the decoder in tokenizer.json says, token by token instead of all at once.

What the `tokenizers` library knows as a chain over the whole list is read here as three parts:
maps that change one token at a time (▁ → space, ## joined), bytes that become characters (byte-level, or byte
fallback with its <0xE5>), and what happens to the text's start (Llama drops one space).
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from hanlin.core.text.byte_symbols import bytes_of

Change = Callable[[int, str], str]
"""(place of the token among those decoded, its text) → its text. Only place 0 is treated otherwise than the rest."""

_FALLBACK = re.compile("<0x([0-9A-Fa-f]{2})>")

CLEANED = (
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" do not", " don't"),
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
)
"""WordPiece's clean-up of English, in this order, inside each token."""


@dataclass(frozen=True)
class Plan:
    """A decoder in stream form. bytes_are: "" (none), "symbols" (byte-level) or "fallback" (<0x..> tokens).

    before, after: changes on this and that side of the bytes. strip: (character, how many) dropped at the start.
    """

    before: tuple[Change, ...] = ()
    bytes_are: str = ""
    after: tuple[Change, ...] = ()
    strip: tuple[str, int] = ("", 0)

    def token_bytes(self, token: str, literal: bool = False) -> bytes:
        """What `token` adds in the middle of a text. literal: see `TextStream.push`."""
        for change in self.before:
            token = change(1, token)
        if self.bytes_are == "symbols":
            return token.encode() if literal else bytes_of(token)
        if self.bytes_are == "fallback" and (byte := fallback_byte(token)) is not None:
            return bytes([byte])
        for change in self.after:
            token = change(1, token)
        return token.encode()


def plan_of(decoder: dict[str, Any] | None) -> Plan | None:
    """The stream form of tokenizer.json's `decoder`; None for one that needs the whole sequence (CTC, BPEDecoder)."""
    if decoder is None:
        return Plan(before=(_spaced,))
    plan, state = Plan(), "tokens"
    for step in _steps(decoder):
        kind = step["type"]
        if kind == "ByteLevel" and state == "tokens":
            plan, state = replace(plan, bytes_are="symbols"), "text"
        elif kind == "ByteFallback" and state == "tokens":
            plan, state = replace(plan, bytes_are="fallback"), "runs"
        elif kind == "Fuse":
            state = "text"
        elif kind == "Strip" and state == "text" and not step["stop"] and not plan.strip[1]:
            plan = replace(plan, strip=(step["content"], step["start"]))
        elif state == "tokens" and (change := _change(step)):
            plan = replace(plan, before=(*plan.before, change))
        elif state == "runs" and _per_character(step) and (change := _change(step)):
            plan = replace(plan, after=(*plan.after, change))
        else:
            return None
    return plan


@dataclass
class TextStream:
    """Tokens in, text out as soon as it is whole."""

    plan: Plan
    _place: int = 0
    _run: bytes = b""
    _run_place: int = 0
    _stripped: int = 0
    _utf8: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")(errors="replace")
    )

    def push(self, token: str, literal: bool = False) -> str:
        """literal: an added token, which byte-level BPE does not spell in symbols."""
        for change in self.plan.before:
            token = change(self._place, token)
        if self.plan.bytes_are == "symbols":
            return self._start(self._utf8.decode(token.encode() if literal else bytes_of(token)))
        if self.plan.bytes_are == "fallback":
            byte = fallback_byte(token)
            if byte is not None:
                return self._push_byte(byte)
            token = self._end_run() + self._after(self._place, token)
        self._place += 1
        return self._start(token)

    def _push_byte(self, byte: int) -> str:
        if not self._run:
            self._run_place = self._place
        self._place = self._run_place + 1
        self._run += bytes([byte])
        text = ""
        while self._run:
            try:
                whole, num_bytes = codecs.utf_8_decode(self._run, "strict", False)
            except UnicodeDecodeError:
                whole, num_bytes = "\ufffd", 1
            if not num_bytes:
                break
            text, self._run = text + whole, self._run[num_bytes:]
        return self._start(self._after(self._run_place, text))

    def _end_run(self) -> str:
        lost, self._run = "\ufffd" * len(self._run), b""
        return lost

    def _after(self, place: int, text: str) -> str:
        for change in self.plan.after:
            text = change(place, text)
        return text

    def _start(self, text: str) -> str:
        """Drop what the decoder drops at the very start, once."""
        content, count = self.plan.strip
        while text and self._stripped < count:
            if text[0] != content:
                self._stripped = count
                break
            text, self._stripped = text[1:], self._stripped + 1
        return text


def fallback_byte(token: str) -> int | None:
    found = _FALLBACK.fullmatch(token)
    return int(found[1], 16) if found else None


def _steps(decoder: dict[str, Any]) -> list[dict[str, Any]]:
    if decoder["type"] != "Sequence":
        return [decoder]
    return [inner for step in decoder["decoders"] for inner in _steps(step)]


def _per_character(step: dict[str, Any]) -> bool:
    pattern = step.get("pattern", {}).get("String", "")
    return step["type"] == "Metaspace" or (step["type"] == "Replace" and len(pattern) == 1)


def _change(step: dict[str, Any]) -> Change | None:
    """What a decoder that works on one token at a time does to it."""
    if step["type"] == "Replace" and (pattern := step["pattern"].get("String")):
        return lambda place, token: token.replace(pattern, step["content"])
    if step["type"] == "Metaspace":
        first = " " if step["prepend_scheme"] == "never" else ""
        return lambda place, token: token.replace(step["replacement"], " " if place else first)
    if step["type"] == "WordPiece":
        return lambda place, token: _joined(place, token, step["prefix"], step["cleanup"])
    if step["type"] == "Strip":
        return lambda place, token: _stripped(token, step["content"], step["start"], step["stop"])
    return None


def _spaced(place: int, token: str) -> str:
    return f" {token}" if place else token


def _joined(place: int, token: str, prefix: str, cleanup: bool) -> str:
    if place:
        token = token.removeprefix(prefix) if token.startswith(prefix) else f" {token}"
    if cleanup:
        for before, after in CLEANED:
            token = token.replace(before, after)
    return token


def _stripped(token: str, content: str, start: int, stop: int) -> str:
    first = 0
    while first < min(start, len(token)) and token[first] == content:
        first += 1
    last = len(token)
    while last > max(first, len(token) - stop) and token[last - 1] == content:
        last -= 1
    return token[first:last]
