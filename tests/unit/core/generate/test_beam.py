"""Beam search: against a search that reads every text anew, and against trying everything."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_families import CONFIGS, tiny_model

from hanlin.core.generate.beam import Beam, beam_search
from hanlin.core.model.decoder import plain_embedding
from hanlin.core.model.pretrained import Pretrained
from hanlin.core.run.errors import HanlinError
from hanlin.core.text.tokenizer import Tokenizer

PROMPT = [40, 7, 300, 12]


def log_shares(loaded: Pretrained, ids: Sequence[int]) -> torch.Tensor:
    return loaded(torch.tensor([ids]))[0, -1].log_softmax(-1)


def plain_groups(
    loaded: Pretrained, size: int, num_groups: int, penalty: float, max_tokens: int
) -> list[tuple[float, list[int]]]:
    """Texts that go on at full length, group after group, each token's candidates all sorted; no text may end."""
    groups: list[list[tuple[float, list[int]]]] = [[(0.0, [])] for _ in range(num_groups)]
    for _ in range(max_tokens):
        used = torch.zeros(loaded.model.vocab_size)
        for number, group in enumerate(groups):
            candidates = []
            for score, ids in group:
                scores = (score + log_shares(loaded, PROMPT + ids) - penalty * used).tolist()
                candidates += [(total, [*ids, token]) for token, total in enumerate(scores)]
            groups[number] = sorted(candidates, reverse=True)[:size]
            for _, ids in groups[number]:
                used[ids[-1]] += 1
    return sorted(itertools.chain(*groups), reverse=True)


@pytest.mark.parametrize("family", list(CONFIGS))
def test_groups_equal_a_search_without_a_cache(family: str, tiny_tokenizer: Tokenizer) -> None:
    """States and keys follow the beams, whatever a family keeps."""
    loaded = replace(tiny_model(family, tiny_tokenizer), generation={"eos_token_id": 10**9})
    loaded = replace(loaded, tokenizer=Tokenizer(tiny_tokenizer.backend, {"eos_token": None}))
    for num_groups, penalty in ((1, 0.0), (2, 1.5), (3, 0.4)):
        found = beam_search(loaded, PROMPT, 2 * num_groups, 0.0, 5, num_groups, penalty, 2 * num_groups)
        expected = plain_groups(loaded, 2, num_groups, penalty, 5)
        assert [list(beam.ids) for beam in found] == [ids for _, ids in expected]
        assert [beam.score for beam in found] == pytest.approx([score for score, _ in expected], abs=1e-4)


def small(loaded: Pretrained, vocab_size: int, seed: int, stop: int) -> Pretrained:
    """The same model with so few tokens that every text can be tried."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        loaded.model.embed_tokens = plain_embedding(vocab_size, loaded.model.width)
        loaded.model.lm_head = torch.nn.Linear(loaded.model.width, vocab_size)
        loaded.model.lm_head.weight.data.mul_(3)
    return replace(loaded, generation={"eos_token_id": stop})


@settings(max_examples=15)
@given(st.integers(0, 1000), st.sampled_from([0.0, 0.5, 1.0, 2.0]), st.integers(1, 3))
def test_enough_beams_find_the_best_of_all(
    tiny_tokenizer: Tokenizer, seed: int, length_penalty: float, max_tokens: int
) -> None:
    plain = Tokenizer(tiny_tokenizer.backend, {"eos_token": None})
    loaded = small(replace(tiny_model("qwen3", tiny_tokenizer), tokenizer=plain), 5, seed, stop=3)
    best = Beam((), -torch.inf)
    for length in range(1, max_tokens + 1):
        for ids in itertools.product(range(5), repeat=length):
            if 3 in ids[:-1] or (length < max_tokens and ids[-1] != 3):
                continue
            shares = loaded(torch.tensor([[1, 2, *ids]]))[0].log_softmax(-1)
            total = sum(shares[1 + place, token].item() for place, token in enumerate(ids))
            best = max(best, Beam(ids, total / length**length_penalty), key=lambda beam: beam.score)
    found = beam_search(loaded, [1, 2], 64, length_penalty, max_tokens, early_stopping="never")[0]
    assert found.ids == best.ids and found.score == pytest.approx(best.score, abs=1e-4)


def test_one_beam_is_greedy(tiny_tokenizer: Tokenizer) -> None:
    loaded, ids = tiny_model("qwen3", tiny_tokenizer), list(PROMPT)
    [found] = beam_search(loaded, PROMPT, 1, 1.0, 12)
    for token in found.ids:
        assert token == log_shares(loaded, ids).argmax()
        ids.append(token)
    assert len(found.ids) == 12 or found.ids[-1] in loaded.stop_ids


def test_groups_differ(tiny_tokenizer: Tokenizer) -> None:
    """A large penalty: no two groups have the same token at the same place."""
    found = beam_search(tiny_model("qwen3", tiny_tokenizer), PROMPT, 4, 1.0, 8, 4, 1000.0, 4)
    for place in range(min(len(beam.ids) for beam in found)):
        assert len({beam.ids[place] for beam in found}) == 4


def test_best_first_and_no_longer_than_the_context(tiny_tokenizer: Tokenizer) -> None:
    loaded = tiny_model("gpt2", tiny_tokenizer)
    prompt = [5] * (loaded.context - 3)
    found = beam_search(loaded, prompt, 4, 1.0, 50, num_returned=3)
    assert len(found) == 3 and all(1 <= len(beam.ids) <= 3 for beam in found)
    assert found == sorted(found, key=lambda beam: -beam.score)


@pytest.mark.parametrize("length", [0, 96, 200])
def test_a_prompt_without_room_is_refused(tiny_tokenizer: Tokenizer, length: int) -> None:
    with pytest.raises(HanlinError, match=f"The prompt has {length} tokens"):
        beam_search(tiny_model("qwen3", tiny_tokenizer), [5] * length, 2)


def test_a_diverged_model_is_refused(tiny_tokenizer: Tokenizer) -> None:
    loaded = tiny_model("qwen3", tiny_tokenizer)
    with torch.no_grad():
        loaded.model.norm.weight[0] = float("nan")
    with pytest.raises(HanlinError, match="not finite"):
        beam_search(loaded, PROMPT, 2)
