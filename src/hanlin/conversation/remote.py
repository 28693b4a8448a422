"""A model elsewhere, as hanlin.connect reaches it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hanlin.connected import open_remote
from hanlin.conversation.dialogue import Dialogue
from hanlin.conversation.writers import Replying, Written, message_of
from hanlin.core.connect import Answer
from hanlin.core.text.messages import Message


class RemoteWriter:
    """See writers.Writer. options: those of the connection, budget.…, and of writing."""

    has_probabilities = False
    always_same = False

    def __init__(self, address: str, options: Mapping[str, Any]):
        self._remote, self._settings = open_remote(address, options)
        self._whole: Answer | None = None
        self.title = f"{address}。"

    def reply(self, dialogue: Dialogue, attempt: int, probabilities: bool) -> Replying:
        settings = dict(self._settings)
        if "seed" in settings:
            settings["seed"] += attempt
        self._whole = None
        stream = self._remote.stream(dialogue.messages, **settings)
        try:
            for piece in stream:
                if piece.kind in ("text", "thought"):
                    yield Written("thought" if piece.kind == "thought" else "text", piece.text)
            self._whole = stream.answer
        finally:
            stream.close()

    def message(self, text: str, thought: str) -> Message:
        """A whole reply with what its provider wants to see again."""
        return self._whole.message if self._whole is not None else message_of(text, thought)

    def close(self) -> None:
        """A connection is the provider's own to close."""

    @property
    def spent(self) -> str:
        return f"用量：{self._remote.budget}"
