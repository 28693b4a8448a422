"""Where adapters come to stand, how they begin, what is trained, and what the gradient keeps in memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from toy import VOCAB, small_decoder

from hanlin.core.model.adapters.attach import Lora, adapters_of, attach
from hanlin.core.model.adapters.lora import Adapter, LoraLinear
from hanlin.core.model.families import gpt2, mamba, mixtral, qwen3, t5
from hanlin.core.model.nf4 import Nf4Linear, quantize_linears
from hanlin.core.run.errors import HanlinError

IDS = torch.arange(12).view(2, 6)
GPT2 = {"vocab_size": VOCAB, "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 8, "layer_norm_epsilon": 1e-5}
MIXTRAL = qwen3.new_config(VOCAB, 16, 1, 2, 1, 8, 24, 16) | {
    "num_local_experts": 2,
    "num_experts_per_tok": 1,
    "hidden_act": "silu",
}
KINDS = [Lora(rank=4), Lora(rank=4, rslora=True), Lora(rank=4, dora=True)]
kinds = pytest.mark.parametrize("options", KINDS, ids=["lora", "rslora", "dora"])


def gpt2_model() -> Any:
    return gpt2.build({**GPT2, "activation_function": "gelu"})


@kinds
@pytest.mark.parametrize("targets", [("all-linear",), ("embed_tokens", "lm_head"), ("q_proj",)])
def test_at_first_nothing_changes(options: Lora, targets: tuple[str, ...]) -> None:
    model = small_decoder()
    before = model(IDS)
    attach(model, qwen3, Lora(options.rank, targets=targets, rslora=options.rslora, dora=options.dora))
    assert adapters_of(model)
    torch.testing.assert_close(model(IDS), before, rtol=0, atol=2e-6)


@kinds
def test_only_the_adapters_are_trained(options: Lora) -> None:
    model = small_decoder()
    frozen = [*model.parameters()]
    trained = attach(model, qwen3, options)
    kept = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert trained == kept
    endings = {"lora_A", "lora_B", "magnitude"} if options.dora else {"lora_A", "lora_B"}
    assert {name.rpartition(".")[2] for name in trained} == endings
    model(IDS).sum().backward()
    assert all(parameter.grad is None for parameter in frozen)
    assert all(model.get_parameter(name).grad is not None for name in trained)


@pytest.mark.parametrize(
    ("targets", "found"),
    [
        (("all-linear",), {"q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj"}),
        (("q_proj", "down_proj"), {"q_proj", "down_proj"}),
        (("attention.q_proj",), {"q_proj"}),
        (("layers.0.mlp.up_proj",), {"up_proj"}),
        (("c_attn",), {"q_proj", "k_proj", "v_proj"}),
        (("c_proj",), {"o_proj", "down_proj"}),
        (("mlp.c_proj",), {"down_proj"}),
        (("transformer.wte", "lm_head"), {"embed_tokens", "lm_head"}),
    ],
)
def test_targets_by_our_names_and_the_family_s(targets: tuple[str, ...], found: set[str]) -> None:
    model = gpt2_model()
    attach(model, gpt2, Lora(2, targets=targets))
    assert {name.rpartition(".")[2] for name in adapters_of(model)} == found


@pytest.mark.parametrize(
    ("target", "suggestion"),
    [("q_projj", 'did you mean "q_proj"?'), ("proj", "did you mean"), ("norm", "one of: all-linear, down_proj")],
)
def test_a_target_nothing_is_called_by(target: str, suggestion: str) -> None:
    with pytest.raises(HanlinError) as caught:
        attach(small_decoder(), qwen3, Lora(targets=("q_proj", target)))
    assert f'"{target}"' in caught.value.what and suggestion in caught.value.expected


def test_routers_only_by_name_and_experts_each() -> None:
    model = mixtral.build(MIXTRAL)
    attach(model, mixtral, Lora(2))
    names = set(adapters_of(model))
    assert "layers.0.mlp.experts.1.up_proj" in names and "layers.0.mlp.router" not in names
    model = mixtral.build(MIXTRAL)
    attach(model, mixtral, Lora(2, targets=("router",)))
    assert set(adapters_of(model)) == {"layers.0.mlp.router"}


def test_what_is_read_without_being_called_has_none() -> None:
    config = {"vocab_size": VOCAB, "hidden_size": 8, "num_hidden_layers": 1, "state_size": 4, "expand": 2}
    config |= {"time_step_rank": 2, "conv_kernel": 4, "layer_norm_epsilon": 1e-5, "hidden_act": "silu"}
    model = mamba.build({**config, "intermediate_size": 16, "use_bias": False, "use_conv_bias": True})
    attach(model, mamba, Lora(2))
    assert {name.rpartition(".")[2] for name in adapters_of(model)} == {"in_proj", "x_proj"}


def test_an_encoder_decoder_s_embedding_has_none() -> None:
    model = t5.build({"vocab_size": VOCAB, "d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2})
    with pytest.raises(HanlinError, match="embed_tokens"):
        attach(model, t5, Lora(targets=("embed_tokens",)))
    attach(model, t5, Lora(2))
    assert "decoder.layers.0.cross.q_proj" in adapters_of(model)


def test_a_second_adapter_is_refused() -> None:
    model = small_decoder()
    attach(model, qwen3, Lora(2))
    with pytest.raises(HanlinError, match="has an adapter already"):
        attach(model, qwen3, Lora(2))


def test_first_values() -> None:
    """PEFT's: A uniform in ±1/√in, as nn.Linear draws its own; B 0. An embedding's the other way round, B normal."""
    model = small_decoder()
    attach(model, qwen3, Lora(64, targets=("down_proj", "embed_tokens")), seed=1)
    found = adapters_of(model)
    linear, embedding = found["layers.0.mlp.down_proj"], found["embed_tokens"]
    bound = 48**-0.5
    assert linear.lora_A.abs().max() <= bound and abs(float(linear.lora_A.std()) / (bound / 3**0.5) - 1) < 0.05
    assert not linear.lora_B.any() and not embedding.lora_A.any()
    assert abs(float(embedding.lora_B.std()) - 1) < 0.05
    assert (embedding.lora_A.shape, embedding.lora_B.shape) == ((64, VOCAB), (32, 64))
    again, other = small_decoder(), small_decoder()
    attach(again, qwen3, Lora(64, targets=("down_proj", "embed_tokens")), seed=1)
    attach(other, qwen3, Lora(64, targets=("down_proj", "embed_tokens")), seed=2)
    assert torch.equal(adapters_of(again)["layers.1.mlp.down_proj"].lora_A, found["layers.1.mlp.down_proj"].lora_A)
    assert not torch.equal(adapters_of(other)["layers.0.mlp.down_proj"].lora_A, linear.lora_A)


def test_scale() -> None:
    assert Lora(16, 32.0).scale == 2.0
    assert Lora(16, 32.0, rslora=True).scale == 8.0


def test_adapters_have_the_model_s_dtype() -> None:
    model = small_decoder().to(torch.bfloat16)
    attach(model, qwen3, Lora(2, dora=True))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert model(IDS).dtype == torch.bfloat16


@given(
    batch=st.integers(1, 3),
    rank=st.integers(1, 5),
    scale=st.floats(0.1, 8),
    bias=st.booleans(),
    seed=st.integers(0, 99),
)
def test_the_formula(batch: int, rank: int, scale: float, bias: bool, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    base = torch.nn.Linear(7, 5, bias=bias)
    A, B, x = (torch.randn(shape, generator=random) for shape in ((rank, 7), (5, rank), (batch, 4, 7)))
    layer = LoraLinear(base, Adapter(A, B, scale))
    torch.testing.assert_close(layer(x), base(x) + scale * (x @ A.mT @ B.mT), rtol=1e-4, atol=1e-5)


def test_what_the_gradient_keeps() -> None:
    """x itself, once, as the neighbours keep it, and r numbers a token: nothing as wide as the output."""
    base = torch.nn.Linear(32, 64).requires_grad_(False)
    layer = LoraLinear(base, Adapter(torch.randn(4, 32), torch.randn(64, 4), 1.0))
    x = torch.randn(100, 32, requires_grad=True)
    weights = {parameter.data_ptr() for parameter in layer.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        layer(x)
    assert sum(size for place, size in kept.items() if place not in weights) == 4 * 100 * (32 + 4)


@kinds
def test_beside_matrices_in_four_bits(options: Lora) -> None:
    """The same as beside the dense matrices that the bits stand for."""
    model, dense = small_decoder(), small_decoder()
    quantize_linears(model)
    with torch.no_grad():
        for name, module in model.named_modules():
            if isinstance(module, Nf4Linear):
                dense.get_submodule(name).weight.copy_(module.dequantized(torch.float32))
    trained = attach(model, qwen3, options)
    assert trained == attach(dense, qwen3, options) and len(adapters_of(model)) == 14
    for one in (model, dense):
        torch.manual_seed(0)
        for name in trained:
            parameter = one.get_parameter(name)
            parameter.data.add_(torch.randn_like(parameter), alpha=0.1)
        one(IDS).sum().backward()
    torch.testing.assert_close(model(IDS), dense(IDS), rtol=1e-5, atol=1e-5)
    for name in trained:
        torch.testing.assert_close(model.get_parameter(name).grad, dense.get_parameter(name).grad, rtol=1e-3, atol=1e-4)
