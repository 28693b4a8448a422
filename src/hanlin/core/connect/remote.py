"""A model somewhere else, asked as one of our own is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field

from hanlin.core.connect.address import NEEDS_KEY, Address, find_key, needs_key, parse_address
from hanlin.core.connect.answer import Answer, End, Gathering, Piece, Stream, events_of
from hanlin.core.connect.budget import Budget
from hanlin.core.connect.failure import Failure, RemoteError, explain
from hanlin.core.connect.model import Many, Tools, conversation
from hanlin.core.connect.patience import Exhausted, Patience, keep_trying
from hanlin.core.connect.providers import Provider, open_provider, skipped_by
from hanlin.core.connect.recording import HIDDEN, Recording
from hanlin.core.connect.request import Request, check_request
from hanlin.core.connect.settings import settings_for
from hanlin.core.run.config import Config, build
from hanlin.core.run.errors import HanlinError
from hanlin.core.text.messages import Message

Result = TypeVar("Result")

CONTINUES = ("http", "ollama")
"""Providers whose models go on with a text; the others answer it as a question."""


class Connection(Config):
    """How a remote model is reached."""

    model: str = Field("", description="the model's name, where the address doesn't say it")
    url: str = Field("", description="another place where the provider's API is answered, a gateway say")
    timeout_seconds: float = Field(600.0, gt=0, description="for one request, or for the next piece of a stream")
    tries: int = Field(6, ge=1, description="how often a request is sent that fails for a reason that may pass")
    patience_seconds: float = Field(120.0, ge=0, description="how long all its tries may take, waiting included")
    first_wait_seconds: float = Field(0.5, gt=0, description="before the second try; each further wait is twice that")
    record: Path | None = Field(None, description="a file to which every request and answer is written, a line each")
    replay: Path | None = Field(None, description="such a file, from which requests are answered without network")


class Remote:
    """See `hanlin.core.connect.model.Model`. It may be used by several threads at once."""

    def __init__(self, address: Address, connection: Connection, key: str = "", budget: Budget | None = None):
        self.address, self.name, self.budget = address, address.model, budget or Budget()
        self._connection = connection
        self._key = key or find_key(address)
        self._patience = Patience(connection.tries, connection.patience_seconds, connection.first_wait_seconds)
        self._recording = Recording(connection.record, connection.replay, self._key)
        self._opening = threading.Lock()
        self._opened: Provider | None = None

    def __repr__(self) -> str:
        return f"Remote({self.address})"

    @property
    def continues(self) -> bool:
        """Whether `generate` goes on with a text, rather than answering it."""
        return self.address.provider in CONTINUES

    def chat(self, messages: Sequence[Message], **settings: Any) -> Iterator[str]:
        return _texts(self.stream(messages, **settings))

    def generate(self, prompt: str, **settings: Any) -> Iterator[str]:
        if not self.continues:
            return self.chat(conversation(prompt), **settings)
        return _texts(Stream(self._events(self._request("complete", settings, prompt=prompt))))

    def stream(
        self, messages: Sequence[Message], *, tools: Tools = (), tool_choice: str = "auto", **settings: Any
    ) -> Stream:
        asked = {"messages": messages, "tools": tools, "tool_choice": tool_choice}
        return Stream(self._events(self._request("chat", settings, **asked)))

    def reply(
        self, messages: Sequence[Message], *, tools: Tools = (), tool_choice: str = "auto", **settings: Any
    ) -> Answer:
        asked = {"messages": messages, "tools": tools, "tool_choice": tool_choice}
        return self._whole(self._request("chat", settings, **asked))

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        request = self._request("embed", {}, texts=list(texts))
        if not texts:
            return []
        if (known := self._recording.vectors(request)) is not None:
            return known
        vectors = self._keep_trying(lambda: self._embedded(request))
        self._recording.keep(request, vectors=vectors)
        return vectors

    def many(self, asked: Sequence[str | Sequence[Message]], *, at_once: int = 8, **settings: Any) -> Many:
        # All are made before any is sent: a wrong one costs nothing, and equal ones are numbered in their order.
        requests = [self._request("chat", settings, messages=conversation(one)) for one in asked]
        failures: dict[int, HanlinError] = {}
        hopeless: list[HanlinError] = []

        def ask(number: int) -> Answer | None:
            try:
                if hopeless:
                    raise hopeless[0]
                return self._whole(requests[number], patient=True)
            except HanlinError as error:
                if isinstance(error, RemoteError) and error.ends_all:
                    hopeless.append(error)
                failures[number] = error
                return None

        with ThreadPoolExecutor(max(1, at_once), thread_name_prefix="hanlin-connect") as pool:
            try:
                return Many(list(pool.map(ask, range(len(requests)))), failures)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _request(self, kind: Literal["chat", "complete", "embed"], settings: dict[str, Any], **asked: Any) -> Request:
        provider = self.address.provider
        checked = settings_for(provider, skipped_by(provider), settings)
        return self._recording.numbered(check_request(Request(kind, provider, self.name, settings=checked, **asked)))

    def _whole(self, request: Request, patient: bool = False) -> Answer:
        """A reply of which nothing has been shown yet: one that breaks off is asked for anew."""
        if (known := self._recording.answer(request)) is not None:
            return known
        answer = self._keep_trying(lambda: _gathered(self._sent(request, patient)))
        self._recording.keep(request, answer=answer)
        return answer

    def _events(self, request: Request) -> Iterator[Piece | End]:
        """A reply as it comes: asked for anew until its first piece is there, but not once it has been shown."""
        if (known := self._recording.answer(request)) is not None:
            yield from events_of(known)
            return
        gathering = Gathering()
        try:
            for event in self._keep_trying(lambda: _begun(self._sent(request))):
                if isinstance(event, End):
                    self._recording.keep(request, answer=gathering.answer(event))
                else:
                    gathering.add(event)
                yield event
        except Failure as failure:
            raise self._explained(failure, 1) from None

    def _sent(self, request: Request, patient: bool = False) -> Iterator[Piece | End]:
        """One try, within the budget."""
        claim = self.budget.claim(self.name, request.most_input_tokens, request.settings.max_tokens, patient)
        began, usage = False, None
        try:
            for event in self._provider().events(request):
                began, usage = True, event.usage if isinstance(event, End) else None
                yield event
        finally:
            self.budget.settle(claim, usage, began)

    def _embedded(self, request: Request) -> list[list[float]]:
        claim = self.budget.claim(self.name, request.most_input_tokens, 0)
        began, usage = False, None
        try:
            vectors, usage = self._provider().vectors(request)
            began = True
            return vectors
        finally:
            self.budget.settle(claim, usage, began)

    def _keep_trying(self, attempt: Callable[[], Result]) -> Result:
        try:
            return keep_trying(attempt, self._patience)
        except Exhausted as exhausted:
            raise self._explained(exhausted.failure, exhausted.tries) from None

    def _explained(self, failure: Failure, tries: int) -> RemoteError:
        error = explain(failure, str(self.address), self.address.key_variable or "key=", tries)
        if not self._key or self._key not in error.what:  # providers repeat the key they refuse
            return error
        what = error.what.replace(self._key, HIDDEN)
        return RemoteError(what, error.expected, error.do, error.more, error.status, error.ends_all)

    def _provider(self) -> Provider:
        """Opened when it is first needed, so that a recording needs neither client nor key."""
        with self._opening:
            if self._opened is None:
                if not self._key and self.address.provider in NEEDS_KEY:
                    raise needs_key(self.address)
                self._opened = open_provider(self.address, self._key, self._connection.timeout_seconds)
            return self._opened


def connect(address: str, key: str = "", budget: Budget | None = None, **connection: Any) -> Remote:
    """A remote model. Keywords: those of Connection. Nothing is sent yet.

    Raises HanlinError for what is no address, and for a recording that isn't there."""
    options = build(Connection, connection, "connect")
    return Remote(parse_address(address, options.model, options.url), options, key, budget)


def _texts(stream: Stream) -> Iterator[str]:
    return (piece.text for piece in stream if piece.kind == "text")


def _gathered(events: Iterator[Piece | End]) -> Answer:
    """All of it, the budget settled too."""
    stream = Stream(events)
    return stream.answer


def _begun(events: Iterator[Piece | End]) -> Iterator[Piece | End]:
    """The same events, the first of them there already."""
    first = next(events)
    return chain([first], events)
