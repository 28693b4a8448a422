"""The recorded conversations are of the providers' form: each is read with the types of their own client packages."""

from __future__ import annotations

from typing import Any

import pytest
from anthropic.types import RawMessageStreamEvent
from google.genai.types import GenerateContentResponse
from openai.types.chat import ChatCompletionChunk
from pydantic import TypeAdapter
from recorded_server import cases

TYPES: dict[str, Any] = {
    "openai": ChatCompletionChunk,
    "anthropic": RawMessageStreamEvent,
    "gemini": GenerateContentResponse,
}


def events_of(provider: str) -> list[Any]:
    """Every event that is meant to be one: no broken JSON, no ping, no error."""
    found = [event for case in cases(provider).values() for exchange in case for event in exchange.get("events", ())]
    return [
        event for event in found if isinstance(event, dict) and event.get("type") != "ping" and "error" not in event
    ]


@pytest.mark.parametrize("provider", TYPES)
def test_every_event_is_one_of_the_clients_own(provider: str) -> None:
    reader = TypeAdapter(TYPES[provider])
    events = events_of(provider)
    assert len(events) > 20
    for event in events:
        reader.validate_python(event)
