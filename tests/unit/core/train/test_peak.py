"""Arithmetic a token, against what torch itself counts in a forward and backward pass."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from toy import VOCAB, small_decoder

from hanlin.core.model import attention
from hanlin.core.model.adapters.attach import Lora, adapters_of, attach
from hanlin.core.model.families import bert, gemma3, qwen3, qwen3_moe, t5
from hanlin.core.model.mixture import Mixture
from hanlin.core.model.nf4 import quantize_linears
from hanlin.core.train.batch import IGNORED, Batch
from hanlin.core.train.objectives.causal import Causal
from hanlin.core.train.objectives.masked import Masked
from hanlin.core.train.objectives.span_corruption import SpanCorruption
from hanlin.core.train.peak import flops_per_token, matrix_peak

ROWS, TIME, SOURCE = 4, 24, 40
QWEN3_MOE = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "intermediate_size": 48,
    "moe_intermediate_size": 20,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "norm_topk_prob": True,
    "rms_norm_eps": 1e-6,
    "hidden_act": "silu",
    "max_position_embeddings": 64,
    "rope_theta": 10_000.0,
}
GEMMA3 = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "sliding_window": 5,
    "layer_types": ["sliding_attention", "full_attention"],
}


def batch_of(trained: float = 1.0) -> Batch:
    random = torch.Generator().manual_seed(1)
    ids = torch.randint(VOCAB, (ROWS, TIME), generator=random)
    hidden = torch.rand(ROWS, TIME, generator=random) >= trained
    return Batch(ids, ids.roll(-1).masked_fill(hidden, IGNORED))


def in_place(y: torch.Size, left: torch.Size, right: torch.Size, **options: Any) -> int:
    """Of addmm_, which torch's counter doesn't know."""
    return 2 * left[0] * left[1] * right[1]


def counted(model: Any, batch: Batch, objective: Any) -> tuple[float, float]:
    """What torch counts for each token read: (of matrices, of attention's products)."""
    with FlopCounterMode(display=False, custom_mapping={torch.ops.aten.addmm_: in_place}) as counter:
        objective(model, batch).backward()
    by_operator = counter.get_flop_counts()["Global"]
    between = sum(flops for operator, flops in by_operator.items() if "bmm" in str(operator))
    return (sum(by_operator.values()) - between) / batch.num_read, between / batch.num_read


def of_attention(model: Any, batch: Batch) -> float:
    """Our count, less what it is without attention."""
    modules = [module for module in model.modules() if hasattr(module, "num_heads")]
    whole, heads = flops_per_token(model, batch), [module.num_heads for module in modules]
    for module in modules:
        module.num_heads = 0
    without = flops_per_token(model, batch)
    for module, number in zip(modules, heads):
        module.num_heads = number
    return whole - without


def of_matrices(model: Any, batch: Batch) -> float:
    return flops_per_token(model, batch) - of_attention(model, batch)


@pytest.fixture(autouse=True)
def all_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attention by plain products: torch doesn't count its fused kernel on a CPU."""
    monkeypatch.setattr(attention, "_products_are_faster", lambda q, k: True)


@pytest.mark.parametrize("trained", [1.0, 0.3])
def test_a_decoder(trained: float) -> None:
    """Exactly; attention computes all scores here, of which the causal half counts."""
    model, batch = small_decoder(num_layers=3), batch_of(trained)
    matrices, between = counted(model, batch, Causal())
    assert of_matrices(model, batch) == pytest.approx(matrices)
    assert of_attention(model, batch) == pytest.approx(between / 2)


def test_frozen_matrices_count_four_and_adapters_beside_them_six() -> None:
    batch = batch_of()
    full = of_matrices(small_decoder(num_layers=3), batch)
    model = small_decoder(num_layers=3)
    attach(model, qwen3, Lora(rank=4, targets=("all-linear", "embed_tokens")))
    matrices, _ = counted(model, batch, Causal())
    ours = of_matrices(model, batch)
    assert ours == pytest.approx(matrices)
    thin = sum(adapter.lora_A.numel() + adapter.lora_B.numel() for adapter in adapters_of(model).values())
    thin -= model.embed_tokens.lora_A.numel()  # its rows are read, not multiplied
    assert ours == pytest.approx(full * 4 / 6 + 6 * thin)


def test_where_only_blocks_have_adapters_a_little_less_is_done_in_the_first() -> None:
    """Nothing before it is trained, so its queries', keys' and values' inputs get no gradient."""
    model, batch = small_decoder(num_layers=6), batch_of()
    attach(model, qwen3, Lora(rank=4))
    matrices, _ = counted(model, batch, Causal())
    assert 1 < of_matrices(model, batch) / matrices < 1.05


def test_four_bits_count_as_what_they_stand_for() -> None:
    """torch can't see into the operator that multiplies by them."""
    plain, four_bit = small_decoder(), small_decoder()
    attach(plain, qwen3, Lora(rank=4))
    quantize_linears(four_bit)
    attach(four_bit, qwen3, Lora(rank=4))
    assert flops_per_token(four_bit, batch_of()) == flops_per_token(plain, batch_of())


def test_experts_count_for_the_tokens_that_visit_them() -> None:
    model, batch = qwen3_moe.build(QWEN3_MOE), batch_of()
    assert any(isinstance(module, Mixture) for module in model.modules())
    matrices, _ = counted(model, batch, Causal())
    assert of_matrices(model, batch) == pytest.approx(matrices)


def test_a_window_sees_less() -> None:
    """5 of up to 24 tokens, and half of 24."""
    model, batch = gemma3.build(GEMMA3), batch_of()
    matrices, _ = counted(model, batch, Causal())
    assert of_matrices(model, batch) == pytest.approx(matrices)
    assert of_attention(model, batch) == 12 * 2 * 16 * (5 + TIME / 2)


@pytest.mark.parametrize("trained", [1.0, 0.15])
def test_an_encoder_sees_both_sides_and_its_head_the_hidden_tokens(trained: float) -> None:
    config = bert.new_config(VOCAB, width=32, num_layers=2, num_heads=2, hidden=64, max_positions=64, pad_id=0)
    model, batch = bert.build(config), batch_of(trained)
    batch = Batch(batch.ids_BT, batch.targets_BT, extras={"present": torch.ones_like(batch.ids_BT, dtype=torch.bool)})
    matrices, between = counted(model, batch, Masked())
    assert of_matrices(model, batch) == pytest.approx(matrices)
    assert of_attention(model, batch) == pytest.approx(between)


def test_an_encoder_decoder_reads_a_source_of_another_length() -> None:
    config = t5.new_config(
        VOCAB,
        width=32,
        num_layers=2,
        num_heads=2,
        head_width=16,
        hidden=48,
        max_positions=64,
        pad_id=0,
        stop_id=1,
        start_id=0,
    )
    model, plain = t5.build(config), batch_of()
    source = torch.randint(VOCAB, (ROWS, SOURCE), generator=torch.Generator().manual_seed(2))
    extras = {"source_ids": source, "source_present": torch.ones_like(source, dtype=torch.bool)}
    batch = Batch(plain.ids_BT, plain.targets_BT, extras=extras)
    matrices, between = counted(model, batch, SpanCorruption())
    assert of_matrices(model, batch) == pytest.approx(matrices)
    causal = 2 * 12 * 2 * 16 * TIME / 2  # of the decoder's own, all scores of which are computed here
    assert of_attention(model, batch) == pytest.approx(between - causal)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_machines_own_rate_is_measured(monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype) -> None:
    monkeypatch.setattr("hanlin.core.train.peak.SIZE", 128)
    assert 1e6 < matrix_peak(dtype, torch.device("cpu")) < 1e16
