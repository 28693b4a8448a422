"""A model on this machine: the same engine as everywhere, with one place."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from hanlin.conversation.dialogue import Dialogue
from hanlin.conversation.writers import Kind, Replying, Written, message_of
from hanlin.core.generate.engine import Engine
from hanlin.core.generate.options import EngineOptions
from hanlin.core.generate.reply import Piece
from hanlin.core.generate.sampling import Sampling
from hanlin.core.run.config import build
from hanlin.core.run.errors import HanlinError
from hanlin.core.text.calls import Event, ends_in_thought, reader_of
from hanlin.core.text.chat import render
from hanlin.core.text.messages import Message


class LocalWriter:
    """See writers.Writer. Raises HanlinError for a base model, which answers nobody."""

    has_probabilities, spent = True, ""

    def __init__(self, model: str, options: Mapping[str, Any]):
        import hanlin

        values = dict(options)
        engine_values = {"max_streams": 1, **values.pop("engine", {})}
        self._sampling = build(Sampling, values, "chat")
        engine_options = build(EngineOptions, engine_values, "chat")
        loaded = hanlin.load(model)
        if not loaded.tokenizer.chat_template:
            raise HanlinError(
                f"{model} has no chat template: it is a base model, which continues text.",
                "a model that was taught to answer",
                f"hanlin generate {model} 從前",
                "docs/chat.md",
            )
        self._engine = Engine(loaded, engine_options)
        self.title = f"{model}：{loaded.model.num_parameters() / 1e6:.1f} M 參數。"
        self.always_same = self._sampling.is_greedy

    def reply(self, dialogue: Dialogue, attempt: int, probabilities: bool) -> Replying:
        tokenizer = self._engine.loaded.tokenizer
        prompt = render(dialogue.messages, tokenizer, add_generation_prompt=True, tools=dialogue.tools or None).ids
        seed = None if self._sampling.seed is None else self._sampling.seed + attempt
        changes = {"seed": seed, "top_logprobs": 0 if probabilities else None}
        ticket = self._engine.submit(prompt, self._sampling.model_copy(update=changes))
        reader = reader_of(tokenizer, tools=False, thought_open=ends_in_thought(prompt, tokenizer))
        counted = _Counted()
        try:
            for piece in self._engine.pieces(ticket, self._step):
                counted.add(piece)
                yield from counted.written(reader.push(piece.text, piece.token))
            yield from counted.written(reader.finish())
        finally:
            self._engine.cancel(ticket)

    def message(self, text: str, thought: str) -> Message:
        return message_of(text, thought)

    def close(self) -> None:
        self._engine.close()

    def _step(self) -> None:
        with interrupt_waits():
            self._engine.step()


class _Counted:
    """Tokens bring characters when these are whole, or known to be no markup: until then their shares add up."""

    def __init__(self) -> None:
        self._logprob, self._num_tokens, self._known = 0.0, 0, True

    def add(self, piece: Piece) -> None:
        self._known = piece.logprobs is not None
        self._logprob += piece.logprobs.own if piece.logprobs is not None else 0.0
        self._num_tokens += 1

    def written(self, events: Sequence[Event]) -> Iterator[Written]:
        for event in events:
            kind: Kind = "thought" if event.kind == "thought" else "text"
            yield Written(kind, event.text, self._logprob if self._known else None, self._num_tokens)
            self._logprob, self._num_tokens = 0.0, 0


@contextmanager
def interrupt_waits() -> Iterator[None]:
    """Ctrl-C within the block comes at its end: an engine's step is done whole or not at all."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came = False

    def note(*_: object) -> None:
        nonlocal came
        came = True

    before = signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt
