"""Adapters here are PEFT's own: folders read and written, outputs, gradients, merged weights; LoRA, rsLoRA and DoRA, on
every family, its fused and transposed matrices among them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import peft
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import DECODERS, ours_of, random_ids, random_reference, randomise
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    PreTrainedModel,
)

from hanlin.core.model.adapters.attach import Lora, adaptable, adapters_of, attach, choose, put
from hanlin.core.model.adapters.base import Base
from hanlin.core.model.adapters.folder import checkpoint_parts, read_adapter, write_adapter
from hanlin.core.model.adapters.lora import Adapted, Adapter
from hanlin.core.model.adapters.merging import merge_adapter
from hanlin.core.model.adapters.peft_config import read_config
from hanlin.core.model.equality import difference, root_mean_square
from hanlin.core.model.pretrained import save_model
from hanlin.core.run.errors import HanlinError
from hanlin.core.text.tokenizer import Tokenizer

TOLERANCE, GRADIENT_TOLERANCE = 1e-6, 1e-5
"""Outputs: root mean square error as a share of the logits' own; single weights: the largest difference."""
DRAWN_TOLERANCE = 1e-5
"""Of configs drawn anew: the bases themselves are no nearer to each other, see test_decoders."""

# PEFT's own complaints about what is asked of it here on purpose.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore:.is_gradient_checkpointing:FutureWarning")

LLAMA = {
    "vocab_size": 97,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 40,
    "pad_token_id": 0,
}
FIXED: dict[str, tuple[Any, dict[str, Any]]] = {
    "qwen3": (AutoModelForCausalLM, {**LLAMA, "head_dim": 12}),
    "gemma3_text": (AutoModelForCausalLM, {**LLAMA, "head_dim": 12, "query_pre_attn_scalar": 12}),
    "gpt2": (AutoModelForCausalLM, {"vocab_size": 97, "n_embd": 24, "n_layer": 2, "n_head": 2, "n_positions": 64}),
    "phi3": (AutoModelForCausalLM, LLAMA),
    "bert": (AutoModelForMaskedLM, {**LLAMA, "max_position_embeddings": 64}),
    "t5": (
        AutoModelForSeq2SeqLM,
        {
            "vocab_size": 97,
            "d_model": 24,
            "d_kv": 8,
            "d_ff": 40,
            "num_layers": 2,
            "num_heads": 2,
            "initializer_factor": 0.3,
        },
    ),
}
"""Held to TOLERANCE, with every kind of adapter."""
MIXTURES = {
    "mixtral": {**LLAMA, "num_local_experts": 3},
    "qwen3_moe": {**LLAMA, "num_experts": 3, "moe_intermediate_size": 20, "num_experts_per_tok": 2},
}
KINDS: dict[str, dict[str, Any]] = {
    "lora": {"r": 4, "lora_alpha": 8},
    "rslora": {"r": 3, "lora_alpha": 5, "use_rslora": True},
    "dora": {"r": 2, "lora_alpha": 4, "use_dora": True},
}
CASES = {case.MODEL_TYPE: case for case in DECODERS.values() if case.MODEL_TYPE not in (*FIXED, *MIXTURES)}

pairs = pytest.mark.parametrize(("name", "kind"), [(name, kind) for name in FIXED for kind in KINDS])
drawn = pytest.mark.parametrize(
    ("case", "kind"),
    [(case, [*KINDS][number % len(KINDS)]) for number, case in enumerate(CASES.values())],
    ids=list(CASES),
)


def fixed_base(name: str) -> PreTrainedModel:
    auto, values = FIXED[name]
    torch.manual_seed(0)
    return randomise(auto.from_config(AutoConfig.for_model(name, **values), attn_implementation="eager"), 2)


def theirs_output(model: Any, ids: torch.Tensor) -> torch.Tensor:
    if model.config.is_encoder_decoder:
        return model(input_ids=ids, decoder_input_ids=ids.flip(0), use_cache=False).logits
    return model(input_ids=ids).logits


def ours_output(model: Any, ids: torch.Tensor) -> torch.Tensor:
    return model(ids, ids.flip(0)) if hasattr(model, "encoder") else model(ids)


def far(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return root_mean_square(ours - theirs) / root_mean_square(theirs)


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

    def __init__(self, base: PreTrainedModel, folder: Path, targets: Sequence[str], **options: Any):
        self.base, self.folder = base, folder
        ours, self.family = ours_of(base)
        self.ids = random_ids(ours.vocab_size, 2, 11, 5)
        config = peft.LoraConfig(target_modules=modules_of(ours, self.family, targets), **options)
        self.theirs = peft.get_peft_model(copy.deepcopy(base), config).eval()
        away_from_first(self.theirs, 3)
        self.theirs.save_pretrained(folder)
        adapters, read = read_adapter(folder, ours, self.family, ours.get_parameter)
        put(ours, adapters, read.dropout)
        self.ours = ours.eval()

    def outputs(self) -> tuple[torch.Tensor, torch.Tensor]:
        return ours_output(self.ours, self.ids), theirs_output(self.theirs, self.ids)

    def gradients(self) -> tuple[dict[str, Adapter], dict[str, Adapter]]:
        """Of the same scalar, ours and theirs. Theirs are saved as if they were adapters, and read as adapters are, so
        that what PEFT fuses is cut; its one A then has the sum of our gradients."""
        for output in self.outputs():
            output.sin().sum().backward()
        carrier = copy.deepcopy(self.theirs)
        with torch.no_grad():
            for own, original in zip(carrier.parameters(), self.theirs.parameters()):
                own.copy_(torch.zeros_like(own) if original.grad is None else original.grad)
        carrier.save_pretrained(self.folder.with_name("gradients"))
        plain, _ = ours_of(self.base)
        theirs, _ = read_adapter(self.folder.with_name("gradients"), plain, self.family, plain.get_parameter)
        return gradients_of(self.ours), theirs


def gradients_of(ours: Any) -> dict[str, Adapter]:
    modules = {name: module for name, module in ours.named_modules() if isinstance(module, Adapted)}
    return {
        name: Adapter(m.lora_A.grad, m.lora_B.grad, m.scale, m.magnitude.grad if hasattr(m, "magnitude") else None)
        for name, m in modules.items()
    }


@pairs
def test_a_folder_of_peft(name: str, kind: str, tmp_path: Path) -> None:
    given = Given(fixed_base(name), tmp_path / "adapter", ["all-linear"], **KINDS[kind])
    ours, theirs = given.outputs()
    assert far(ours, theirs) <= TOLERANCE
    merged = merge_adapter(given.ours, given.family)
    assert not adapters_of(merged) and merged.num_parameters() == ours_of(given.base)[0].num_parameters()
    assert far(ours_output(merged, given.ids), ours) <= TOLERANCE
    theirs_merged = given.theirs.merge_and_unload()
    assert far(ours_output(merged, given.ids), theirs_output(theirs_merged, given.ids)) <= TOLERANCE
    again, _ = ours_of(theirs_merged)
    for parameter, value in again.named_parameters():
        assert difference(merged.get_parameter(parameter), value) <= TOLERANCE


@pairs
def test_gradients_are_those_of_peft(name: str, kind: str, tmp_path: Path) -> None:
    given = Given(fixed_base(name), tmp_path / "adapter", ["all-linear"], **KINDS[kind])
    ours, theirs = given.gradients()
    assert ours.keys() == theirs.keys() == adapters_of(given.ours).keys()
    greatest = max(float(gradient.lora_B.abs().max()) for gradient in theirs.values())
    for parts in checkpoint_parts(adaptable(given.ours), given.family.names(given.ours.config)).values():
        own = [ours[part] for part, _ in parts if part in ours]
        wanted = [theirs[part] for part, _ in parts if part in theirs]
        if own:
            assert float((sum(g.lora_A for g in own) - wanted[0].lora_A).abs().max()) <= GRADIENT_TOLERANCE * greatest
        for mine, other in zip(own, wanted):
            assert float((mine.lora_B - other.lora_B).abs().max()) <= GRADIENT_TOLERANCE * greatest
            assert (mine.magnitude is None) == (other.magnitude is None) == (kind != "dora")
            if mine.magnitude is not None:
                assert float((mine.magnitude - other.magnitude).abs().max()) <= GRADIENT_TOLERANCE * greatest


@pairs
def test_peft_opens_our_folder(name: str, kind: str, tmp_path: Path, tiny_tokenizer: Tokenizer) -> None:
    assert furthest_in_peft(fixed_base(name), kind, ("all-linear",), tmp_path, tiny_tokenizer) <= TOLERANCE


@drawn
@settings(max_examples=1)
@given(data=st.data())
def test_drawn_families_both_ways(
    case: ModuleType,
    kind: str,
    data: st.DataObject,
    tmp_path_factory: pytest.TempPathFactory,
    tiny_tokenizer: Tokenizer,
) -> None:
    base, folder = random_reference(case, data.draw(case.configs()), 2), tmp_path_factory.mktemp("both")
    given = Given(base, folder / "adapter", ["all-linear"], **KINDS[kind])
    assert far(*given.outputs()) <= DRAWN_TOLERANCE
    folder = tmp_path_factory.mktemp("ours")
    assert furthest_in_peft(base, kind, ("all-linear",), folder, tiny_tokenizer) <= DRAWN_TOLERANCE


@pytest.mark.filterwarnings("ignore:The following (rank|alpha)_pattern keys:RuntimeWarning")
@pytest.mark.parametrize("name", MIXTURES)
def test_experts_in_peft(name: str, tmp_path: Path, tiny_tokenizer: Tokenizer) -> None:
    """An adapter for each expert: PEFT joins them as transformers joins the experts. Its own way back is refused."""
    config = AutoConfig.for_model(name, **MIXTURES[name])
    base = randomise(AutoModelForCausalLM.from_config(config, attn_implementation="eager"), 2)
    targets = ("all-linear", "router")
    assert furthest_in_peft(base, "lora", targets, tmp_path / "ours", tiny_tokenizer) <= TOLERANCE
    theirs = peft.get_peft_model(base, peft.LoraConfig(target_parameters=["mlp.experts.down_proj"]))
    theirs.save_pretrained(tmp_path / "theirs")
    with pytest.raises(HanlinError, match="target_parameters"):
        read_config(tmp_path / "theirs")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("name", "targets"),
    [
        ("qwen3", ("embed_tokens",)),
        ("gemma3_text", ("embed_tokens", "down_proj")),
        ("phi3", ("lm_head", "q_proj", "up_proj")),
        ("gpt2", ("v_proj", "c_fc", "wte")),
        ("bert", ("query", "word_embeddings", "attention.output.dense")),
        ("t5", ("decoder.layers.1.cross.q_proj", "wo", "lm_head")),
    ],
)
def test_single_matrices_both_ways(
    name: str, targets: tuple[str, ...], kind: str, tmp_path: Path, tiny_tokenizer: Tokenizer
) -> None:
    """The embedding, the head, and some of the parts of a fused matrix. Merged, transformers opens them, embedding and
    head apart where they were one."""
    assert furthest_in_peft(fixed_base(name), kind, targets, tmp_path / "ours", tiny_tokenizer) <= TOLERANCE
    given = Given(fixed_base(name), tmp_path / "theirs", targets, **KINDS[kind])
    assert far(*given.outputs()) <= TOLERANCE
    merged = merge_adapter(given.ours, given.family)
    assert far(ours_output(merged, given.ids), ours_output(given.ours, given.ids)) <= TOLERANCE
    (tmp_path / "merged").mkdir()
    save_model(tmp_path / "merged", merged, given.family)
    opened = type(given.base).from_pretrained(tmp_path / "merged", attn_implementation="eager").eval()
    assert far(ours_output(merged, given.ids), theirs_output(opened, given.ids)) <= TOLERANCE


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_is_that_of_peft(kind: str, tmp_path: Path) -> None:
    """The same draws: linear layers follow each other in the same order."""
    given = Given(fixed_base("qwen3"), tmp_path / "adapter", ["all-linear"], lora_dropout=0.4, **KINDS[kind])
    plain, _ = given.outputs()
    given.ours.train(), given.theirs.train()
    torch.manual_seed(1)
    ours = ours_output(given.ours, given.ids)
    torch.manual_seed(1)
    assert far(ours, theirs_output(given.theirs, given.ids)) <= TOLERANCE
    assert far(ours, plain) > 0.01


def test_ranks_and_alphas_of_single_modules(tmp_path: Path) -> None:
    patterns = {
        "rank_pattern": {"q_proj": 6, "layers.1.mlp.up_proj": 1},
        "alpha_pattern": {"q_proj": 3, r".*\.mlp.*": 5},
    }
    given = Given(fixed_base("qwen3"), tmp_path / "adapter", ["all-linear"], **KINDS["rslora"], **patterns)
    assert far(*given.outputs()) <= TOLERANCE
    assert adapters_of(given.ours)["layers.1.mlp.up_proj"].rank == 1


def furthest_in_peft(
    base: PreTrainedModel, kind: str, targets: tuple[str, ...], folder: Path, tokenizer: Tokenizer
) -> float:
    """How far an adapter made here is from itself opened by PEFT, and by us."""
    folder.mkdir(exist_ok=True)
    ours, family = ours_of(base)
    options = Lora(2, 6.0, targets=targets, dora=kind == "dora", rslora=kind == "rslora")
    attach(ours, family, options)
    away_from_first(ours.eval(), 3)
    write_adapter(folder, ours, family, options, Base("", ""), tokenizer)
    ids = random_ids(ours.vocab_size, 2, 11, 5)
    again, _ = ours_of(base)
    adapters, read = read_adapter(folder, again, family, again.get_parameter)
    put(again, adapters)
    assert (read.rank, read.alpha, read.rslora, read.dora) == (2, 6.0, options.rslora, options.dora)
    outputs = ours_output(ours, ids)
    theirs = peft.PeftModel.from_pretrained(copy.deepcopy(base), folder).eval()
    return max(far(outputs, theirs_output(theirs, ids)), far(outputs, ours_output(again.eval(), ids)))
