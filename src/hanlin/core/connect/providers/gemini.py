"""Google's Gemini API. https://ai.google.dev/api/generate-content"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from hanlin.core.connect.address import Address
from hanlin.core.connect.answer import Call, End, Piece, Usage
from hanlin.core.connect.failure import Failure, failure_of
from hanlin.core.connect.request import Request, function_of
from hanlin.core.connect.turns import argument_values, calls_of, new_origin, origin_of, part_system, text_of
from hanlin.core.text.messages import Message

SKIPPED = {"gemini": ("min_p", "repetition_penalty")}

FINISHES = {"STOP": "stop", "MAX_TOKENS": "length"}

FILTERED = (
    "SAFETY",
    "RECITATION",
    "LANGUAGE",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "ESCALATION",
    "MODEL_ARMOR",
)
"""Reasons for which the provider takes a reply away. Any other is a failure of its own."""

_AS_THEY_ARE = ("temperature", "top_p", "top_k", "frequency_penalty", "presence_penalty", "seed")
_CHOICES = {"auto": "AUTO", "required": "ANY", "none": "NONE"}
_OWN_ID = "hanlin_call_"
"""Begins the id of a call that came without one: the API must not see it."""

_TEXTS_AT_ONCE = 100


class Client:
    """Through the official client, which doesn't retry unless told to."""

    def __init__(self, address: Address, key: str, timeout_seconds: float):
        import httpx
        from google import genai
        from google.genai import errors, types

        options = types.HttpOptions(base_url=address.url or None, timeout=int(timeout_seconds * 1000))
        # Said outright: the environment may ask for the other service of the same client.
        self._client = genai.Client(api_key=key, vertexai=False, http_options=options)
        self._errors: tuple[type[Exception], ...] = (errors.APIError, httpx.HTTPError, *_newer_errors(), ValueError)

    def events(self, request: Request) -> Iterator[Piece | End]:
        asked = body(request)
        try:
            yield from pieces(self._client.models.generate_content_stream(**asked))
        except self._errors as error:
            raise failure_of(error) from None

    def vectors(self, request: Request) -> tuple[list[list[float]], Usage | None]:
        vectors: list[list[float]] = []
        try:
            for start in range(0, len(request.texts), _TEXTS_AT_ONCE):
                texts = list(request.texts[start : start + _TEXTS_AT_ONCE])
                answer = self._client.models.embed_content(model=request.model, contents=texts)
                vectors += [item.values or [] for item in answer.embeddings or ()]
        except self._errors as error:
            raise failure_of(error) from None
        return vectors, None


def body(request: Request) -> dict[str, Any]:
    """The request as the client wants it. Raises RequestError for a conversation the API has no form for."""
    settings = request.settings
    system, messages = part_system(request.messages, "gemini")
    config = {name: getattr(settings, name) for name in _AS_THEY_ARE if getattr(settings, name) is not None}
    if system:
        config["system_instruction"] = system
    if settings.max_tokens is not None:
        config["max_output_tokens"] = settings.max_tokens
    if settings.stop:
        config["stop_sequences"] = list(settings.stop)
    if (schema := settings.schema_values) is not None:
        config |= {"response_mime_type": "application/json", "response_json_schema": schema}
    if settings.effort:
        config["thinking_config"] = {"include_thoughts": True, "thinking_level": settings.effort.upper()}
    if request.tools:
        config["tools"] = [{"function_declarations": [_tool(function_of(tool)) for tool in request.tools]}]
        config["tool_config"] = {"function_calling_config": _choice(request.tool_choice)}
        config["automatic_function_calling"] = {"disable": True}
    if settings.extra:
        config["http_options"] = {"extra_body": settings.extra}
    return {"model": request.model, "contents": contents(messages), "config": config}


def contents(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """OpenAI's messages as turns of parts; a tool's result says the function's name, which is that of its call."""
    found: list[dict[str, Any]] = []
    calls: dict[str, Call] = {}
    for message in messages:
        role = "model" if message["role"] == "assistant" else "user"
        if role == "model":
            calls |= {call.id: call for call in calls_of(message)}
        parts = [_result(message, calls)] if message["role"] == "tool" else _parts(message)
        if found and found[-1]["role"] == role:
            found[-1]["parts"] += parts
        else:
            found.append({"role": role, "parts": parts})
    return found


def pieces(chunks: Iterable[Any]) -> Iterator[Piece | End]:
    """The client's chunks as pieces. Raises Failure when they end before the reply does, or when it is no reply."""
    parts: list[dict[str, Any]] = []
    reason, usage, model, num_calls = "", None, "", 0
    for chunk in chunks:
        model, usage = chunk.model_version or model, _usage(chunk.usage_metadata) or usage
        if chunk.prompt_feedback and chunk.prompt_feedback.block_reason:
            reason = "SAFETY"
        for candidate in (chunk.candidates or [])[:1]:
            reason = candidate.finish_reason.name if candidate.finish_reason else reason
            for part in (candidate.content.parts if candidate.content else None) or ():
                _keep(parts, part)
                yield from _piece(part, num_calls)
                num_calls += part.function_call is not None
    if not reason:
        raise Failure("the stream ended before the reply did")
    if reason not in FINISHES and reason not in FILTERED:
        raise Failure(f"the reply ended with {reason}", can_retry=True)
    finish = FINISHES.get(reason, "content_filter")
    yield End("tool_calls" if num_calls and finish == "stop" else finish, usage, model, _origin(parts))


def _tool(function: Any) -> dict[str, Any]:
    named = {"name": function["name"], "description": function.get("description") or ""}
    return named | ({"parameters_json_schema": function["parameters"]} if function.get("parameters") else {})


def _choice(choice: str) -> dict[str, Any]:
    return {"mode": _CHOICES[choice]} if choice in _CHOICES else {"mode": "ANY", "allowed_function_names": [choice]}


def _parts(message: Message) -> list[dict[str, Any]]:
    # Signed parts have to come back exactly as they were.
    if (origin := origin_of(message, "gemini")) is not None:
        return list(origin)
    calls = [
        {"function_call": {"name": call.name, "args": argument_values(call), **_id(call.id)}}
        for call in calls_of(message)
    ]
    text = text_of(message)
    return [*([{"text": text}] if text or not calls else []), *calls]


def _result(message: Message, calls: dict[str, Call]) -> dict[str, Any]:
    """The API wants an object: a result that is none is put into one."""
    known = message.get("tool_call_id") or ""
    name = message.get("name") or (calls[known].name if known in calls else "")
    text = text_of(message)
    try:
        response = json.loads(text)
    except ValueError:
        response = text
    response = response if isinstance(response, dict) else {"result": response}
    return {"function_response": {"name": name, "response": response, **_id(known)}}


def _id(known: str) -> dict[str, str]:
    return {"id": known} if known and not known.startswith(_OWN_ID) else {}


def _piece(part: Any, number: int) -> Iterator[Piece]:
    if part.function_call is not None:
        call = part.function_call
        yield Piece("call", call.name or "", number, call.id or f"{_OWN_ID}{number}")
        yield Piece("arguments", json.dumps(call.args or {}, ensure_ascii=False), number)
    elif part.text:
        yield Piece("thought" if part.thought else "text", part.text)


def _keep(parts: list[dict[str, Any]], part: Any) -> None:
    """Put a part behind the others, in the API's own form; texts that only the stream has parted are one again."""
    new = part.model_dump(mode="json", by_alias=True, exclude_none=True)
    if parts and new.keys() == {"text"} == parts[-1].keys():
        parts[-1] = {"text": parts[-1]["text"] + new["text"]}
    else:
        parts.append(new)


def _origin(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """The parts as they have to be sent back; none where nothing is signed."""
    if not any("thoughtSignature" in part for part in parts):
        return {}
    text = "".join(part.get("text", "") for part in parts if not part.get("thought"))
    return new_origin("gemini", parts, text, [p["functionCall"].get("name", "") for p in parts if "functionCall" in p])


def _usage(usage: Any) -> Usage | None:
    """The API counts thoughts beside the reply; here they are part of it, as elsewhere."""
    if usage is None:
        return None
    thought = usage.thoughts_token_count or 0
    read = (usage.prompt_token_count or 0) + (usage.tool_use_prompt_token_count or 0)
    return Usage(read, (usage.candidates_token_count or 0) + thought, usage.cached_content_token_count or 0, thought)


def _newer_errors() -> tuple[type[Exception], ...]:
    """The client takes the newer of two HTTP libraries where it is installed."""
    try:
        import httpx2
    except ImportError:
        return ()
    return (httpx2.HTTPError,)
