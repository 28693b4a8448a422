"""llama.cpp on a file, for tests: the ids its own tokenizer gives, line by line over one connection."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


class LlamaCpp:
    def __init__(self, server: Any):
        self._server = server
        self._connection = http.client.HTTPConnection(server.listening_address.removeprefix("http://"), timeout=60)

    def close(self) -> None:
        self._connection.close()
        del self._server

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        try:
            return self._ask(path, body)
        except (http.client.RemoteDisconnected, BrokenPipeError):  # it closes a connection that was idle for seconds
            self._connection.close()
            return self._ask(path, body)

    def _ask(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self._connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        return json.load(self._connection.getresponse())

    def ids(self, text: str, add_special: bool = False, parse_special: bool = False) -> list[int]:
        body = {"content": text, "add_special": add_special, "parse_special": parse_special}
        return self.post("/tokenize", body)["tokens"]

    def differences(self, lines: Iterable[str], encode: Any) -> list[tuple[str, list[int], list[int]]]:
        """(line, its ids, ours) wherever they are not the same."""
        pairs = ((line, self.ids(line), encode(line)) for line in lines)
        return [(line, theirs, ours) for line, theirs, ours in pairs if theirs != ours]


@contextmanager
def llama_cpp(path: Path) -> Iterator[LlamaCpp]:
    """A server on a GGUF file, for as long as the block lasts."""
    xllamacpp = pytest.importorskip("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx, params.n_gpu_layers, params.cpuparams.n_threads = 64, 0, 1
    params.warmup = params.fit_params = params.ui = False
    params.verbosity = 0
    client = LlamaCpp(xllamacpp.Server(params))
    try:
        yield client
    finally:
        client.close()


Completion = tuple[list[int], list[dict[int, float]]]
"""Greedy ids, and for each the log-probabilities of the likeliest tokens."""


@contextmanager
def exact_llama_cpp(
    path: Path, context: int = 128, threads: int = 1
) -> Iterator[Callable[[list[int], int], Completion]]:
    """llama.cpp with a float32 cache and plain attention: complete(prompt ids, count)."""
    xllamacpp = pytest.importorskip("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx, params.n_gpu_layers, params.cpuparams.n_threads = context, 0, threads
    params.warmup = params.fit_params = params.ui = False
    params.verbosity = 0
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    client = LlamaCpp(xllamacpp.Server(params))

    def complete(prompt: list[int], count: int) -> Completion:
        body = {"prompt": prompt, "n_predict": count, "samplers": ["top_k"], "top_k": 1, "return_tokens": True}
        answer = client.post("/completion", {**body, "cache_prompt": False, "n_probs": 10})
        probabilities = answer.get("completion_probabilities", [])
        return answer["tokens"], [{t["id"]: t["logprob"] for t in step["top_logprobs"]} for step in probabilities]

    try:
        yield complete
    finally:
        client.close()
