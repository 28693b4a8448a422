"""llama.cpp on a file, for tests: the ids its own tokenizer gives, line by line over one connection."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterable, Iterator
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
