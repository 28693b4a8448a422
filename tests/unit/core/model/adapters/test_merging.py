"""Merged is the model with its adapter: in float32 to 1e-6, in 16 bits the float32 sum rounded once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from toy import VOCAB, small_decoder

from hanlin.core.model.adapters.attach import Lora, adapters_of, attach
from hanlin.core.model.adapters.merging import merge_adapter
from hanlin.core.model.equality import root_mean_square
from hanlin.core.model.families import bert, qwen3, t5
from hanlin.core.model.nf4 import Nf4Linear, quantize_linears
from hanlin.core.model.pretrained import load_model, save_model

IDS = torch.arange(12).view(2, 6)
EVERYTHING = ("all-linear", "embed_tokens", "lm_head")
KINDS = [Lora(4), Lora(4, rslora=True), Lora(4, dora=True)]
kinds = pytest.mark.parametrize("kind", KINDS, ids=["lora", "rslora", "dora"])


@torch.no_grad()
def learned(model: Any, family: Any, kind: Lora, targets: tuple[str, ...] = ("all-linear",)) -> Any:
    """The model with adapters that have moved."""
    random = torch.Generator().manual_seed(5)
    for name in attach(model, family, Lora(kind.rank, targets=targets, rslora=kind.rslora, dora=kind.dora)):
        parameter = model.get_parameter(name)
        parameter.add_(torch.empty(parameter.shape).normal_(0, 0.05, generator=random).to(parameter.dtype))
    return model.eval()


def far(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return root_mean_square(ours - theirs) / root_mean_square(theirs)


@kinds
@pytest.mark.parametrize("targets", [("all-linear",), ("q_proj",), ("embed_tokens",), ("lm_head",), EVERYTHING])
def test_merged_is_the_model_with_its_adapter(kind: Lora, targets: tuple[str, ...], tmp_path: Path) -> None:
    """Also saved and opened again. The head shares the embedding's numbers only while neither has an adapter."""
    model = learned(small_decoder(), qwen3, kind, targets)
    plain = merge_adapter(model, qwen3)
    assert not adapters_of(plain) and not plain.training
    assert far(plain(IDS), model(IDS)) <= 1e-6
    assert far(plain(IDS), small_decoder()(IDS)) > 1e-3
    assert ("lm_head.weight" in plain.tied) == (not {"embed_tokens", "lm_head"} & {*targets})
    save_model(tmp_path, plain, qwen3)
    again, _ = load_model(tmp_path)
    assert torch.equal(again(IDS), plain(IDS)) and again.tied == plain.tied


def test_what_the_adapter_left_alone_is_shared_and_the_base_unchanged() -> None:
    model = small_decoder()
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    plain = merge_adapter(learned(model, qwen3, KINDS[0], ("q_proj",)), qwen3)
    base = model.layers[0].attention
    assert torch.equal(base.q_proj.weight, before["layers.0.attention.q_proj.weight"])
    assert plain.layers[0].attention.k_proj.weight.data_ptr() == base.k_proj.weight.data_ptr()


@kinds
def test_in_sixteen_bits_rounded_once(kind: Lora) -> None:
    """Not W + round(B·A): the float32 sum, from the numbers as they are."""
    model = learned(small_decoder().to(torch.bfloat16), qwen3, kind)
    exact = merge_adapter(_as_float32(model, kind), qwen3)
    plain = merge_adapter(model, qwen3)
    assert plain.dtype == torch.bfloat16
    for name, value in plain.named_parameters():
        torch.testing.assert_close(value, exact.get_parameter(name).to(torch.bfloat16), rtol=0, atol=0)


def _as_float32(model: Any, kind: Lora) -> Any:
    """The same numbers in float32."""
    twin = learned(small_decoder(), qwen3, kind)
    twin.load_state_dict(model.state_dict())
    return twin


@kinds
def test_a_base_in_four_bits(kind: Lora) -> None:
    """Merged beside what the bits stand for, which is what the adapter learned beside; the rest is made dense too."""
    model = small_decoder()
    quantize_linears(model)
    learned(model, qwen3, kind, ("q_proj", "mlp.down_proj"))
    plain = merge_adapter(model, qwen3)
    assert not any(isinstance(module, Nf4Linear) for module in plain.modules())
    assert far(plain(IDS), model(IDS)) <= 1e-6


def test_an_encoder_and_an_encoder_decoder(tmp_path: Path) -> None:
    """The head of a T5 that is tied reads scaled states: it goes on doing so when it is tied no more."""
    numbers = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    numbers |= {"vocab_size": VOCAB, "max_position_embeddings": 16, "type_vocab_size": 2, "layer_norm_eps": 1e-5}
    encoder = bert.build({**numbers, "hidden_act": "gelu", "architectures": ["BertForMaskedLM"]})
    learned(encoder, bert, KINDS[0], ("all-linear", "embed_tokens"))
    both = t5.build({"vocab_size": VOCAB, "d_model": 16, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2})
    both.config["architectures"] = ["T5ForConditionalGeneration"]
    learned(both, t5, KINDS[0], ("all-linear", "lm_head"))
    assert both.head_scale != 1
    for model, family, ids in ((encoder, bert, (IDS,)), (both, t5, (IDS, IDS))):
        plain = merge_adapter(model, family)
        assert far(plain(*ids), model(*ids)) <= 1e-6
        folder = tmp_path / family.MODEL_TYPE
        folder.mkdir()
        save_model(folder, plain, family)
        assert torch.equal(load_model(folder)[0](*ids), plain(*ids))
