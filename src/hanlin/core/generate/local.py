"""A model of our own, asked as a remote one is: the interface of `hanlin.core.connect.model.Model` over the engine."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from hanlin.core.connect.answer import Answer, End, Piece, Stream, Usage
from hanlin.core.connect.model import Many, Tools, conversation
from hanlin.core.connect.request import Request, check_request
from hanlin.core.generate.adapters import unknown_adapter
from hanlin.core.generate.embedding import embed
from hanlin.core.generate.engine import Engine
from hanlin.core.generate.reply import Piece as Written
from hanlin.core.generate.sampling import Sampling
from hanlin.core.generate.stream import text_prompt
from hanlin.core.generate.text import Ticket
from hanlin.core.model.adapters.switched import BASE
from hanlin.core.model.pretrained import Pretrained
from hanlin.core.run.config import build
from hanlin.core.run.errors import HanlinError
from hanlin.core.text.calls import Event, ends_in_thought, form_of_calls, reader_of
from hanlin.core.text.chat import render
from hanlin.core.text.messages import Message


class Local:
    """A loaded model, or an engine over one, with one of its adapters. Like the engine it belongs to one thread.

    Raises HanlinError for an adapter that the engine doesn't have."""

    def __init__(self, model: Pretrained | Engine, adapter: str = BASE):
        known = model.known if isinstance(model, Engine) else {BASE: model}
        if adapter not in known:
            raise unknown_adapter(adapter, known)
        self._loaded, self._adapter = known[adapter], adapter
        self._engine = model if isinstance(model, Engine) else None
        self.name = adapter or self._loaded.path.name

    def __repr__(self) -> str:
        return f"Local({self._loaded.path})"

    def chat(self, messages: Sequence[Message], **settings: Any) -> Iterator[str]:
        return (piece.text for piece in self.stream(messages, **settings) if piece.kind == "text")

    def generate(self, prompt: str, **settings: Any) -> Iterator[str]:
        ids = text_prompt(self._loaded, prompt)
        return (piece.text for piece in self._opened.stream(ids, _sampling(settings), adapter=self._adapter))

    def stream(
        self, messages: Sequence[Message], *, tools: Tools = (), tool_choice: str = "auto", **settings: Any
    ) -> Stream:
        return Stream(self._events(*self._asked(messages, tools, tool_choice, settings)))

    def reply(
        self, messages: Sequence[Message], *, tools: Tools = (), tool_choice: str = "auto", **settings: Any
    ) -> Answer:
        return self.stream(messages, tools=tools, tool_choice=tool_choice, **settings).answer

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return embed(self._loaded, texts).tolist() if texts else []

    def many(self, asked: Sequence[str | Sequence[Message]], *, at_once: int = 8, **settings: Any) -> Many:
        """All in one batch of the engine, each as if alone."""
        prompts = [self._asked(conversation(one), (), "auto", settings) for one in asked]
        answers: list[Answer | None] = [None] * len(prompts)
        failures: dict[int, HanlinError] = {}
        waiting, under_way = deque(range(len(prompts))), dict[int, Ticket]()
        try:
            while waiting or under_way:
                while waiting and len(under_way) < at_once:
                    number = waiting.popleft()
                    try:
                        under_way[number] = self._opened.submit(*prompts[number][:2], adapter=self._adapter)
                    except HanlinError as error:
                        failures[number] = error
                self._opened.step()
                for number in [number for number, ticket in under_way.items() if ticket.done]:
                    ticket = under_way.pop(number)
                    if isinstance(ticket.error, HanlinError):
                        failures[number] = ticket.error
                    elif ticket.error is not None:
                        raise ticket.error
                    else:
                        answers[number] = Stream(self._told(ticket.pieces, ticket, prompts[number][2])).answer
        finally:
            for ticket in under_way.values():
                self._opened.cancel(ticket)
        return Many(answers, failures)

    @property
    def _opened(self) -> Engine:
        """An encoder is asked for vectors only, and never gets one."""
        if self._engine is None:
            self._engine = Engine(self._loaded)
        return self._engine

    def _asked(
        self, messages: Sequence[Message], tools: Tools, tool_choice: str, settings: dict[str, Any]
    ) -> tuple[list[int], Sampling, bool]:
        """(prompt, sampling, whether calls are to be read)."""
        check_request(Request("chat", "local", self.name, messages, tools=tools, tool_choice=tool_choice))
        tokenizer, shown = self._loaded.tokenizer, tools if tool_choice != "none" else ()
        ids = render(messages, tokenizer, add_generation_prompt=True, tools=shown or None).ids
        if tool_choice not in ("auto", "none"):
            only = "" if tool_choice == "required" else tool_choice
            settings = {**settings, "grammar": form_of_calls(tokenizer, tools, only=only)}
        return ids, _sampling(settings), bool(shown)

    def _events(self, prompt: list[int], sampling: Sampling, has_tools: bool) -> Iterator[Piece | End]:
        engine = self._opened
        ticket = engine.submit(prompt, sampling, adapter=self._adapter)
        try:
            yield from self._told(engine.pieces(ticket), ticket, has_tools)
        finally:
            engine.cancel(ticket)

    def _told(self, pieces: Iterable[Written], ticket: Ticket, has_tools: bool) -> Iterator[Piece | End]:
        tokenizer = self._loaded.tokenizer
        reader = reader_of(tokenizer, tools=has_tools, thought_open=ends_in_thought(ticket.prompt, tokenizer))
        num_calls, num_tokens, finish = 0, 0, "stop"
        for piece in pieces:
            num_tokens, finish = piece.num_tokens, piece.finish or finish
            events = [*reader.push(piece.text, piece.token), *(reader.finish() if piece.finish else ())]
            for event in events:
                num_calls += event.kind == "call"
                yield _piece(event, num_calls - 1)
        usage = Usage(len(ticket.prompt), num_tokens, ticket.num_shared)
        yield End("tool_calls" if num_calls and finish == "stop" else finish, usage, self.name)


def _sampling(settings: dict[str, Any]) -> Sampling:
    """Of the settings for remote models, those that ours doesn't have."""
    if settings.get("effort"):
        warnings.warn("a model of our own takes no effort: left out. See docs/connect.md#settings", stacklevel=4)
    return build(Sampling, {name: value for name, value in settings.items() if name != "effort"}, "generate")


def _piece(event: Event, call: int) -> Piece:
    is_call = event.kind in ("call", "arguments")
    return Piece(event.kind, event.text, call if is_call else 0, f"call_{call}" if event.kind == "call" else "")
