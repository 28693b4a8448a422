"""Anthropic's Messages API. https://platform.claude.com/docs/en/api/messages

Since its version 2026-10-21 the API refuses every sampling parameter (temperature, top_p, top_k), at any value.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from hanlin.core.connect.address import Address
from hanlin.core.connect.answer import End, Piece, Usage
from hanlin.core.connect.failure import Failure, failure_of
from hanlin.core.connect.request import Request, function_of
from hanlin.core.connect.turns import argument_values, calls_of, new_origin, origin_of, part_system, text_of
from hanlin.core.run.errors import RequestError
from hanlin.core.text.messages import Message

SKIPPED = {
    "anthropic": (
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "repetition_penalty",
        "frequency_penalty",
        "presence_penalty",
        "seed",
    )
}

DEFAULT_MAX_TOKENS = 4096
"""The API wants a limit in every request."""

FINISHES = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "refusal",
}

_CHOICES = {"auto": "auto", "required": "any", "none": "none"}
_DELTAS = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}


class Client:
    """Through the official client, whose own retries are off."""

    def __init__(self, address: Address, key: str, timeout_seconds: float):
        import anthropic

        self._client = anthropic.Anthropic(
            api_key=key, base_url=address.url or None, timeout=timeout_seconds, max_retries=0
        )
        import httpx2  # the client's own HTTP library; what breaks within a stream comes as its exceptions

        self._errors = (anthropic.APIError, httpx2.HTTPError, ValueError)

    def events(self, request: Request) -> Iterator[Piece | End]:
        asked = body(request)
        try:
            with self._client.messages.create(**asked) as events:
                yield from pieces(events)
        except self._errors as error:
            raise failure_of(error) from None

    def vectors(self, request: Request) -> tuple[list[list[float]], Usage | None]:
        raise RequestError(
            "anthropic has no embeddings.",
            "a provider that has: openai, gemini, ollama, http",
            'hanlin.connect("openai:…").embed(…)',
            "docs/connect.md#settings",
        )


def body(request: Request) -> dict[str, Any]:
    """The request as the API wants it, streamed. Raises RequestError for a conversation it has no form for."""
    settings = request.settings
    system, messages = part_system(request.messages, "anthropic")
    fields: dict[str, Any] = {
        "model": request.model,
        "stream": True,
        "max_tokens": settings.max_tokens or DEFAULT_MAX_TOKENS,
        "messages": turns(messages),
    }
    if system:
        fields["system"] = system
    if settings.stop:
        fields["stop_sequences"] = list(settings.stop)
    if request.tools:
        fields["tools"] = [_tool(function_of(tool)) for tool in request.tools]
        known = _CHOICES.get(request.tool_choice)
        fields["tool_choice"] = {"type": known} if known else {"type": "tool", "name": request.tool_choice}
    output: dict[str, Any] = {}
    if settings.effort:
        fields["thinking"] = {"type": "adaptive", "display": "summarized"}
        output["effort"] = settings.effort
    if (schema := settings.schema_values) is not None:
        output["format"] = {"type": "json_schema", "schema": schema}
    return fields | ({"output_config": output} if output else {}) | {"extra_body": settings.extra}


def turns(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """OpenAI's messages as turns of content blocks: results of tools belong to the user's turn, and one turn's worth of
    messages are one."""
    found: list[dict[str, Any]] = []
    for message in messages:
        role = "assistant" if message["role"] == "assistant" else "user"
        blocks = _blocks(message)
        if found and found[-1]["role"] == role:
            found[-1]["content"] += blocks
        elif blocks:
            found.append({"role": role, "content": blocks})
    return found


def pieces(events: Iterable[Any]) -> Iterator[Piece | End]:
    """The client's events as pieces. Raises Failure when they end before the message does."""
    blocks: list[dict[str, Any]] = []
    usage, model, reason, num_calls, ended = {}, "", "", 0, False
    for event in events:
        if event.type == "message_start":
            model, usage = event.message.model, _counts(event.message.usage)
        elif event.type == "content_block_start":
            blocks.append(event.content_block.to_dict() | {"json": ""})
            if event.content_block.type == "tool_use":
                yield Piece("call", event.content_block.name, num_calls, event.content_block.id)
                num_calls += 1
        elif event.type == "content_block_delta":
            yield from _delta(event.delta, blocks[-1], num_calls - 1)
        elif event.type == "message_delta":
            reason = event.delta.stop_reason or reason
            usage = usage | _counts(event.usage)
        elif event.type == "message_stop":
            ended = True
    if not ended or not reason:
        raise Failure("the stream ended before the message did")
    yield End(FINISHES.get(reason, reason), _usage(usage), model, _origin(blocks))


def _tool(function: Any) -> dict[str, Any]:
    named = {"name": function["name"], "input_schema": function.get("parameters") or {"type": "object"}}
    return named | ({"description": function["description"]} if function.get("description") else {})


def _blocks(message: Message) -> list[dict[str, Any]]:
    if message["role"] == "tool":
        return [{"type": "tool_result", "tool_use_id": message.get("tool_call_id") or "", "content": text_of(message)}]
    # Signed thoughts have to come back exactly as they were.
    if (origin := origin_of(message, "anthropic")) is not None:
        return list(origin)
    text = text_of(message)
    blocks: list[dict[str, Any]] = [{"type": "text", "text": text}] if text else []
    for call in calls_of(message):
        blocks.append({"type": "tool_use", "id": call.id, "name": call.name, "input": argument_values(call)})
    return blocks


def _delta(delta: Any, block: dict[str, Any], call: int) -> Iterator[Piece]:
    if delta.type == "input_json_delta":
        block["json"] += delta.partial_json
        if delta.partial_json:
            yield Piece("arguments", delta.partial_json, call)
    elif name := _DELTAS.get(delta.type):
        added = getattr(delta, name)
        block[name] = block.get(name, "") + added
        if added and name != "signature":
            yield Piece("text" if name == "text" else "thought", added)


def _origin(blocks: list[dict[str, Any]]) -> dict[str, Any]:
    """The blocks as they have to be sent back; none where there are no thoughts, which alone need it."""
    if not any(block["type"] in ("thinking", "redacted_thinking") for block in blocks):
        return {}
    kept = []
    for block in blocks:
        block = dict(block)
        written = block.pop("json")
        if block["type"] == "tool_use":
            try:
                block["input"] = json.loads(written or "{}")
            except ValueError:  # cut by max_tokens
                return {}
        kept.append({name: value for name, value in block.items() if value is not None})
    names = [block["name"] for block in kept if block["type"] == "tool_use"]
    text = "".join(block["text"] for block in kept if block["type"] == "text")
    return new_origin("anthropic", kept, text, names)


def _counts(usage: Any) -> dict[str, Any]:
    """What an event says of tokens; a later one's numbers replace an earlier one's."""
    return {name: value for name, value in usage.to_dict().items() if value is not None}


def _usage(counts: dict[str, Any]) -> Usage:
    """All that was read: the API counts what it had cached, and what it put there, apart."""
    cached = counts.get("cache_read_input_tokens", 0)
    read = counts.get("input_tokens", 0) + cached + counts.get("cache_creation_input_tokens", 0)
    thought = (counts.get("output_tokens_details") or {}).get("thinking_tokens", 0)
    return Usage(read, counts.get("output_tokens", 0), cached, thought)
