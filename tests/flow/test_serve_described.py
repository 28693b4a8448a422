"""The server is asked whatever its own description allows, and what it doesn't: no answer is a 500, and each is as
described."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import content_type_conformance, not_a_server_error, response_schema_conformance
from serving import Running, running

from hanlin.core.model.pretrained import load

CHECKS = [not_a_server_error, response_schema_conformance, content_type_conformance]
OPERATIONS = (
    "GET /health",
    "GET /v1/models",
    "GET /v1/models/{wanted}",
    "POST /v1/chat/completions",
    "POST /v1/completions",
    "POST /v1/embeddings",
    "POST /tokenize",
    "POST /detokenize",
)


@pytest.fixture(scope="module")
def server(tiny_model_folder) -> Iterator[Running]:
    with running(load(tiny_model_folder), max_tokens=4) as started:
        yield started


@pytest.fixture(scope="module")
def operations(server: Running) -> dict[str, Any]:
    description = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    found = [result.ok() for result in description.get_all_operations()]
    return {f"{operation.method.upper()} {operation.path}": operation for operation in found}


def test_every_operation_is_asked(operations: dict[str, Any]) -> None:
    assert sorted(operations) == sorted(OPERATIONS)


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        *((name, GenerationMode.POSITIVE) for name in OPERATIONS),
        *((name, GenerationMode.NEGATIVE) for name in OPERATIONS if name.startswith("POST")),
    ],
)
def test_whatever_is_asked_is_answered_as_described(
    server: Running, operations: dict[str, Any], name: str, mode: GenerationMode
) -> None:
    @given(operations[name].as_strategy(generation_mode=mode))
    @settings(max_examples=40, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    def ask(case: Any) -> None:
        if mode is GenerationMode.POSITIVE and isinstance(case.body, dict):
            case.body.update(beyond_the_first_check(case.body))
        case.call_and_validate(base_url=server.url, checks=CHECKS, timeout=20)

    ask()
    assert server.wait_until_idle()


def beyond_the_first_check(body: dict[str, Any]) -> dict[str, Any]:
    """What no description says and would end nearly every request: which model there is, and that a message says
    something."""
    messages = [{"content": "好", **message} for message in body.get("messages") or ()]
    spoken = [{**message, "content": message["content"] or "好"} for message in messages]
    return {"model": "tiny", **({"messages": spoken} if spoken else {})}
