"""A real server on a free loopback port, and a model that says what a test needs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import openai
import torch
from fastapi import FastAPI

from hanlin.core.model.pretrained import Pretrained
from hanlin.core.model.recurrent import RecurrentState
from hanlin.core.text.tokenizer import Tokenizer
from hanlin.use.serve.app import create_app
from hanlin.use.serve.config import Serve
from hanlin.use.serve.models import Models, served_model
from hanlin.use.serve.run import listen
from hanlin.use.serve.stopping import server_of

HOLDING = (
    "人民有集會之自由，憲法第十四條定有明文。國家為保障人民之集會自由，應提供適當集會場所，"
    "並保護集會、遊行之安全，使其得以順利進行。"
)


@dataclass
class Script:
    """What the model will say, with what pause before each token; `broken_after` tokens its logits are NaN."""

    text: str = HOLDING
    seconds_per_token: float = 0.0
    broken_after: int | None = None
    prompts: list[list[int]] = field(default_factory=list)


class Passes(RecurrentState):
    """How often each text of a batch has been read from."""

    def __init__(self) -> None:
        self.passes_B = torch.zeros(1, dtype=torch.int64)

    def tensors(self) -> list[torch.Tensor]:
        return [self.passes_B]

    def put(self, tensors: Sequence[torch.Tensor]) -> None:
        (self.passes_B,) = tensors


class ScriptedModel:
    """Stands where a Decoder stands. Says the script whatever it is asked, then the stop token."""

    dtype = torch.float32

    def __init__(self, tokenizer: Tokenizer, script: Script, context: int):
        self.max_positions = context
        self.vocab_size = tokenizer.vocab_size
        self.embed_tokens = SimpleNamespace(weight=torch.zeros(1))
        self._tokenizer, self._script = tokenizer, script

    def new_cache(self, batch: int, max_tokens: int) -> SimpleNamespace:
        return SimpleNamespace(states=[Passes()])

    def hidden(self, ids_BT: torch.Tensor, cache: Any) -> torch.Tensor:
        time.sleep(self._script.seconds_per_token)
        (state,) = cache.states
        reply = [*self._tokenizer.encode(self._script.text), self._tokenizer.eos_id]
        logits_B1V = torch.full((len(ids_BT), 1, self._tokenizer.vocab_size), -30.0)
        for row, (ids, said) in enumerate(zip(ids_BT.tolist(), state.passes_B.tolist())):
            if said < 2:
                self._heard(ids, is_first=said == 0)
            said = max(0, said - 1)
            logits_B1V[row, 0, reply[min(said, len(reply) - 1)]] = 30.0
            if said == self._script.broken_after:
                logits_B1V[row] = torch.nan
        state.passes_B = state.passes_B + 1
        return logits_B1V

    def _heard(self, ids: list[int], is_first: bool) -> None:
        """A prompt of two tokens or more comes in two passes: all but its last token, and that."""
        if is_first:
            self._script.prompts.append([])
        self._script.prompts[-1] += ids

    def head(self, logits: torch.Tensor) -> torch.Tensor:
        return logits


def scripted(tokenizer: Tokenizer, script: Script, folder: Path, context: int = 512) -> Pretrained:
    """A Pretrained whose model follows `script`."""
    return Pretrained(ScriptedModel(tokenizer, script, context), tokenizer, None, folder, {})


@dataclass(frozen=True)
class Running:
    url: str
    app: FastAPI

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def wait_until_idle(self, seconds: float = 5.0) -> bool:
        """Whether the model is free again within the time."""
        end = time.monotonic() + seconds
        while self.app.state.models.num_jobs and time.monotonic() < end:
            time.sleep(0.01)
        return self.app.state.models.num_jobs == 0


@contextmanager
def client_of(started: Running, **options: Any) -> Iterator[openai.OpenAI]:
    """The official client; it tries nothing twice."""
    options = {"api_key": "none", "max_retries": 0, "timeout": 30, **options}
    with openai.OpenAI(base_url=f"{started.url}/v1", **options) as client:
        yield client


@contextmanager
def running(
    loaded: Pretrained, name: str = "tiny", others: Mapping[str, Pretrained] | None = None, **options: Any
) -> Iterator[Running]:
    """Serve on a free port until the block ends. others: more models, by name."""
    engine = {"share_prefixes": False, **options.pop("engine", {})}
    config = Serve(engine=engine, **options)
    adapters = {adapter: Path(path) for adapter, path in config.adapters.items()}
    more = [served_model(model, other, config) for other, model in (others or {}).items()]
    app = create_app(Models([served_model(loaded, name, config, adapters), *more]), config)
    with running_app(app) as started:
        yield started


@contextmanager
def running_app(app: FastAPI) -> Iterator[Running]:
    """Serve this application on a free port until the block ends."""
    server = server_of(app)
    with listen("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield Running(f"http://127.0.0.1:{listener.getsockname()[1]}", app)
        finally:
            server.should_exit = True
            thread.join()
