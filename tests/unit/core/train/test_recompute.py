"""Blocks computed again for their gradients: the same gradients, less kept for them, in every kind of model."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from toy import VOCAB, small_decoder

from hanlin.core.model.adapters.attach import Lora, attach
from hanlin.core.model.families import bert, gemma3, mamba, qwen3, qwen3_moe, t5
from hanlin.core.train.batch import IGNORED, Batch
from hanlin.core.train.objectives.causal import Causal
from hanlin.core.train.objectives.masked import Masked
from hanlin.core.train.objectives.span_corruption import SpanCorruption
from hanlin.core.train.recompute import keep_inputs_alone

ROWS, TIME, SOURCE, LAYERS = 3, 21, 27, 5
COMMON = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
}
MIXTURE = {
    **COMMON,
    "moe_intermediate_size": 20,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "norm_topk_prob": True,
    "rms_norm_eps": 1e-6,
    "hidden_act": "silu",
    "rope_theta": 10_000.0,
}
MAMBA = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "state_size": 4,
    "num_hidden_layers": LAYERS,
    "layer_norm_epsilon": 1e-5,
    "expand": 2,
    "conv_kernel": 4,
    "time_step_rank": "auto",
}


def new_bert() -> Any:
    config = bert.new_config(VOCAB, width=32, num_layers=LAYERS, num_heads=2, hidden=64, max_positions=64, pad_id=0)
    return bert.build(config)


def new_t5() -> Any:
    sizes = {"width": 32, "num_layers": LAYERS, "num_heads": 2, "head_width": 16, "hidden": 48, "max_positions": 64}
    return t5.build(t5.new_config(VOCAB, **sizes, pad_id=0, stop_id=1, start_id=0))


def with_adapters() -> Any:
    model = small_decoder(num_layers=LAYERS)
    attach(model, qwen3, Lora(rank=4, dropout=0.3, dora=True))
    return model


def plain() -> Batch:
    ids = torch.randint(2, VOCAB, (ROWS, TIME), generator=torch.Generator().manual_seed(1))
    return Batch(ids, ids.roll(-1))


def packed() -> Batch:
    batch, documents = plain(), torch.zeros(ROWS, TIME, dtype=torch.int64)
    documents[:, 6:], documents[:, 15:], documents[0, 18:] = 1, 2, -1
    return Batch(batch.ids_BT, batch.targets_BT.masked_fill(documents < 0, IGNORED), documents_BT=documents)


def with_padding() -> Batch:
    batch, present = plain(), torch.ones(ROWS, TIME, dtype=torch.bool)
    present[1, 15:] = False
    return Batch(batch.ids_BT, batch.targets_BT.masked_fill(~present, IGNORED), extras={"present": present})


def with_source() -> Batch:
    batch, present = plain(), torch.ones(ROWS, SOURCE, dtype=torch.bool)
    present[1, 9:] = False
    source = torch.randint(2, VOCAB, (ROWS, SOURCE), generator=torch.Generator().manual_seed(2))
    return Batch(batch.ids_BT, batch.targets_BT, extras={"source_ids": source, "source_present": present})


CASES: dict[str, tuple[Callable[[], Any], Callable[[], Batch], Any]] = {
    "qwen3": (lambda: small_decoder(num_layers=LAYERS), plain, Causal()),
    "qwen3 packed": (lambda: small_decoder(num_layers=LAYERS), packed, Causal()),
    "adapters with dropout": (with_adapters, plain, Causal()),
    "gemma3, windows and two ropes": (
        lambda: gemma3.build({**COMMON, "sliding_window": 5, "sliding_window_pattern": 3}),
        plain,
        Causal(),
    ),
    "t5, a learned bias and a source": (new_t5, with_source, SpanCorruption()),
    "bert": (new_bert, with_padding, Masked()),
    "mamba": (lambda: mamba.build(MAMBA), plain, Causal()),
    "mamba packed": (lambda: mamba.build(MAMBA), packed, Causal()),
    "mixture of experts": (lambda: qwen3_moe.build(MIXTURE), plain, Causal()),
}


@torch.no_grad()
def randomised(model: Any) -> Any:
    """Every number away from its first value: adapters that are 0 would have no gradients to compare."""
    random = torch.Generator().manual_seed(3)
    for parameter in model.parameters():
        parameter.add_(torch.empty(parameter.shape).normal_(0, 0.08, generator=random))
    return model.train()


def gradients_and_kept_bytes(model: Any, batch: Batch, objective: Any) -> tuple[dict[str, torch.Tensor], int]:
    """Gradients by name, and the bytes of activations that stand by when the forward pass has ended."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    torch.manual_seed(7)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = objective(model, batch)
    loss.backward()
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return found, sum(kept.values())


@pytest.mark.parametrize("name", CASES)
def test_the_same_gradients_and_less_kept(name: str) -> None:
    build, batch_of, objective = CASES[name]
    torch.manual_seed(0)
    model, batch = randomised(build()), batch_of()
    lean = copy.deepcopy(model)
    keep_inputs_alone(lean)
    wanted, all_bytes = gradients_and_kept_bytes(model, batch, objective)
    found, kept_bytes = gradients_and_kept_bytes(lean, batch, objective)
    assert found.keys() == wanted.keys() and len(found) == sum(p.requires_grad for p in model.parameters())
    for parameter, gradient in wanted.items():
        assert bool(gradient.any()), parameter
        assert torch.equal(found[parameter], gradient), parameter
    assert kept_bytes < 0.5 * all_bytes


def test_the_first_block_of_each_stack_is_computed_once() -> None:
    """It makes what all share; the others run once more for their gradients."""
    model, batch = randomised(new_t5()), with_source()
    keep_inputs_alone(model)
    runs: dict[Any, int] = {}
    for stack in (model.encoder, model.decoder):
        for layer in stack.layers:
            layer.register_forward_pre_hook(lambda layer, given: runs.update({layer: runs.get(layer, 0) + 1}))
    SpanCorruption()(model, batch).backward()
    for stack in (model.encoder, model.decoder):
        assert [runs[layer] for layer in stack.layers] == [1, *[2] * (LAYERS - 1)]


def test_without_gradients_nothing_changes() -> None:
    model = small_decoder(num_layers=2)
    ids = plain().ids_BT
    with torch.no_grad():
        wanted = model(ids)
        keep_inputs_alone(model)
        assert torch.equal(model(ids), wanted)
        cache = model.new_cache(ROWS, TIME)
        assert torch.allclose(model(ids, cache), wanted, atol=1e-6) and cache.length == TIME


def test_a_copy_recomputes_its_own_blocks() -> None:
    model = small_decoder(num_layers=3)
    keep_inputs_alone(model)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.5)
    fresh = small_decoder(num_layers=3)
    with torch.no_grad():
        for parameter in fresh.parameters():
            parameter.mul_(1.5)
    ours, wanted = (gradients_and_kept_bytes(m, plain(), Causal())[0] for m in (other, fresh))
    assert all(torch.equal(ours[name], wanted[name]) for name in wanted)
    assert all(p.grad is None for p in model.parameters())
