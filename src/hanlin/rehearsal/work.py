"""What a rehearsal does in processes of its own. Every function takes and returns plain values; libraries are loaded
inside, because the process that asks needs none."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from hanlin.core.run.artifact import open_artifact, write_json
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import Event, silent
from hanlin.rehearsal.estimate import WHOLE, Scale
from hanlin.rooms import ROOMS
from hanlin.workflow import run_room

KILL = getattr(signal, "SIGKILL", signal.SIGTERM)

TOKENS = 8
COUNTING_SECONDS = 3.0
PROMPT = "憲法保障人民之"


@dataclass(frozen=True)
class Made:
    """An artifact of the rehearsal; scale: what the real one is to it."""

    path: str
    kind: str
    metrics: dict[str, Any]
    scale: Scale = WHOLE


def make_step(
    room: str, values: dict[str, Any], out: str, made: Mapping[str, str], kill_after: int | None = None
) -> Made:
    """Run a room as the real run would. kill_after: the training step after which this process is killed, once it is
    logged and before its checkpoint is written."""

    def listen(event: Event) -> None:
        if event["event"] == "step" and event["step"] == kill_after:
            os.kill(os.getpid(), KILL)

    artifacts = {name: open_artifact(path, verify=False) for name, path in made.items()}
    artifact = run_room(ROOMS[room], values, Path(out), artifacts, (listen,), replace=True)
    assert artifact.manifest is not None
    return Made(str(artifact.path), artifact.kind, artifact.manifest.metrics)


def collect(values: dict[str, Any], out: str, real_limit: int | None, inputs: Mapping[str, Made]) -> Made:
    """The first rows of the sources (`limit`), and how many more the real run will read. inputs: steps among them."""
    made = make_step("collect", values, out, {name: step.path for name, step in inputs.items()})
    has_all = made.metrics["rows_read"] < values["limit"] or values["limit"] == real_limit
    if inputs:
        scale = _scale_of_steps(made, [inputs.get(name) for name in _listed(values["sources"])])
    else:
        scale = WHOLE if has_all else _scale(values, real_limit)
    return Made(made.path, made.kind, made.metrics, scale)


def _scale_of_steps(made: Made, sources: list[Made | None]) -> Scale:
    """Where earlier steps are read: their rows, each as many times as the real one has, by the rows that were read."""
    rows = 0.0
    for source in sources:
        if source is None or source.scale.rows is None:
            return Scale(None, None)
        rows += source.metrics["rows"] * source.scale.rows
    times = max(1.0, rows / max(1, made.metrics["rows_read"]))
    return Scale(times, times)


def _scale(values: Mapping[str, Any], real_limit: int | None) -> Scale:
    from hanlin.core.run.sources import fetch
    from hanlin.make.collect.config import Collect
    from hanlin.make.collect.reading.reader import Reading
    from hanlin.make.collect.reading.walk import plan, read_unit

    options = {name: value for name, value in values.items() if name not in ROOMS["collect"].inputs}
    config = Collect.model_validate(options)
    sources, units = plan([fetch(str(address), silent) for address in _listed(values["sources"])])
    reading = Reading(config)
    rows = islice((row for unit in units for row in read_unit(unit, sources[unit.source], reading)), real_limit)
    first = [row.characters for row in islice(rows, config.limit)]
    num_rows, characters = len(first), sum(first)
    began = time.monotonic()
    for row in rows:
        num_rows, characters = num_rows + 1, characters + row.characters
        if time.monotonic() - began > COUNTING_SECONDS:
            return Scale(None, None)
    return Scale(characters / max(1, sum(first)), num_rows / max(1, len(first)))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def learn_tokenizer(values: dict[str, Any], out: str, made: Mapping[str, str], is_sample: bool) -> Made:
    """A vocabulary of the real size: what a sample was too small to give stands in as tokens that no text has."""
    learned = make_step("tokenize", values, out, made)
    wanted = values.get("vocab_size") or ROOMS["tokenize"].config_class.model_fields["vocab_size"].default
    if is_sample and learned.metrics["vocab_size"] < wanted:
        from hanlin.core.text.tokenizer import TOKENIZER_FILE

        path = Path(out) / TOKENIZER_FILE
        body = json.loads(path.read_text(encoding="utf-8"))
        body["model"]["vocab"] |= {f"rehearsal {n}": n for n in range(learned.metrics["vocab_size"], wanted)}
        write_json(path, body)
    return learned


def look(path: str) -> dict[str, Any]:
    """Open what was saved, as any later command would; a few tokens where it is a model that continues text."""
    import torch

    from hanlin.core.generate.sampling import Sampling
    from hanlin.core.generate.stream import stream, text_prompt
    from hanlin.core.model.opening import open_model

    loaded = open_model(path, torch.float32)
    facts: dict[str, Any] = {"kind": getattr(loaded.family, "KIND", "decoder"), "context": loaded.context}
    if facts["kind"] == "decoder":
        sampling = Sampling(temperature=0, max_tokens=TOKENS)
        pieces = list(stream(loaded, text_prompt(loaded, PROMPT), sampling))
        facts |= {"tokens": pieces[-1].num_tokens, "text": "".join(piece.text for piece in pieces)}
    return facts


def export(path: str, out: str) -> dict[str, Any]:
    """A GGUF file, opened again; a Hugging Face folder of what llama.cpp does not know, or would not continue."""
    from hanlin.core.model.gguf.architectures import architecture_of
    from hanlin.core.model.opening import open_source
    from hanlin.export import export_model

    family = open_source(path).family
    form = "gguf" if architecture_of(family) and getattr(family, "KIND", "decoder") == "decoder" else "hf"
    target = Path(out) / ("model.gguf" if form == "gguf" else "exported")
    Path(out).mkdir(parents=True, exist_ok=True)
    export_model(path, form, "", target, lambda line: None)
    size = target.stat().st_size if target.is_file() else sum(p.stat().st_size for p in target.iterdir())
    return {**look(str(target)), "form": form, "bytes": size}


def ask(path: str) -> dict[str, Any]:
    """Serve it on a free port of this machine, and ask once over HTTP: its chat where it has one, else a text."""
    from hanlin.use.serve.run import check_extra, listen

    check_extra()
    import torch
    import uvicorn

    from hanlin.core.model.opening import open_model
    from hanlin.use.serve.app import create_app
    from hanlin.use.serve.config import Serve
    from hanlin.use.serve.models import Models, answers_chats, served_model

    loaded = open_model(path, torch.float32)
    is_chat = answers_chats(loaded)
    asked: dict[str, Any] = {"model": "rehearsal", "max_tokens": TOKENS, "temperature": 0}
    asked |= {"messages": [{"role": "user", "content": PROMPT}]} if is_chat else {"prompt": PROMPT}
    app = create_app(Models([served_model(loaded, "rehearsal", Serve())]), Serve())
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none", lifespan="on"))
    with listen("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        endpoint = "/v1/chat/completions" if is_chat else "/v1/completions"
        answer = _post(listener.getsockname()[1], endpoint, asked)
        server.should_exit = True
        thread.join(10)
    return {"endpoint": endpoint, "tokens": answer["usage"]["completion_tokens"]}


def _post(port: int, endpoint: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Straight to this machine, whatever proxy the environment names."""
    from http.client import HTTPConnection

    connection = HTTPConnection("127.0.0.1", port, timeout=300)
    connection.request("POST", endpoint, json.dumps(asked), {"Content-Type": "application/json"})
    response = connection.getresponse()
    body = json.loads(response.read())
    if response.status != 200:
        raise HanlinError(
            f"The server answered {response.status}: {str(body)[:200]}",
            "200, and a reply",
            "look whether hanlin serve answers the same request",
            "src/hanlin/use/serve/README.md",
        )
    return body


def without_compiler(wanted: Literal["auto", "on", "off"]) -> list[str]:
    """What the real run will say where torch.compile can't work. Raises HanlinError where it insists on it."""
    from hanlin.core.train.compiling import compiler_name, maybe_compile

    said: list[str] = []
    if compiler_name() is None:
        maybe_compile(len, wanted, lambda kind, **fields: said.append(fields["text"]))
    return said
