"""What a person sees of a conversation: replies as they come, thoughts dim, tokens coloured by their probability."""

from __future__ import annotations

import math
import sys
import unicodedata
from collections.abc import Callable
from typing import NamedTuple

from hanlin.conversation.dialogue import Dialogue, text_of
from hanlin.conversation.writers import Written
from hanlin.core.text.messages import thought_of
from hanlin.curves import FAINT, Ink

QUESTION = "› "


class Level(NamedTuple):
    """Tokens at least this probable have this colour."""

    probability: float
    colour: str


LEVELS = (Level(0.9, "32"), Level(0.5, "36"), Level(0.2, "33"), Level(0.05, "35"), Level(0.0, "1;31"))
PLAIN_MARK = 0.5
"""Without colours, text less probable than this is marked with its probability."""


class Screen:
    """show: prints without a line end."""

    def __init__(self, ink: Ink, show: Callable[[str], None]):
        self._ink, self._show = ink, show
        self._kind = ""
        self._logprob, self._num_tokens = 0.0, 0

    def say(self, *lines: str) -> None:
        """To the person, not from the model."""
        for line in lines:
            self._show(f"{visible(line)}\n")

    def note(self, text: str) -> None:
        """The same, about a reply."""
        self._show(f"{self._ink.paint(text, FAINT)}\n")

    def write(self, written: Written) -> None:
        """The next characters of a reply."""
        if self._kind != written.kind:
            self._turn_to(written.kind)
        text = visible(written.text)
        if written.logprob is None:
            self._show(self._ink.paint(text, FAINT if written.kind == "thought" else ""))
            return
        self._logprob, self._num_tokens = self._logprob + written.logprob, self._num_tokens + written.num_tokens
        self._show(self._with_probability(text, math.exp(written.logprob), written.kind == "thought"))

    def end(self, stopped: bool) -> None:
        """Of a reply. stopped: by the person."""
        self._show("\n")
        if stopped:
            self.note("（停在這裡。）")
        if self._num_tokens:
            mean = self._logprob / self._num_tokens
            self.note(f"（{self._num_tokens} 個詞元，平均對數機率 {mean:.2f}，即 {math.exp(mean):.0%}。）")
        self._kind, self._logprob, self._num_tokens = "", 0.0, 0

    def legend(self) -> None:
        """What the colours mean, or the marks."""
        if not self._ink.colours:
            self.say(f"機率不到 {PLAIN_MARK:.0%} 的字寫成 ⟨字 31%⟩。")
            return
        names = [f"{level.probability:.0%} 以上" for level in LEVELS[:-1]] + [f"不到 {LEVELS[-2].probability:.0%}"]
        painted = (self._ink.paint(name, level.colour) for name, level in zip(names, LEVELS))
        self._show(f"機率：{'　'.join(painted)}\n")

    def show(self, dialogue: Dialogue) -> None:
        """A conversation from its beginning."""
        for message in dialogue.messages:
            text = visible(text_of(message))
            if message["role"] == "user":
                self._show(f"{QUESTION}{text}\n")
            elif message["role"] == "assistant":
                if thought := thought_of(message):
                    self.write(Written("thought", thought))
                self.write(Written("text", text))
                self.end(stopped=False)
            else:
                self.note(f"〔{message['role']}〕{text}")

    def _turn_to(self, kind: str) -> None:
        """Between a thought and its reply there is a line, and words where dim is not to be seen."""
        if self._kind:
            self._show("\n" if self._ink.colours else "\n〔回答〕\n")
        elif kind == "thought" and not self._ink.colours:
            self._show("〔思考〕\n")
        self._kind = kind

    def _with_probability(self, text: str, probability: float, dim: bool) -> str:
        if self._ink.colours:
            colour = next(level.colour for level in LEVELS if probability >= level.probability)
            return self._ink.paint(text, f"{FAINT};{colour}" if dim else colour)
        if probability >= PLAIN_MARK or not text.strip():
            return text
        return f"⟨{text} {probability:.0%}⟩"


def visible(text: str) -> str:
    """Without what a terminal would take for an order: a model may write anything."""
    return "".join("�" if unicodedata.category(c) == "Cc" and c not in "\n\t" else c for c in text)


def print_at_once(text: str) -> None:
    """On standard output; what it can't encode becomes a question mark."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding), end="", flush=True)
