"""Contrastive search: against the formula, every text read anew."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from tiny_families import CONFIGS, tiny_model

from hanlin.core.generate.contrastive import contrastive_search
from hanlin.core.model.pretrained import Pretrained
from hanlin.core.run.errors import HanlinError
from hanlin.core.text.tokenizer import Tokenizer

PROMPT = [40, 7, 300, 12]


@torch.inference_mode()
def by_formula(loaded: Pretrained, k: int, alpha: float, num_tokens: int) -> list[int]:
    ids = list(PROMPT)
    for _ in range(num_tokens):
        shares, tokens = loaded(torch.tensor([ids]))[0, -1].softmax(-1).topk(k)
        scores = []
        for share, token in zip(shares.tolist(), tokens.tolist()):
            states = loaded.model.hidden(torch.tensor([[*ids, token]]))[0]
            likeness = max(F.cosine_similarity(states[-1], before, dim=0).item() for before in states[:-1])
            scores.append((1 - alpha) * share - alpha * likeness)
        ids.append(int(tokens[scores.index(max(scores))]))
    return ids[len(PROMPT) :]


@pytest.mark.parametrize("family", list(CONFIGS))
def test_equals_the_formula(family: str, tiny_tokenizer: Tokenizer) -> None:
    loaded = replace(tiny_model(family, tiny_tokenizer), generation={"eos_token_id": 10**9})
    loaded = replace(loaded, tokenizer=Tokenizer(tiny_tokenizer.backend, {"eos_token": None}))
    for k, alpha in ((4, 0.6), (2, 0.3), (6, 1.0)):
        assert contrastive_search(loaded, PROMPT, k, alpha, 8) == by_formula(loaded, k, alpha, 8)


@pytest.mark.parametrize("k, alpha", [(1, 0.6), (5, 0.0)])
def test_without_a_choice_or_a_weight_it_is_greedy(tiny_tokenizer: Tokenizer, k: int, alpha: float) -> None:
    loaded, ids = tiny_model("qwen3", tiny_tokenizer), list(PROMPT)
    for token in contrastive_search(loaded, PROMPT, k, alpha, 10):
        assert token == loaded(torch.tensor([ids]))[0, -1].argmax()
        ids.append(token)


def test_ends_at_the_stop_token_and_at_the_context(tiny_tokenizer: Tokenizer) -> None:
    loaded = tiny_model("qwen3", tiny_tokenizer)
    found = contrastive_search(loaded, PROMPT, 4, 0.6, 10)
    third = replace(loaded, generation={"eos_token_id": found[2]})
    assert contrastive_search(third, PROMPT, 4, 0.6, 10) == found[: found.index(found[2]) + 1]
    assert len(contrastive_search(loaded, [5] * (loaded.context - 2), 4, 0.6, 10)) <= 2
    with pytest.raises(HanlinError, match="The prompt has 96 tokens"):
        contrastive_search(loaded, [5] * loaded.context, 4, 0.6, 10)
