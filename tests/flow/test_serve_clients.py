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
PAGES = ("src/hanlin/use/serve/README.md", "docs/serve.md")
ADDRESS = "http://127.0.0.1:8000"
NO_PROXY = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "")


def curl_commands(page: str) -> list[str]:
    """The curl commands of a page's shell blocks that ask a server as it starts without options."""
    path = ROOT / page
    blocks = re.findall(r"^```sh\n(.*?)^```", path.read_text("utf-8") if path.exists() else "", re.M | re.S)
    lines = [line for block in blocks for line in re.split(r"(?<!\\)\n(?! )", block)]
    return [line for line in lines if line.startswith("curl ") and ADDRESS in line and "$" not in line]


COMMANDS = [command for page in PAGES for command in curl_commands(page)]


@pytest.fixture(scope="module")
def server(tiny_tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    loaded = scripted(tiny_tokenizer, Script(), tmp_path_factory.mktemp("scripted"))
    with running(loaded, name="chat") as started:
        yield started


def test_the_pages_show_how_curl_asks() -> None:
    assert len(curl_commands(PAGES[0])) >= 3


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("command", COMMANDS)
def test_the_pages_curl_commands_work(server: Running, command: str) -> None:
    words = shlex.split(command.replace(ADDRESS, server.url).replace("\\\n", " "))
    done = subprocess.run([*words, "--silent", "--fail-with-body", "--max-time", "30"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    if "/chat/completions" in command and '"stream"' not in command:
        assert json.loads(done.stdout)["choices"][0]["message"]["content"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_page_of_tools_shows_a_call(tmp_path: Path) -> None:
    (command,) = curl_commands("docs/tools.md")
    script = Script('<tool_call>\n{"name": "weather", "arguments": {"city": "臺北"}}\n</tool_call>')
    loaded = scripted(tokenizer_of("qwen3"), script, tmp_path, context=1024)
    with running(loaded, name="chat", engine={"chunk_tokens": 1024}) as started:
        words = shlex.split(command.replace(ADDRESS, started.url))
        answer = json.loads(subprocess.run([*words, "--silent"], capture_output=True, text=True).stdout)
    (choice,) = answer["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["tool_calls"][0]["function"] == {"name": "weather", "arguments": '{"city": "臺北"}'}


@pytest.fixture
def llm(server: Running, tmp_path: Path):
    """`llm(words…)`: the command line of that name, told of our server in its own file; answers what it printed."""
    (tmp_path / "extra-openai-models.yaml").write_text(
        f"- model_id: ours\n  model_name: chat\n  api_base: {server.url}/v1\n  supports_schema: true\n", "utf-8"
    )
    environment = {**os.environ, **NO_PROXY, "LLM_USER_PATH": str(tmp_path), "LLM_LOAD_PLUGINS": ""}

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
