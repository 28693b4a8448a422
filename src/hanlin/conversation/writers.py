"""Who writes the replies: a model here, or one elsewhere."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from hanlin.conversation.dialogue import Dialogue
from hanlin.core.text.messages import Message

Kind = Literal["text", "thought"]


@dataclass(frozen=True)
class Written:
    """Newly readable characters. logprob: of all tokens that brought them together, in nats; None where it isn't known.
    num_tokens: how many these were."""

    kind: Kind
    text: str
    logprob: float | None = None
    num_tokens: int = 0


Replying = Generator[Written, None, None]
"""A reply as it comes; closing it stops the model."""


class Writer(Protocol):
    title: str
    """The first line a person reads."""
    has_probabilities: bool
    always_same: bool
    """Whether a reply written again is the same one."""

    def reply(self, dialogue: Dialogue, attempt: int, probabilities: bool) -> Replying:
        """The reply to a conversation that ends with a question, as it comes. attempt: how many were written before to
        the same. Raises HanlinError for what can't be asked."""
        ...

    def message(self, text: str, thought: str) -> Message:
        """What came of the last reply, as a message."""
        ...

    def close(self) -> None: ...

    @property
    def spent(self) -> str:
        """What it has cost so far, for a person; "" for nothing."""
        ...


def open_writer(model: str, options: Mapping[str, Any]) -> Writer:
    """model: a path or an address, of a remote model too. options: of writing; engine.… for a model here."""
    from hanlin.core.connect import is_remote

    if is_remote(model):
        from hanlin.conversation.remote import RemoteWriter

        return RemoteWriter(model, options)
    from hanlin.conversation.local import LocalWriter

    return LocalWriter(model, options)


def message_of(text: str, thought: str) -> Message:
    return {"role": "assistant", "content": text, **({"reasoning_content": thought} if thought else {})}
