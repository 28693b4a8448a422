"""One reply as its client will know it: its pieces in, text, thoughts and tool calls out."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from hanlin.core.generate.reply import Piece
from hanlin.core.text.calls import Event, Reader
from hanlin.use.serve.token_log import TokenLog


@dataclass
class Call:
    """A call of a tool. key: 9 letters and digits, the only form that Mistral's templates take back."""

    name: str
    key: str = field(default_factory=lambda: uuid.uuid4().hex[:9])
    arguments: list[str] = field(default_factory=list)


class Spoken:
    """What one reply has said so far.

    reader: parts thoughts and calls from text; None for plain text. log: where log-probabilities were asked for. one
    call: a second one is not told, and `has_said_enough` then. thought_open: the prompt has begun its thought.
    """

    def __init__(
        self,
        reader: Reader | None = None,
        log: TokenLog | None = None,
        *,
        one_call: bool = False,
        thought_open: bool = False,
    ):
        self._reader, self.log, self._one_call = reader, log, one_call
        self._kind = "thought" if thought_open else "text"
        self.texts: list[str] = []
        self.thoughts: list[str] = []
        self.calls: list[Call] = []
        self.num_tokens = self.num_thought_tokens = 0
        self.has_said_enough = False
        self._ended = ""

    def push(self, piece: Piece) -> Sequence[Event]:
        """What the piece brings to light. Calls are kept in `calls`; their events come in the same order."""
        if self.has_said_enough:
            return ()
        self.num_tokens = piece.num_tokens
        self._ended = piece.finish
        if self.log is not None:
            self.log.push(piece)
        events = self._events(piece)
        kept = [event for event in events if self._keep(event)]
        self.num_thought_tokens += self._kind == "thought"
        return kept

    @property
    def finish(self) -> str:
        """Why it ended, in OpenAI's words; "" while it goes on, or when it was cancelled."""
        if self.has_said_enough:
            return "tool_calls"
        return "tool_calls" if self.calls and self._ended == "stop" else self._ended

    def _events(self, piece: Piece) -> Sequence[Event]:
        if self._reader is None:
            return [Event("text", piece.text)] if piece.text else ()
        events = self._reader.push(piece.text, piece.token)
        return [*events, *self._reader.finish()] if piece.finish else events

    def _keep(self, event: Event) -> bool:
        if self.has_said_enough or (event.kind == "call" and self.calls and self._one_call):
            self.has_said_enough = True
            return False
        self._kind = event.kind
        if event.kind == "call":
            self.calls.append(Call(event.text))
        elif event.kind == "arguments":
            self.calls[-1].arguments.append(event.text)
        else:
            (self.thoughts if event.kind == "thought" else self.texts).append(event.text)
        return True
