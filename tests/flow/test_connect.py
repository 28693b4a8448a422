"""hanlin.connect against real servers: our own, llama.cpp's; and a model of our own behind the same interface."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import xllamacpp
from serving import HOLDING, Running, Script, running, scripted
from toy import Answer

import hanlin
from hanlin.core.connect import Model
from hanlin.core.connect.failure import RemoteError
from hanlin.core.model import ggml
from hanlin.core.model.gguf.writing import export_gguf
from hanlin.core.text.tokenizer import Tokenizer

QUESTION = [{"role": "user", "content": "人民有無集會之自由？"}]


@pytest.fixture(scope="module")
def server(tiny_tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(scripted(tiny_tokenizer, Script(), tmp_path_factory.mktemp("scripted"))) as started:
        yield started


def test_our_own_server(server: Running) -> None:
    model = hanlin.connect(f"{server.url}/v1#tiny")
    answer = model.reply(QUESTION, temperature=0)
    assert (answer.text, answer.finish, answer.model) == (HOLDING, "stop", "tiny")
    assert "".join(hanlin.chat(model, QUESTION, top_k=3)) == HOLDING
    assert "".join(hanlin.generate(model, "人民", min_p=0.1)) == HOLDING
    found = model.many(["一", "二", "三"], at_once=2, max_tokens=3)
    assert not found.failures and {answer.finish for answer in found.answers if answer} == {"length"}
    assert model.budget.spent.num_requests == 6


def test_our_own_server_refuses_in_four_lines(server: Running) -> None:
    with pytest.raises(RemoteError, match=r"refuses the request \(400\)"):
        hanlin.connect(f"{server.url}/v1#tiny").reply(QUESTION, extra={"top_q": 1})
    with pytest.raises(RemoteError, match=r"not found \(404\)"):
        hanlin.connect(f"{server.url}/v1#tinny").reply(QUESTION)


def test_a_local_model_is_asked_the_same_way(tiny_tokenizer: Tokenizer, tmp_path: Path) -> None:
    engine = hanlin.engine(scripted(tiny_tokenizer, Script(), tmp_path), share_prefixes=False)
    model = hanlin.connect(engine)
    assert isinstance(model, Model)
    answer = model.reply(QUESTION, temperature=0)
    assert answer.text == "".join(hanlin.chat(model, QUESTION)) == "".join(hanlin.generate(model, "人民")) == HOLDING
    assert answer.usage is not None and answer.usage.output_tokens > 50
    found = model.many(["一", "二" * 600, "三"], at_once=2, max_tokens=3)
    assert [answer and answer.finish for answer in found.answers] == ["length", None, "length"]
    assert "tokens" in str(found.failures[1])
    with pytest.warns(UserWarning, match="takes no effort"):
        model.reply(QUESTION, effort="low", max_tokens=1)


def test_a_local_model_calls_tools_and_thinks(tiny_tokenizer: Tokenizer, tmp_path: Path) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    said = '<think>\n想\n</think>\n\n<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>'
    model = hanlin.connect(hanlin.engine(scripted(tiny_tokenizer, Script(said), tmp_path), share_prefixes=False))
    answer = model.reply(QUESTION, tools=[tool])
    assert (answer.thought, answer.text.strip(), answer.finish) == ("想", "", "tool_calls")
    assert [(call.name, call.values) for call in answer.calls] == [("f", {"a": 1})]


def test_llama_cpps_server(tiny_model_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    export_gguf(path, hanlin.load(tiny_model_folder), ggml.F16)
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx, params.n_gpu_layers, params.cpuparams.n_threads = 128, 0, 1
    params.warmup = params.fit_params = params.ui = False
    params.verbosity = 0
    params.use_jinja = True
    server = xllamacpp.Server(params)
    model = hanlin.connect(f"{server.listening_address}/v1#tiny")
    answer = model.reply(QUESTION, temperature=0, max_tokens=8, seed=1)
    assert answer.finish == "length" and answer.usage is not None and answer.usage.output_tokens == 8
    assert "".join(hanlin.generate(model, "人民", temperature=0, max_tokens=4))
    del server


def test_the_command_line(server: Running, command: Callable[..., Answer], tmp_path: Path) -> None:
    address, path = f"{server.url}/v1#tiny", tmp_path / "answers.jsonl"
    options = ("temperature=0", "max_tokens=200")
    first = command("generate", address, "人民", *options, f"record={path}", "budget.tokens=10000")
    assert (first.code, first.out) == (0, f"人民{HOLDING}\n")
    assert first.err.startswith("1 request, ") and "of 10,000 tokens" in first.err
    assert command("generate", address, "人民", *options, f"replay={path}").out == first.out
    assert "no engine" in command("generate", address, "人民", "engine.weights=int8").err
