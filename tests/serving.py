"""A real server on a free loopback port, and a model that says what a test needs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import torch
import uvicorn
from fastapi import FastAPI

from hanlin.core.model.pretrained import Pretrained
from hanlin.core.text.tokenizer import Tokenizer
from hanlin.use.serve.app import create_app
from hanlin.use.serve.config import Serve
from hanlin.use.serve.run import listen

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


class ScriptedModel:
    """Stands where a Decoder stands. Says the script whatever it is asked, then the stop token."""

    def __init__(self, tokenizer: Tokenizer, script: Script, context: int):
        self.max_positions = context
        self._tokenizer, self._script = tokenizer, script

    def new_cache(self, batch: int, max_tokens: int) -> SimpleNamespace:
        return SimpleNamespace(num_said=0, reply=[*self._tokenizer.encode(self._script.text), self._tokenizer.eos_id])

    def hidden(self, ids_BT: torch.Tensor, cache: SimpleNamespace) -> torch.Tensor:
        if cache.num_said == 0:
            self._script.prompts.append(ids_BT[0].tolist())
        time.sleep(self._script.seconds_per_token)
        logits_BTV = torch.full((1, 1, self._tokenizer.vocab_size), -30.0)
        logits_BTV[0, 0, cache.reply[min(cache.num_said, len(cache.reply) - 1)]] = 30.0
        if cache.num_said == self._script.broken_after:
            logits_BTV[:] = torch.nan
        cache.num_said += 1
        return logits_BTV

    def head(self, logits_BTV: torch.Tensor) -> torch.Tensor:
        return logits_BTV


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
        while self.app.state.turns.num_jobs and time.monotonic() < end:
            time.sleep(0.01)
        return self.app.state.turns.num_jobs == 0


@contextmanager
def running(loaded: Pretrained, name: str = "tiny", **options: object) -> Iterator[Running]:
    """Serve on a free port until the block ends."""
    app = create_app(loaded, name, Serve(**options))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", ws="none", timeout_graceful_shutdown=1))
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
