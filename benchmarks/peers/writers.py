"""Programs that write, each in a process of its own: ours, llama.cpp by its server, transformers. The parent asks for
tasks, a line of JSON each, and gets seconds back.

    python benchmarks/peers/writers.py hanlin|llama.cpp|transformers MODEL OPTIONS_AS_JSON

Tasks: prefill n (one token after a prompt of n), decode n (greedy, one stream; the prompt is not counted), streams k n
(k at once, n tokens each, in all), prefix n (first tokens after two prompts that begin with the same n tokens).
"""

from __future__ import annotations

import json
import os
import random
import statistics
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

SHORT = 16
"""Tokens of a prompt where it doesn't matter."""


class Writer(Protocol):
    def first(self, prompt: Sequence[int], again: bool = False) -> float:
        """Seconds to the first token. again: what was read before may be used."""
        ...

    def decode(self, prompt: Sequence[int], count: int) -> float:
        """Seconds from the first to the last of `count` tokens."""
        ...

    def streams(self, prompts: Sequence[Sequence[int]], count: int) -> float:
        """Seconds until all have `count` tokens."""
        ...


class Hanlin:
    def __init__(self, model: str, options: dict[str, Any]):
        import torch

        import hanlin
        from hanlin.core.generate.sampling import GREEDY

        torch.set_num_threads(options.pop("threads"))
        loaded = hanlin.load(model)
        object.__setattr__(loaded, "generation", {"eos_token_id": 10**9})  # it writes on to the count
        self.engine, self._greedy = hanlin.engine(loaded, **options), GREEDY

    def first(self, prompt: Sequence[int], again: bool = False) -> float:
        return self._times(prompt, 1)[0]

    def decode(self, prompt: Sequence[int], count: int) -> float:
        first, last = self._times(prompt, count)
        return last - first

    def streams(self, prompts: Sequence[Sequence[int]], count: int) -> float:
        began = time.perf_counter()
        for prompt in prompts:
            self.engine.submit(prompt, self._greedy.model_copy(update={"max_tokens": count}))
        while self.engine.busy:
            self.engine.step()
        return time.perf_counter() - began

    def _times(self, prompt: Sequence[int], count: int) -> tuple[float, float]:
        began, times = time.perf_counter(), []
        for _ in self.engine.stream(prompt, self._greedy.model_copy(update={"max_tokens": count})):
            times.append(time.perf_counter() - began)
        assert len(times) == count
        return times[0], times[-1]


class LlamaCpp:
    def __init__(self, model: str, options: dict[str, Any]):
        import http.client

        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path, params.n_gpu_layers = model, 0
        params.n_parallel, params.n_ctx = options["streams"], options["context"]
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options["threads"]
        params.kv_unified = True
        params.warmup = params.fit_params = params.ui = False
        params.verbosity = 0
        self._server = xllamacpp.Server(params)
        self._connect = lambda: http.client.HTTPConnection(
            self._server.listening_address.removeprefix("http://"), timeout=600
        )

    def first(self, prompt: Sequence[int], again: bool = False) -> float:
        return self._ask(prompt, 1, cache=again)["timings"]["prompt_ms"] / 1000

    def decode(self, prompt: Sequence[int], count: int) -> float:
        return self._ask(prompt, count)["timings"]["predicted_ms"] / 1000 * (count - 1) / count

    def streams(self, prompts: Sequence[Sequence[int]], count: int) -> float:
        began = time.perf_counter()
        with ThreadPoolExecutor(len(prompts)) as pool:
            list(pool.map(lambda prompt: self._ask(prompt, count), prompts))
        return time.perf_counter() - began

    def _ask(self, prompt: Sequence[int], count: int, cache: bool = False) -> dict[str, Any]:
        body = {"prompt": list(prompt), "n_predict": count, "ignore_eos": True, "cache_prompt": cache}
        connection = self._connect()
        body |= {"samplers": ["top_k"], "top_k": 1}
        connection.request("POST", "/completion", json.dumps(body), {"Content-Type": "application/json"})
        answer = json.load(connection.getresponse())
        connection.close()
        assert answer["tokens_predicted"] == count, answer
        return answer


class Transformers:
    """A Hugging Face folder, in bfloat16."""

    def __init__(self, model: str, options: dict[str, Any]):
        import torch
        from transformers import AutoModelForCausalLM

        torch.set_num_threads(options["threads"])
        self._torch = torch
        self._model = AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16).eval()

    def first(self, prompt: Sequence[int], again: bool = False) -> float:
        torch = self._torch
        began = time.perf_counter()
        with torch.inference_mode():
            self._model(torch.tensor([list(prompt)]), use_cache=True, logits_to_keep=1).logits.argmax(-1)
        return time.perf_counter() - began

    def decode(self, prompt: Sequence[int], count: int) -> float:
        return self._generate([prompt], count) - self._generate([prompt], 1)

    def streams(self, prompts: Sequence[Sequence[int]], count: int) -> float:
        return self._generate(prompts, count)

    def _generate(self, prompts: Sequence[Sequence[int]], count: int) -> float:
        torch = self._torch
        ids = torch.tensor([list(prompt) for prompt in prompts])
        began = time.perf_counter()
        self._model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            min_new_tokens=count,
            max_new_tokens=count,
            do_sample=False,
            pad_token_id=0,
        )
        return time.perf_counter() - began


WRITERS = {"hanlin": Hanlin, "llama.cpp": LlamaCpp, "transformers": Transformers}


def answer(writer: Writer, task: str, numbers: Sequence[int], draw: random.Random, vocabulary: Sequence[int]) -> Any:
    """Seconds; of the task prefix two numbers."""

    def prompt(count: int) -> list[int]:
        return draw.choices(vocabulary, k=count)

    if task == "prefill":
        return writer.first(prompt(numbers[0]))
    if task == "decode":
        return writer.decode(prompt(SHORT), numbers[0])
    if task == "streams":
        return writer.streams([prompt(SHORT) for _ in range(numbers[0])], numbers[1])
    beginning = prompt(numbers[0])
    return [writer.first(beginning + prompt(SHORT), again=True) for _ in range(2)]


def serve(name: str, model: str, options: dict[str, Any]) -> None:
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print as they like
    vocabulary, draw = options.pop("vocabulary"), random.Random(options.pop("seed"))
    writer: Writer = WRITERS[name](model, options)
    first = writer.first(draw.choices(vocabulary, k=SHORT))
    print(json.dumps({"ready": first}), file=out, flush=True)
    for line in sys.stdin:
        task, *numbers = line.split()
        print(json.dumps(answer(writer, task, [int(n) for n in numbers], draw, vocabulary)), file=out, flush=True)
    os._exit(0)  # servers' threads would abort an orderly end


def median(numbers: Sequence[float]) -> float:
    return statistics.median(numbers)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    serve(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))
