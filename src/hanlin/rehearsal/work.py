"""What a rehearsal does in processes of its own. Every function takes and returns plain values; libraries are loaded
inside, because the process that asks needs none."""

from __future__ import annotations

import heapq
import json
import os
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from hanlin.core.run.artifact import Manifest, open_artifact, write_json, write_manifest
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import Event, silent
from hanlin.rehearsal.estimate import Scale
from hanlin.rooms import ROOMS
from hanlin.workflow import run_room

KILL = getattr(signal, "SIGKILL", signal.SIGTERM)

TEXT_CHARACTERS = 1_000_000
"""Of documents: as many are encoded where the corpus has no tokens yet."""

TOKENS = 8
COUNTING_SECONDS = 3.0
PROMPT = "憲法保障人民之"


@dataclass(frozen=True)
class Made:
    """An artifact of the rehearsal; scale: what the real one is to it."""

    path: str
    kind: str
    metrics: dict[str, Any]
    scale: Scale = Scale()


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


def collect(values: dict[str, Any], out: str) -> Made:
    """The first rows of the sources (`limit`), and how much there is in all."""
    made = make_step("collect", values, out, {})
    return Made(made.path, made.kind, made.metrics, _scale(values))


def _scale(values: Mapping[str, Any]) -> Scale:
    """All of the sources to their first `limit` rows."""
    from hanlin.core.run.sources import fetch
    from hanlin.make.collect.config import Collect
    from hanlin.make.collect.read import read_sources

    sources = values["sources"] if isinstance(values["sources"], list) else [values["sources"]]
    config = Collect.model_validate({name: value for name, value in values.items() if name != "sources"})
    rows = read_sources([fetch(str(address), silent) for address in sources], config, [], silent)
    first = [row.characters for row in islice(rows, config.limit)]
    num_rows, characters = len(first), sum(first)
    began = time.monotonic()
    for row in rows:
        num_rows, characters = num_rows + 1, characters + row.characters
        if time.monotonic() - began > COUNTING_SECONDS:
            return Scale(None, None)
    return Scale(characters / max(1, sum(first)), num_rows / max(1, len(first)))


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


def sample_corpus(path: str, out: str, most_rows: int, longest: int, tokenizer: str) -> Made:
    """A small corpus instead of a large one: its first rows and its longest. The corpus itself where it is small, or
    where the tokenizer (a folder, or "") has made its tokens already."""
    from hanlin.core.text.documents import KEPT, count_rows, read_rows
    from hanlin.core.text.shards import has_shards

    corpus = open_artifact(path, ("corpus",))
    assert corpus.manifest is not None
    kind, metrics = corpus.manifest.metrics.get("kind", "text"), corpus.manifest.metrics
    is_short = kind == "chat" or metrics.get("characters", 0) <= 2 * TEXT_CHARACTERS
    has_few = kind == "text" or count_rows(corpus, "train") <= most_rows + longest
    if (is_short and has_few) or (tokenizer and has_shards(Path(tokenizer) / "tokens", corpus)):
        return Made(path, "corpus", metrics)
    Path(out).mkdir(parents=True)
    totals = {split: _write_sample(read_rows(corpus, split), Path(out), split, most_rows, longest) for split in KEPT}
    write_json(Path(out) / "report.json", {"sample of": path})
    _write_sample(iter(()), Path(out), "rejected", 0, 0)
    manifest = corpus.manifest
    write_manifest(
        Path(out),
        Manifest(
            "corpus", "collect", "sample", manifest.config, manifest.inputs, {}, metrics, manifest.version,
            f"{corpus.id[:16]}-sample", manifest.environment,
        ),
    )  # fmt: skip
    kept, whole = totals["train"]
    return Made(out, "corpus", metrics, Scale(whole[1] / max(1, kept[1]), whole[0] / max(1, kept[0])))


def _write_sample(
    rows: Any, folder: Path, split: str, most_rows: int, longest: int
) -> tuple[tuple[int, int], tuple[int, int]]:
    """((rows, characters) kept, the same of all). Of held-out text a tenth, of held-out conversations few."""
    from hanlin.core.text.documents import RowWriter

    most_characters = TEXT_CHARACTERS if split == "train" else TEXT_CHARACTERS // 10
    most_rows = most_rows if split == "train" else min(most_rows, 8)
    first, largest, counts = [], [], [0, 0]  # type: ignore[var-annotated]
    for number, row in enumerate(rows):
        if row.kind == "text":
            if counts[1] < most_characters:
                first.append(row)
        elif number < most_rows:
            first.append(row)
        else:
            heapq.heappush(largest, (row.characters, number, row))
            if len(largest) > longest:
                heapq.heappop(largest)
        counts = [counts[0] + 1, counts[1] + row.characters]
    kept = [*first, *(row for *_, row in largest)]
    with RowWriter(folder / f"{split}.parquet") as writer:
        for row in kept:
            writer.add(row)
    return (len(kept), sum(row.characters for row in kept)), (counts[0], counts[1])


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
    """A GGUF file, opened again; a Hugging Face folder where llama.cpp has no such architecture."""
    from hanlin.core.model.gguf.architectures import architecture_of
    from hanlin.core.model.opening import open_source
    from hanlin.export import export_model

    form = "gguf" if architecture_of(open_source(path).family) else "hf"
    target = Path(out) / ("model.gguf" if form == "gguf" else "exported")
    Path(out).mkdir(parents=True, exist_ok=True)
    export_model(path, form, "", target, lambda line: None)
    size = target.stat().st_size if target.is_file() else sum(p.stat().st_size for p in target.iterdir())
    return {**look(str(target)), "form": form, "bytes": size}


def ask(path: str) -> dict[str, Any]:
    """Serve it on a free port of this machine, and ask once over HTTP: its chat where it has one, else a text."""
    import torch
    import uvicorn

    from hanlin.core.model.opening import open_model
    from hanlin.use.serve.app import answers_chats, create_app
    from hanlin.use.serve.config import Serve
    from hanlin.use.serve.run import listen

    check_extra()
    loaded = open_model(path, torch.float32)
    is_chat = answers_chats(loaded)
    asked: dict[str, Any] = {"model": "rehearsal", "max_tokens": TOKENS, "temperature": 0}
    asked |= {"messages": [{"role": "user", "content": PROMPT}]} if is_chat else {"prompt": PROMPT}
    server = uvicorn.Server(
        uvicorn.Config(create_app(loaded, "rehearsal", Serve()), log_level="warning", ws="none", lifespan="on")
    )
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


def without_compiler(wanted: str) -> list[str]:
    """What the real run will say where torch.compile can't work. Raises HanlinError where it insists on it."""
    from hanlin.core.train.compiling import compiler_name, maybe_compile

    said: list[str] = []
    if compiler_name() is None:
        maybe_compile(len, wanted, lambda kind, **fields: said.append(fields["text"]))  # type: ignore[arg-type]
    return said
