"""Adapters behind the server: asked for as models, several at once, each what its merged model answers."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from openai import NotFoundError, OpenAI
from serving import running
from toy import small_decoder

import hanlin
from hanlin.core.model.adapters.attach import Lora, attach
from hanlin.core.model.adapters.base import base_of
from hanlin.core.model.adapters.folder import write_adapter
from hanlin.core.model.families import qwen3
from hanlin.core.model.pretrained import Pretrained, save
from hanlin.core.text.tokenizer import Tokenizer

QUESTION = [{"role": "user", "content": "台灣最高的山？"}]
OPTIONS = {"temperature": 0, "max_tokens": 8}


def trained(folder: Path, loaded: Pretrained, seed: int) -> Path:
    model = copy.deepcopy(loaded.model)
    attach(model, qwen3, Lora(rank=2), seed)
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in (p for p in model.parameters() if p.requires_grad):
            parameter.add_(torch.empty(parameter.shape).normal_(0, 0.3, generator=random))
    folder.mkdir()
    write_adapter(folder, model, qwen3, Lora(rank=2), base_of(loaded.path), loaded.tokenizer, loaded.generation)
    return folder


def test_adapters_are_models_to_clients(tmp_path: Path, tiny_tokenizer: Tokenizer) -> None:
    (tmp_path / "base").mkdir()
    save(
        tmp_path / "base", small_decoder(vocab_size=tiny_tokenizer.vocab_size, max_positions=96), qwen3, tiny_tokenizer
    )
    loaded = hanlin.load(tmp_path / "base")
    adapters = {name: str(trained(tmp_path / name, loaded, seed)) for seed, name in enumerate(["law", "news"])}
    paths = {"tiny": tmp_path / "base", **{name: Path(path) for name, path in adapters.items()}}
    alone = {name: "".join(hanlin.chat(hanlin.load(path), QUESTION, **OPTIONS)) for name, path in paths.items()}
    assert len(set(alone.values())) == 3
    with running(loaded, adapters=adapters) as server:
        client = OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)

        def answer(name: str) -> str:
            made = client.chat.completions.create(
                model=name, messages=QUESTION, extra_body={"repetition_penalty": 1.1}, **OPTIONS
            )
            return made.choices[0].message.content or ""

        assert {model.id for model in client.models.list()} == {"tiny", "law", "news"}
        with ThreadPoolExecutor(6) as clients:
            answers = list(clients.map(answer, [*alone] * 3))
        assert answers == [*alone.values()] * 3
        with pytest.raises(NotFoundError, match="law"):
            answer("poems")
