"""Clients that others wrote: curl with the commands of our own pages, and `llm`."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from chat_templates import tokenizer_of
from serving import HOLDING, Running, Script, running, scripted

from hanlin.core.text.tokenizer import Tokenizer

ROOT = Path(__file__).parents[2]
PAGE, OPERATING = "src/hanlin/use/serve/README.md", "docs/serve.md"
ADDRESS = "http://127.0.0.1:8000"
PROXIES = ("http_proxy", "https_proxy", "all_proxy")
ENVIRONMENT = {name: value for name, value in os.environ.items() if name.lower() not in PROXIES}


def commands(page: str, start: str) -> list[str]:
    """The commands of a page's shell blocks that begin so, prompts left out."""
    blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / page).read_text("utf-8"), re.MULTILINE | re.DOTALL)
    lines = [line.removeprefix("$ ") for block in blocks for line in re.split(r"(?<!\\)\n(?! )", block)]
    return [line.replace("\\\n", " ") for line in lines if line.startswith(start)]


@pytest.fixture(scope="module")
def server(tiny_tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    loaded = scripted(tiny_tokenizer, Script(), tmp_path_factory.mktemp("scripted"))
    with running(loaded, name="chat") as started:
        yield started


def curl(command: str, folder: Path | None = None) -> str:
    """What a command of a page prints, run in this folder."""
    words = [*shlex.split(command), "--silent", "--fail-with-body", "--max-time", "30"]
    done = subprocess.run(words, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("command", commands(PAGE, f"curl {ADDRESS}"))
def test_the_page_of_the_server_shows_how_curl_asks(server: Running, command: str) -> None:
    answer = json.loads(curl(command.replace(ADDRESS, server.url)))
    if "/chat/completions" in command:
        assert answer["choices"][0]["message"]["content"] == HOLDING


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("openssl")), reason="curl or openssl is not installed")
def test_the_page_of_operating_shows_how_curl_asks(tiny_tokenizer: Tokenizer, tmp_path: Path) -> None:
    (certificate,) = commands(OPERATING, "openssl req")
    subprocess.run(shlex.split(certificate), cwd=tmp_path, check=True, capture_output=True)
    files = {"tls_cert": str(tmp_path / "cert.pem"), "tls_key": str(tmp_path / "key.pem")}
    loaded = scripted(tiny_tokenizer, Script(), tmp_path)
    with running(loaded, cors=("https://a.example",), **files) as started:
        secure = [
            command.replace("localhost:8732", f"localhost:{started.port}") for command in commands(OPERATING, "curl")
        ]
        answers = [curl(command, tmp_path) for command in secure]
    assert any(json.loads(answer) == {"status": "ok"} for answer in answers if answer.startswith("{"))
    assert any("access-control-allow-origin: https://a.example" in answer for answer in answers)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_page_of_tools_shows_a_call(tmp_path: Path) -> None:
    (command,) = commands("docs/tools.md", "curl")
    script = Script('<tool_call>\n{"name": "weather", "arguments": {"city": "臺北"}}\n</tool_call>')
    loaded = scripted(tokenizer_of("qwen3"), script, tmp_path, context=1024)
    with running(loaded, name="chat", engine={"chunk_tokens": 1024}) as started:
        answer = json.loads(curl(command.replace(ADDRESS, started.url)))
    (choice,) = answer["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["tool_calls"][0]["function"] == {"name": "weather", "arguments": '{"city": "臺北"}'}


@pytest.fixture
def llm(server: Running, tmp_path: Path):
    """`llm(words…)`: the command line of that name, told of our server in its own file; answers what it printed."""
    (tmp_path / "extra-openai-models.yaml").write_text(
        f"- model_id: ours\n  model_name: chat\n  api_base: {server.url}/v1\n  supports_schema: true\n", "utf-8"
    )
    environment = {**ENVIRONMENT, "LLM_USER_PATH": str(tmp_path), "LLM_LOAD_PLUGINS": ""}

    def run(*words: str) -> str:
        command = [sys.executable, "-m", "llm", *words]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.mark.parametrize("way", [[], ["--no-stream"]])
def test_llm_asks_and_is_answered(llm, way: list[str]) -> None:
    assert llm("-m", "ours", "--key", "none", *way, "人民有無集會之自由？").strip() == HOLDING


def test_llm_passes_options_and_goes_on_with_a_conversation(llm) -> None:
    llm("-m", "ours", "--key", "none", "-s", "簡短", "-o", "max_tokens", "3", "-o", "seed", "1", "第一問")
    assert llm("-m", "ours", "--key", "none", "-c", "第二問").strip() == HOLDING
    (last, *_) = json.loads(llm("logs", "--json", "-n", "1"))
    assert (last["prompt"], last["output_tokens"]) == ("第二問", last["output_tokens"]) and last["output_tokens"] > 10
