"""Log-probabilities of written tokens, and a user's own bias."""

from __future__ import annotations

import torch
from transformers import SequenceBiasLogitsProcessor

from hanlin.core.generate.logprobs import logprobs_of
from hanlin.core.generate.strategies import bias


def test_logprobs_are_the_models_own() -> None:
    logits_V = torch.randn(300, generator=torch.Generator().manual_seed(1)) * 5
    found = logprobs_of(logits_V, 17, 4)
    wanted_V = torch.log_softmax(logits_V.double(), -1)
    assert abs(found.own - wanted_V[17]) < 1e-9
    assert [token for token, _ in found.likeliest] == wanted_V.topk(4).indices.tolist()
    assert all(abs(number - wanted_V[token]) < 1e-9 for token, number in found.likeliest)


def test_more_than_the_vocabulary_is_the_vocabulary() -> None:
    assert len(logprobs_of(torch.zeros(3), 0, 20).likeliest) == 3


def test_bias_equals_transformers() -> None:
    logits_V = torch.randn(50, generator=torch.Generator().manual_seed(2))
    theirs = SequenceBiasLogitsProcessor({(3,): 2.5, (7,): -100.0})(torch.tensor([[1, 2]]), logits_V[None])[0]
    assert torch.allclose(bias.add(logits_V, {3: 2.5, 7: -100.0, 999: 4.0}), theirs, atol=1e-6)
