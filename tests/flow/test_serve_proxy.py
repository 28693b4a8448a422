"""The proxy configuration of docs/scale.md: two of our servers behind nginx, and one of them dies."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import openai
import pytest
from serving import HOLDING, Script, running, scripted

from hanlin.core.text.tokenizer import Tokenizer

CONFIG = Path(__file__).parents[2] / "docs" / "proxy" / "nginx.conf"
MESSAGES = [{"role": "user", "content": "人民有無集會之自由？"}]

pytestmark = pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed (Debian: nginx-light)")


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def filled(folder: Path, port: int, replicas: list[int]) -> Path:
    """The documented file with other ports and paths, nothing else changed."""
    text = CONFIG.read_text(encoding="utf-8").replace("/tmp/hanlin-nginx", str(folder / "nginx"))
    text = text.replace("listen 127.0.0.1:8000;", f"listen 127.0.0.1:{port};")
    for documented, replica in zip((8001, 8002), replicas, strict=True):
        text, count = re.subn(rf"127\.0\.0\.1:{documented}\b", f"127.0.0.1:{replica}", text)
        assert count == 1
    path = folder / "nginx.conf"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def started(stack: ExitStack, folder: Path, port: int, replicas: list[int]) -> None:
    command = ["nginx", "-e", "stderr", "-p", str(folder), "-c", str(filled(folder, port, replicas))]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    end = time.monotonic() + 10
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError("nginx does not listen")


def test_two_replicas_share_the_work_and_one_may_die(
    tiny_tokenizer: Tokenizer, tmp_path: Path, nginx: ExitStack
) -> None:
    scripts = [Script(seconds_per_token=0.01), Script(seconds_per_token=0.01)]
    replicas, ports = [ExitStack(), ExitStack()], []
    for stack, script in zip(replicas, scripts):
        nginx.push(stack)
        ports.append(stack.enter_context(running(scripted(tiny_tokenizer, script, tmp_path))).port)
    port = free_port()
    started(nginx, tmp_path, port, ports)
    address = f"http://127.0.0.1:{port}"
    assert httpx.get(f"{address}/health").json()["status"] == "ok"
    with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0, timeout=30) as client:
        streams = [client.chat.completions.create(model="tiny", messages=MESSAGES, stream=True) for _ in range(2)]
        first = [next(iter(stream)) for stream in streams]  # both are under way before either has ended
        assert all(chunk.choices for chunk in first)
        for stream in streams:
            assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == HOLDING
        assert [len(script.prompts) for script in scripts] == [1, 1], "the one with fewer replies gets the next"
        replicas[0].close()
        for _ in range(3):
            reply = client.chat.completions.create(model="tiny", messages=MESSAGES)
            assert reply.choices[0].message.content == HOLDING
        assert len(scripts[1].prompts) == 4
