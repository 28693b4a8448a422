"""vLLM as its documentation describes it: what is asked, what its answers mean. No vLLM runs here."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from recorded_vllm import Recorded, recorded

from hanlin.core.generate.reply import Piece
from hanlin.core.generate.sampling import GREEDY, Sampling
from hanlin.core.run.errors import HanlinError
from hanlin.core.text.tokenizer import Tokenizer
from hanlin.use.serve.backend import Served
from hanlin.use.serve.backends.options import VllmOptions
from hanlin.use.serve.backends.vllm import VllmDialect, open_vllm
from hanlin.use.serve.errors import ApiError


@pytest.fixture
def vllm(tiny_tokenizer: Tokenizer) -> Iterator[Recorded]:
    with recorded(tiny_tokenizer) as server:
        yield server


@pytest.fixture
def served(vllm: Recorded, tiny_model_folder: Path) -> Iterator[Served]:
    model = open_vllm(tiny_model_folder, "mine", VllmOptions(url=vllm.url, max_jobs=2))
    yield model
    model.backend.close()


def write(model: Served, sampling: Sampling = GREEDY) -> tuple[list[Piece], int]:
    async def work() -> tuple[list[Piece], int]:
        job = model.backend.start([1, 2, 3], sampling)
        return [piece async for piece in job.pieces()], job.num_shared

    return asyncio.run(work())


def test_a_stream_becomes_pieces(served: Served, tiny_tokenizer: Tokenizer) -> None:
    pieces, num_shared = write(served)
    ids = [tiny_tokenizer.id_of(token) for token in ("a", "b", "c", "<|im_end|>")]
    assert [piece.token for piece in pieces] == ids
    assert "".join(piece.text for piece in pieces) == "abc"
    assert (pieces[-1].finish, pieces[-1].num_tokens, num_shared) == ("stop", 4, 2)
    assert served.context == 64


def test_logprobs_come_by_id(vllm: Recorded, served: Served, tiny_tokenizer: Tokenizer) -> None:
    vllm.answer = "logprobs"
    (piece,), _ = write(served, GREEDY.model_copy(update={"top_logprobs": 2, "max_tokens": 1}))
    a, b = tiny_tokenizer.id_of("a"), tiny_tokenizer.id_of("b")
    assert piece.finish == "length" and piece.logprobs is not None
    assert piece.logprobs.own == -0.5 and piece.logprobs.likeliest == ((a, -0.5), (b, -1.25))
    assert vllm.bodies[0]["logprobs"] == 2 and vllm.bodies[0]["return_tokens_as_token_ids"] is True


def test_stop_texts_are_ours(served: Served, vllm: Recorded) -> None:
    pieces, _ = write(served, GREEDY.model_copy(update={"stop": ("b",)}))
    assert "".join(piece.text for piece in pieces) == "a" and pieces[-1].finish == "stop"
    assert "stop" not in vllm.bodies[0]


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        ("400", 400, "maximum context length"),
        ("503", 503, "overloaded"),
        ("broken", 502, "EngineCore"),
        ("dead", 502, "broke off|does not answer"),
    ],
)
def test_its_errors_are_told(vllm: Recorded, served: Served, answer: str, status: int, words: str) -> None:
    vllm.answer = answer
    with pytest.raises(ApiError, match=words) as told:
        write(served)
    assert told.value.status == status


def test_cancelling_closes_its_connection(vllm: Recorded, served: Served) -> None:
    vllm.answer = "silent"

    async def work() -> int:
        job = served.backend.start([1, 2, 3], GREEDY)
        pieces = job.pieces()
        await anext(pieces)
        job.cancel()
        assert [piece async for piece in pieces] == []
        return served.backend.num_jobs

    assert asyncio.run(work()) == 0
    assert vllm.left.wait(5)


def test_a_job_cancelled_before_its_first_step_ends(served: Served) -> None:
    async def work() -> list[Piece]:
        job = served.backend.start([1, 2, 3], GREEDY)
        job.cancel()
        return [piece async for piece in job.pieces()]

    assert asyncio.run(work()) == []


def test_too_many_are_told(vllm: Recorded, served: Served) -> None:
    vllm.answer = "silent"

    async def work() -> None:
        jobs = [served.backend.start([1], GREEDY) for _ in range(2)]
        with pytest.raises(ApiError) as told:
            served.backend.start([1], GREEDY)
        assert told.value.status == 429
        for job in jobs:
            job.cancel()

    asyncio.run(work())


def test_where_nobody_listens(tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(HanlinError, match="not installed"):
        open_vllm(tiny_model_folder, "mine", VllmOptions())


def test_a_model_it_does_not_serve(vllm: Recorded, tiny_model_folder: Path) -> None:
    with pytest.raises(HanlinError, match="serves no model other"):
        open_vllm(tiny_model_folder, "mine", VllmOptions(url=vllm.url, model="other"))


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"json_schema": '{"type": "object"}'}, {"structured_outputs": {"json": {"type": "object"}}}),
        ({"regex": "a+"}, {"structured_outputs": {"regex": "a+"}}),
        ({"choices": ("a", "b")}, {"structured_outputs": {"choice": ["a", "b"]}}),
        ({"grammar": 'start: "a"'}, {"structured_outputs": {"grammar": 'start: "a"'}}),
        ({"temperature": 0.5, "top_k": 3, "seed": 7}, {"temperature": 0.5, "top_k": 3, "seed": 7}),
        ({"logit_bias": {5: -100.0}}, {"logit_bias": {"5": -100.0}}),
        ({"frequency_penalty": 0.5, "presence_penalty": 1.0}, {"frequency_penalty": 0.5, "presence_penalty": 1.0}),
    ],
)
def test_options_in_its_words(asked: dict[str, Any], expected: dict[str, Any]) -> None:
    body = VllmDialect("small", [2]).body([1, 2], Sampling(**asked))
    assert {name: body[name] for name in expected} == expected
    assert body["prompt"] == [1, 2] and body["stop_token_ids"] == [2]


@pytest.mark.parametrize("asked", [{"typical_p": 0.5}, {"dry_multiplier": 1.0}, {"mirostat": 2}, {"script": "zh-TW"}])
def test_what_it_has_nothing_for(asked: dict[str, Any]) -> None:
    with pytest.raises(ApiError, match=next(iter(asked))):
        VllmDialect("small", [2]).body([1, 2], Sampling(**asked))
