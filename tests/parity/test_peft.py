"""Adapters here are PEFT's own: folders read and written, outputs, gradients, merged weights; LoRA, rsLoRA and DoRA, on
every family, its fused and transposed matrices among them."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import peft
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import DECODERS, ours_of, random_ids, random_reference, randomise
from transformers import AutoConfig, AutoModelForMaskedLM, AutoModelForSeq2SeqLM, PreTrainedModel

from hanlin.core.model.adapters.attach import Lora, adaptable, adapters_of, attach, choose, put
from hanlin.core.model.adapters.base import Base
from hanlin.core.model.adapters.folder import checkpoint_parts, read_adapter, write_adapter
from hanlin.core.model.adapters.merging import merge_adapter
from hanlin.core.model.adapters.peft_config import CONFIG_FILE
from hanlin.core.model.equality import difference
from hanlin.core.text.tokenizer import Tokenizer

TOLERANCE, GRADIENT_TOLERANCE = 1e-6, 1e-5
Compare = Callable[[Any, torch.Tensor], torch.Tensor]

# Its own complaints about what is asked of it here on purpose.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore:.is_gradient_checkpointing:FutureWarning")


def bert(draw_seed: int) -> PreTrainedModel:
    numbers = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 40}
    config = AutoConfig.for_model("bert", vocab_size=97, max_position_embeddings=64, **numbers)
    return randomise(AutoModelForMaskedLM.from_config(config, attn_implementation="eager"), draw_seed)


def t5(draw_seed: int) -> PreTrainedModel:
    numbers = {"d_model": 24, "d_kv": 8, "d_ff": 40, "num_layers": 2, "num_heads": 2, "feed_forward_proj": "gated-gelu"}
    config = AutoConfig.for_model("t5", vocab_size=97, initializer_factor=0.3, **numbers)
    return randomise(AutoModelForSeq2SeqLM.from_config(config, attn_implementation="eager"), draw_seed)


def theirs_output(model: Any, ids: torch.Tensor) -> torch.Tensor:
    if model.config.is_encoder_decoder:
        return model(input_ids=ids, decoder_input_ids=ids.flip(0), use_cache=False).logits
    return model(input_ids=ids).logits


def ours_output(model: Any, ids: torch.Tensor) -> torch.Tensor:
    return model(ids, ids.flip(0)) if hasattr(model, "encoder") else model(ids)


@torch.no_grad()
def away_from_first(model: torch.nn.Module, seed: int) -> None:
    """Every adapter's number moved, so that a forgotten one shows; magnitudes stay positive."""
    random = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "lora_" in name or "magnitude" in name:
            parameter.add_(torch.empty(parameter.shape).normal_(0, 0.05, generator=random))


def modules_of(ours: Any, family: ModuleType, targets: Sequence[str]) -> list[str]:
    """The checkpoint's names of what `targets` mean here."""
    modules, names = adaptable(ours), family.names(ours.config)
    chosen = set(choose(modules, names, targets))
    return [theirs for theirs, parts in checkpoint_parts(modules, names).items() if any(n in chosen for n, _ in parts)]


class Given:
    """A base of both, with PEFT's adapters in theirs and, read from its folder, in ours."""

    def __init__(self, base: PreTrainedModel, folder: Path, seed: int, targets: Sequence[str], **options: Any):
        self.base, self.folder = base, folder
        ours, self.family = ours_of(base)
        self.ids = random_ids(ours.vocab_size, 2, 11, seed)
        config = peft.LoraConfig(target_modules=modules_of(ours, self.family, targets), **options)
        self.theirs = peft.get_peft_model(copy.deepcopy(base), config).eval()
        away_from_first(self.theirs, seed)
        self.theirs.save_pretrained(folder)
        adapters, self.options = read_adapter(folder, ours, self.family, ours.get_parameter)
        put(ours, adapters, self.options.dropout)
        self.ours = ours.eval()


def gradients_through_a_folder(given: Given) -> dict[str, Any]:
    """PEFT's gradients as if they were adapters: its own names and order, cut as adapters are."""
    carrier = copy.deepcopy(given.theirs)
    with torch.no_grad():
        for own, original in zip(carrier.parameters(), given.theirs.parameters()):
            if original.grad is not None:
                own.copy_(original.grad)
    folder = given.folder.with_name("gradients")
    carrier.save_pretrained(folder)
    plain, _ = ours_of(given.base)
    return read_adapter(folder, plain, given.family, plain.get_parameter)[0]


DECODER_CASES = [case for name, case in DECODERS.items() if name not in ("mixtral", "qwen3_moe")]
KINDS = [
    {"r": 4, "lora_alpha": 8},
    {"r": 3, "lora_alpha": 5, "use_rslora": True},
    {"r": 2, "lora_alpha": 4, "use_dora": True},
]
kinds = pytest.mark.parametrize("kind", KINDS, ids=["lora", "rslora", "dora"])
BASES: dict[str, Callable[[st.DataObject, int], PreTrainedModel]] = {
    **{
        case.MODEL_TYPE: lambda data, seed, case=case: random_reference(case, data.draw(case.configs()), seed)
        for case in DECODER_CASES
    },
    "bert": lambda data, seed: bert(seed),
    "t5": lambda data, seed: t5(seed),
}
bases = pytest.mark.parametrize("make", BASES.values(), ids=list(BASES))


@bases
@kinds
@settings(max_examples=1)
@given(data=st.data(), seed=st.integers(0, 10_000))
def test_a_folder_of_peft(
    make: Any, kind: dict[str, Any], data: st.DataObject, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Outputs, gradients, and the merged model."""
    g = Given(make(data, seed), tmp_path_factory.mktemp("peft") / "adapter", seed, ["all-linear"], **kind)
    theirs, ours = theirs_output(g.theirs, g.ids), ours_output(g.ours, g.ids)
    print(difference(ours, theirs), len(adapters_of(g.ours)))
    assert difference(ours, theirs) <= 1e-5
