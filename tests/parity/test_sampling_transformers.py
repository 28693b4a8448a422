"""Our filtered distribution is that of the processors transformers' generate() builds, in its order."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig, LogitsProcessorList

from hanlin.core.generate.sampling import Sampler, Sampling

MODEL = AutoModelForCausalLM.from_config(
    AutoConfig.for_model("gpt2", n_layer=1, n_head=1, n_embd=8, vocab_size=200, n_positions=32)
)


def their_processors(sampling: Sampling, num_prompt: int) -> LogitsProcessorList:
    """The list generate() itself would build."""
    config = GenerationConfig(
        do_sample=True,
        temperature=sampling.temperature,
        top_k=sampling.top_k,
        top_p=sampling.top_p,
        min_p=sampling.min_p,
        typical_p=sampling.typical_p,
        repetition_penalty=sampling.repetition_penalty,
        no_repeat_ngram_size=sampling.no_repeat_ngram,
    )
    config._eos_token_tensor = None
    return MODEL._get_logits_processor(config, input_ids_seq_length=num_prompt)


options = st.fixed_dictionaries(
    {
        "temperature": st.sampled_from([0.2, 0.8, 1.0, 1.7]),
        "top_k": st.sampled_from([0, 1, 5, 50, 500]),
        "top_p": st.sampled_from([0.1, 0.5, 0.9, 0.95, 1.0]),
        "min_p": st.sampled_from([0.0, 0.02, 0.1, 0.5]),
        "typical_p": st.sampled_from([0.2, 0.5, 0.9, 1.0]),
        "repetition_penalty": st.sampled_from([0.8, 1.0, 1.1, 2.0]),
        "no_repeat_ngram": st.integers(0, 3),
    }
)


def check(logits: torch.Tensor, seen: torch.Tensor, sampling: Sampling) -> None:
    penalised = their_processors(sampling, len(seen))(seen[None], logits[None].clone())
    assume(torch.isfinite(penalised).any())  # n-grams of one token may forbid all
    half = len(seen) // 2
    sampler = Sampler(sampling, seen.tolist()[:half])
    for token in seen.tolist()[half:]:
        sampler.saw(token)
    torch.testing.assert_close(sampler.distribution(logits), penalised[0].softmax(-1), atol=1e-6, rtol=0)


@settings(max_examples=300)
@given(st.integers(0, 10_000), st.sampled_from([0.1, 1.0, 5.0]), st.integers(1, 30), options)
def test_filtered_distribution(seed: int, spread: float, num_seen: int, values: dict[str, Any]) -> None:
    """float32. Typical sampling folds a distribution over: of 200 tokens two may be as near, and rounding decides."""
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn(200, generator=random) * spread
    check(logits, torch.randint(200, (num_seen,), generator=random), Sampling(**values | {"typical_p": 1.0}))


@settings(max_examples=300)
@given(st.integers(0, 10_000), st.sampled_from([0.1, 1.0, 5.0]), st.sampled_from([10, 200, 5000]), options)
def test_filtered_distribution_in_float64(seed: int, spread: float, vocab_size: int, values: dict[str, Any]) -> None:
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn(vocab_size, generator=random, dtype=torch.float64) * spread
    check(logits, torch.randint(vocab_size, (20,), generator=random), Sampling(**values))


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
@pytest.mark.parametrize(
    "values",
    [{"top_k": 50}, {"top_p": 0.9}, {"top_p": 0.9999}, {"min_p": 0.1}, {"typical_p": 0.9}, {"top_k": 9, "top_p": 0.8}],
)
def test_a_large_vocabulary(temperature: float, values: dict[str, Any]) -> None:
    """Where only the likeliest are sorted, and where they are too few. In float32 the edge may be missed by a few
    tokens of a few millionths each."""
    sampling = Sampling(**{"repetition_penalty": 1.1, "top_p": 1.0, "temperature": temperature} | values)
    for seed in range(3):
        random = torch.Generator().manual_seed(seed)
        logits = torch.randn(262_144, generator=random) * 2
        logits[torch.randint(262_144, (50,), generator=random)] += 12
        seen = torch.randint(262_144, (100,), generator=random)
        theirs = their_processors(sampling, 100)(seen[None], logits[None].clone())[0].double().softmax(-1)
        ours = Sampler(sampling, seen.tolist()).distribution(logits)
        assert (ours - theirs).abs().sum() < 5e-5
