"""Phixtral has no class in transformers. So: of alike experts it is transformers' Phi; of others it is transformers'
Phi with the mixture's formula, written out below, in its feed-forward's place. And itself, cached, padded or saved."""

from __future__ import annotations

import copy
import json
import math
import tempfile
from pathlib import Path
from typing import Any

import torch
from cases import phi
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference import random_ids, random_reference
from safetensors.torch import load_file, save_file
from test_decoders import TOLERANCE, without_growing_rope
from torch import nn
from transformers import PreTrainedModel

from hanlin.core.model.equality import difference
from hanlin.core.model.families import phixtral
from hanlin.core.model.pretrained import load_model, save_model

seeds = st.integers(0, 10_000)


@st.composite
def experts(draw: st.DrawFn) -> tuple[int, int]:
    """How many, and how many a token."""
    number = draw(st.integers(1, 4))
    return number, draw(st.integers(1, number))


def merged(theirs: PreTrainedModel, counts: tuple[int, int], spread: float, seed: int) -> Any:
    """Our Phixtral of Phi's files: each feed-forward `counts[0]` times, `spread` apart, beside a random router."""
    random = torch.Generator().manual_seed(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        theirs.save_pretrained(folder)
        config = json.loads((folder / "config.json").read_text())
        config |= {"architectures": ["PhixtralForCausalLM"], "model_type": "phixtral"}
        config |= {"num_local_experts": counts[0], "num_experts_per_tok": counts[1]}
        (folder / "config.json").write_text(json.dumps(config))
        stored = load_file(folder / "model.safetensors")
        for key in [key for key in stored if ".mlp." in key]:
            whole = stored.pop(key)
            for number in range(counts[0]):
                noise = torch.empty(whole.shape).normal_(0, 1, generator=random) * spread
                stored[key.replace(".mlp.", f".moe.mlp.{number}.")] = whole + noise
        for layer in range(config["num_hidden_layers"]):
            router = torch.empty(counts[0], config["hidden_size"]).normal_(0, 0.2, generator=random)
            stored[f"model.layers.{layer}.moe.gate.weight"] = router
        save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
        model, family = load_model(folder)
    assert family is phixtral
    return model


class Formula(nn.Module):
    """Σ softmax over the k best scores · (W₂·f(W₁·x + b₁) + b₂), token by token, with the numbers of our layer."""

    def __init__(self, ours: Any, function: Any):
        super().__init__()
        self.ours, self.function = ours, function

    def forward(self, x_BTC: torch.Tensor) -> torch.Tensor:
        return torch.stack([torch.stack([self.one(x_C) for x_C in x_TC]) for x_TC in x_BTC])

    def one(self, x_C: torch.Tensor) -> torch.Tensor:
        scores = (self.ours.router.weight @ x_C).tolist()
        best = sorted(range(len(scores)), key=lambda number: -scores[number])[: self.ours.top_k]
        powers = [math.exp(scores[number] - scores[best[0]]) for number in best]
        y_C = torch.zeros_like(x_C)
        for number, power in zip(best, powers):
            up, down = self.ours.experts[number].up_proj, self.ours.experts[number].down_proj
            hidden = self.function(up.weight @ x_C + up.bias)
            y_C = y_C + power / sum(powers) * (down.weight @ hidden + down.bias)
        return y_C


def with_formula(theirs: PreTrainedModel, ours: Any) -> PreTrainedModel:
    mixed: Any = copy.deepcopy(theirs)
    for layer, own in zip(mixed.model.layers, ours.layers):
        layer.mlp = Formula(own.mlp, layer.mlp.activation_fn)
    return mixed


@settings(max_examples=8)
@given(values=phi.configs(), counts=experts(), batch=st.integers(1, 3), length=st.integers(2, 40), seed=seeds)
@torch.inference_mode()
def test_alike_experts_are_phi(
    values: dict[str, Any], counts: tuple[int, int], batch: int, length: int, seed: int
) -> None:
    theirs = random_reference(phi, values, seed)
    ours = merged(theirs, counts, 0.0, seed)
    ids = random_ids(ours.vocab_size, batch, length, seed)
    assert difference(ours(ids), theirs(ids).logits) <= TOLERANCE


@settings(max_examples=8)
@given(values=phi.configs(), counts=experts(), length=st.integers(2, 20), seed=seeds)
@torch.inference_mode()
def test_other_experts_are_the_formula(values: dict[str, Any], counts: tuple[int, int], length: int, seed: int) -> None:
    theirs = random_reference(phi, values, seed)
    ours = merged(theirs, counts, 0.1, seed)
    ids = random_ids(ours.vocab_size, 2, length, seed)
    logits = ours(ids)
    assert difference(logits, with_formula(theirs, ours)(ids).logits) <= TOLERANCE
    assert difference(logits, theirs(ids).logits) > 1e-3, "the experts differ, so the answers do"


@settings(max_examples=5)
@given(values=phi.configs(), counts=experts(), cuts=st.lists(st.integers(1, 9), min_size=1, max_size=6), seed=seeds)
@torch.inference_mode()
def test_cached_equals_full(values: dict[str, Any], counts: tuple[int, int], cuts: list[int], seed: int) -> None:
    ours = merged(random_reference(phi, without_growing_rope(values), seed), counts, 0.1, seed)
    ids = random_ids(ours.vocab_size, 2, sum(cuts), seed)
    cache = ours.new_cache(2, sum(cuts))
    pieces = torch.cat([ours(piece, cache) for piece in ids.split(cuts, dim=1)], dim=1)
    assert difference(pieces, ours(ids)) <= TOLERANCE


@settings(max_examples=5)
@given(values=phi.configs(), counts=experts(), lengths=st.tuples(st.integers(2, 20), st.integers(2, 20)), seed=seeds)
@torch.inference_mode()
def test_left_padded_batch_equals_single(
    values: dict[str, Any], counts: tuple[int, int], lengths: tuple[int, int], seed: int
) -> None:
    ours = merged(random_reference(phi, without_growing_rope(values), seed), counts, 0.1, seed)
    ids = random_ids(ours.vocab_size, 2, max(lengths), seed)
    present = torch.arange(max(lengths)) >= max(lengths) - torch.tensor(lengths)[:, None]
    whole = ours(ids, None, present)
    for row, length in enumerate(lengths):
        assert difference(whole[row, -length:], ours(ids[row : row + 1, -length:])[0]) <= TOLERANCE


@settings(max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=phi.configs(), counts=experts(), seed=seeds)
@torch.inference_mode()
def test_what_is_saved_opens_again(tmp_path: Path, values: dict[str, Any], counts: tuple[int, int], seed: int) -> None:
    ours = merged(random_reference(phi, values, seed), counts, 0.1, seed)
    save_model(tmp_path, ours, phixtral)
    ids = random_ids(ours.vocab_size, 1, 30, seed)
    assert torch.equal(load_model(tmp_path)[0](ids), ours(ids))
