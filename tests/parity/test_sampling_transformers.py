"""Our filters give the distribution of transformers' logits processors, in their order."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from hanlin.core.generate.sampling import Sampling, distribution, penalise_repetition


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    spread=st.sampled_from([0.1, 1.0, 5.0]),
    num_seen=st.integers(1, 30),
    penalty=st.sampled_from([0.8, 1.0, 1.1, 2.0]),
    temperature=st.sampled_from([0.2, 0.8, 1.0, 1.7]),
    k=st.sampled_from([0, 1, 5, 50, 500]),
    p=st.sampled_from([0.1, 0.5, 0.9, 0.95, 1.0]),
    m=st.sampled_from([0.0, 0.02, 0.1, 0.5]),
)
def test_filtered_distribution(
    seed: int, spread: float, num_seen: int, penalty: float, temperature: float, k: int, p: float, m: float
) -> None:
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn(200, generator=random) * spread
    seen = torch.randint(200, (num_seen,), generator=random)
    processors = [RepetitionPenaltyLogitsProcessor(penalty), TemperatureLogitsWarper(temperature)]
    processors += [TopKLogitsWarper(k)] if k else []
    processors += [TopPLogitsWarper(p)] if p < 1 else []
    processors += [MinPLogitsWarper(m)] if m else []
    theirs = LogitsProcessorList(processors)(seen[None], logits[None].clone())[0].softmax(-1)
    ours = distribution(
        penalise_repetition(logits, seen, penalty), Sampling(temperature=temperature, top_k=k, top_p=p, min_p=m)
    )
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)
