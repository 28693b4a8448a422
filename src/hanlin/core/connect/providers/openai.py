"""OpenAI's Chat Completions, and every server that answers them: ours, llama.cpp's, vLLM, Ollama, gateways.
https://platform.openai.com/docs/api-reference/chat"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from hanlin.core.connect.address import Address
from hanlin.core.connect.answer import End, Piece, Usage
from hanlin.core.connect.failure import Failure, failure_of
from hanlin.core.connect.request import CHOICES, Request, function_of
from hanlin.core.connect.settings import Settings
from hanlin.core.connect.turns import SYSTEM, calls_of, text_of
from hanlin.core.text.messages import Message, thought_of

_UNKNOWN = ("top_k", "min_p", "repetition_penalty")
SKIPPED: dict[str, tuple[str, ...]] = {"openai": _UNKNOWN, "ollama": _UNKNOWN, "http": ()}

_AS_THEY_ARE = ("temperature", "top_p", "frequency_penalty", "presence_penalty", "seed")

_TEXTS_AT_ONCE = 256


class Client:
    """Through the official client, whose own retries are off: ours are one policy for all providers."""

    def __init__(self, address: Address, key: str, timeout_seconds: float):
        import openai

        # A server that wants no key still gets one, or the client would send OpenAI's own to it; nor is the name of an
        # organization, which the client reads from the environment, anything to tell to others.
        nobody = None if address.provider == "openai" else ""
        self._client = openai.OpenAI(
            api_key=key or "none",
            organization=nobody,
            project=nobody,
            base_url=address.url or None,
            timeout=timeout_seconds,
            max_retries=0,
        )
        self._errors = (openai.APIError, ValueError)

    def events(self, request: Request) -> Iterator[Piece | End]:
        completions = self._client.completions if request.kind == "complete" else self._client.chat.completions
        asked = body(request)
        try:
            with completions.create(**asked) as chunks:
                yield from pieces(chunks)
        except self._errors as error:
            raise failure_of(error) from None

    def vectors(self, request: Request) -> tuple[list[list[float]], Usage | None]:
        vectors: list[list[float]] = []
        num_tokens = 0
        try:
            for start in range(0, len(request.texts), _TEXTS_AT_ONCE):
                texts = list(request.texts[start : start + _TEXTS_AT_ONCE])
                answer = self._client.embeddings.create(model=request.model, input=texts, encoding_format="float")
                vectors += [item.embedding for item in sorted(answer.data, key=lambda item: item.index)]
                num_tokens += answer.usage.prompt_tokens if answer.usage else 0
        except self._errors as error:
            raise failure_of(error) from None
        return vectors, Usage(input_tokens=num_tokens) if num_tokens else None


def body(request: Request) -> dict[str, Any]:
    """The request as the API wants it. Always streamed: a long reply then never meets a time-out between machines."""
    settings, is_own = request.settings, request.provider == "openai"
    fields: dict[str, Any] = {"model": request.model, "stream": True, "stream_options": {"include_usage": True}}
    fields |= {name: getattr(settings, name) for name in _AS_THEY_ARE if getattr(settings, name) is not None}
    if settings.max_tokens is not None:
        fields["max_completion_tokens" if is_own else "max_tokens"] = settings.max_tokens
    if settings.stop:
        fields["stop"] = list(settings.stop)
    if (schema := settings.schema_values) is not None:
        form = {"name": "reply", "schema": schema, "strict": True}
        fields["response_format"] = {"type": "json_schema", "json_schema": form}
    if settings.effort:
        fields["reasoning_effort"] = settings.effort
    fields["extra_body"] = _beyond(settings)
    if request.kind == "complete":
        return fields | {"prompt": request.prompt}
    if request.tools:
        fields["tools"] = [{"type": "function", "function": dict(function_of(tool))} for tool in request.tools]
        fields["tool_choice"] = _choice(request.tool_choice)
    return fields | {"messages": [_message(message, is_own) for message in request.messages]}


def pieces(chunks: Iterable[Any]) -> Iterator[Piece | End]:
    """The client's chunks, of either endpoint, as pieces. Raises Failure when they end before the reply does."""
    finish, usage, model, refused = "", None, "", False
    calls = _Calls()
    for chunk in chunks:
        model, usage = model or getattr(chunk, "model", None) or "", _usage(chunk) or usage
        for choice in (chunk.choices or [])[:1]:
            finish = choice.finish_reason or finish
            delta = getattr(choice, "delta", None)
            if delta is None:
                if getattr(choice, "text", ""):
                    yield Piece("text", choice.text)
                continue
            # Servers of open models give thoughts under one of these names; OpenAI's own doesn't show them.
            if thought := getattr(delta, "reasoning_content", None) or getattr(delta, "reasoning", None):
                yield Piece("thought", thought)
            refused = refused or bool(delta.refusal)
            if text := delta.content or delta.refusal:
                yield Piece("text", text)
            for part in delta.tool_calls or ():
                yield from calls.read(part)
    if not finish:
        raise Failure("the stream ended before the reply did; is this an OpenAI-compatible server?")
    yield End("refusal" if refused else "tool_calls" if calls.num else finish, usage, model)


class _Calls:
    """Tool calls by the index the server gives them; a new id at the same index is a new call."""

    def __init__(self) -> None:
        self.num = 0
        self._at: dict[int, tuple[int, str]] = {}

    def read(self, part: Any) -> Iterator[Piece]:
        function = part.function
        number, known = self._at.get(part.index, (-1, ""))
        if number < 0 or (part.id and part.id != known):
            number, self.num = self.num, self.num + 1
            self._at[part.index] = number, part.id or ""
            yield Piece("call", (function and function.name) or "", number, part.id or f"call_{number}")
        if function and function.arguments:
            yield Piece("arguments", function.arguments, number)


def _beyond(settings: Settings) -> dict[str, Any]:
    """What the official client has no parameter for: it goes into the body as it is."""
    named = {name: getattr(settings, name) for name in _UNKNOWN if getattr(settings, name) is not None}
    return named | settings.extra


def _choice(choice: str) -> str | dict[str, Any]:
    return choice if choice in CHOICES else {"type": "function", "function": {"name": choice}}


def _message(message: Message, is_own: bool) -> dict[str, Any]:
    """The fields the API knows. Other servers take a developer's message as the system's, and thoughts of earlier
    replies, which OpenAI's own refuses."""
    role = message["role"]
    fields: dict[str, Any] = {"role": "system" if role in SYSTEM and not is_own else role, "content": text_of(message)}
    if calls := calls_of(message):
        fields["content"] = fields["content"] or None
        fields["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in calls
        ]
    if role == "tool":
        fields["tool_call_id"] = message.get("tool_call_id") or ""
    if role == "assistant" and not is_own and (thought := thought_of(message)):
        fields["reasoning_content"] = thought
    return fields


def _usage(chunk: Any) -> Usage | None:
    usage = getattr(chunk, "usage", None)
    if usage is None:
        return None

    def within(details: str, name: str) -> int:
        found: Any = getattr(usage, details, None)
        found = found.get(name) if isinstance(found, Mapping) else getattr(found, name, None)
        return found or 0

    cached, thought = within("prompt_tokens_details", "cached_tokens"), 0
    with suppress(AttributeError):
        thought = within("completion_tokens_details", "reasoning_tokens")
    return Usage(usage.prompt_tokens or 0, usage.completion_tokens or 0, cached, thought)
