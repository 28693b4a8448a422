"""The process in which llama.cpp serves: a fault of its own ends it and not our server.

    python -m hanlin.use.serve.backends.llama_process OPTIONS_AS_JSON

Prints where it listens, then waits until its standard input ends.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any


def main(options: dict[str, Any]) -> None:
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print as they like
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = options["path"]
    params.n_parallel, params.n_gpu_layers = options["slots"], options["gpu_layers"]
    params.n_ctx = options["context"] * options["slots"]
    threads = options["threads"] or num_processors()
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.n_threads_http = options["slots"] + options["max_waiting"] + 4  # each waiting request holds one
    params.fit_params = params.ui = params.endpoint_slots = False
    params.verbosity = 0
    server = xllamacpp.Server(params)
    print(server.listening_address, file=out, flush=True)
    sys.stdin.read()
    os._exit(0)  # its threads would abort an orderly end


def num_processors() -> int:
    """Those this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
