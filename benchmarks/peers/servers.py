"""What benchmarks/serve.py measures, each in a process of its own: the bare engine, our server, llama.cpp's server.

    python benchmarks/peers/servers.py engine|hanlin|llama.cpp MODEL OPTIONS_AS_JSON

A server prints its port. The engine prints 0, then answers each line {"prompts": texts, "count": tokens} with the
seconds it took, and those to each first token.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import IO, Any


def engine(model: str, options: dict[str, Any], out: IO[str]) -> None:
    import hanlin
    from hanlin.core.generate.sampling import GREEDY
    from hanlin.core.generate.stream import text_prompt

    loaded = hanlin.load(model)
    engine = hanlin.engine(loaded, max_streams=options["streams"], share_prefixes=False, **options["engine"])
    never = dict.fromkeys(loaded.stop_ids, -100.0)
    print(0, file=out, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        sampling = GREEDY.model_copy(update={"max_tokens": asked["count"], "logit_bias": never})
        began = time.monotonic()
        tickets = [engine.submit(text_prompt(loaded, text), sampling) for text in asked["prompts"]]
        while engine.busy:
            engine.step()
        answer = {"seconds": time.monotonic() - began, "firsts": [ticket.times.first - began for ticket in tickets]}
        print(json.dumps(answer), file=out, flush=True)


def hanlin_server(model: str, options: dict[str, Any], out: IO[str]) -> None:
    from hanlin.core.run.config import build
    from hanlin.use.serve.app import create_app
    from hanlin.use.serve.backends.opening import open_served
    from hanlin.use.serve.config import Serve
    from hanlin.use.serve.run import listen
    from hanlin.use.serve.stopping import server_of

    engine_options = {"max_streams": options["streams"], "share_prefixes": False, **options["engine"]}
    config = build(Serve, {"name": "model", "engine": engine_options}, "serve")
    app = create_app(open_served(model, config), config)
    with listen("127.0.0.1", 0) as listener:
        print(listener.getsockname()[1], file=out, flush=True)
        server_of(app).run(sockets=[listener])


def llama_server(model: str, options: dict[str, Any], out: IO[str]) -> None:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path, params.n_gpu_layers = model, 0
    params.n_parallel, params.n_ctx = options["streams"], options["streams"] * options["context"]
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options["threads"]
    params.n_threads_http = options["streams"] + 4
    params.kv_unified = True
    params.fit_params = params.ui = params.cache_prompt = False
    params.verbosity = 0
    server = xllamacpp.Server(params)
    print(server.listening_address.rsplit(":", 1)[1], file=out, flush=True)
    sys.stdin.read()
    os._exit(0)  # its threads would abort an orderly end


KINDS = {"engine": engine, "hanlin": hanlin_server, "llama.cpp": llama_server}


def main() -> None:
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print as they like
    kind, model, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    if kind != "llama.cpp":
        import torch

        torch.set_num_threads(options["threads"])
    KINDS[kind](model, options, out)


if __name__ == "__main__":
    main()
