"""Which program writes, in the words of the command line."""

from __future__ import annotations

import pytest

from hanlin.core.run.config import build, parse_overrides
from hanlin.core.run.errors import HanlinError
from hanlin.use.serve.config import Serve


def options(*words: str) -> Serve:
    return build(Serve, parse_overrides(words), "serve")


def test_an_engine_has_a_name_or_options() -> None:
    assert options("engine=llama", "llama.slots=2").backend == "llama"
    assert options("engine=vllm", "vllm.url=http://127.0.0.1:1").backend == "vllm"
    ours = options("engine.weights=int8")
    assert (ours.backend, ours.engine.weights) == ("hanlin", "int8")


@pytest.mark.parametrize(
    "words", [("engine=other",), ("engine=llama", "engine.weights=int8"), ("engine=llama", "backend=vllm")]
)
def test_what_does_not_go_together(words: tuple[str, ...]) -> None:
    with pytest.raises(HanlinError):
        options(*words)
