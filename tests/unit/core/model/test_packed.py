"""A packed document reads as it does alone: in every family, on every path, forwards and backwards.

Configs are those of the parity tests, drawn anew: rows run beyond windows, and beyond the lengths from which a rope's
frequencies change.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import DECODERS
from transformers import AutoConfig

from hanlin.core.model import families
from hanlin.core.model.attention import Attention, attend, attend_by_products
from hanlin.core.model.cross_attention import Source
from hanlin.core.model.encoder import Encoder
from hanlin.core.model.encoder_decoder import EncoderDecoder
from hanlin.core.model.equality import difference, root_mean_square
from hanlin.core.model.mamba import MambaMixer
from hanlin.core.model.positions.alibi import ALiBi, slopes
from hanlin.core.model.positions.none import NoPosition
from hanlin.core.model.positions.rope import Rope
from hanlin.core.model.positions.sinusoidal import SinusoidalPositions
from hanlin.core.model.pretrained import known_families
from hanlin.core.model.reading import Reading
from hanlin.core.model.soft_cap import capped_attention

TOLERANCE = 1e-5
CPU = torch.device("cpu")
Rows = list[list[int]]

packings = st.lists(st.lists(st.integers(1, 20), min_size=1, max_size=4), min_size=1, max_size=3)
"""Lengths of the documents of each row; the rows are padded to the longest."""
seeds = st.integers(0, 10_000)
paths = pytest.mark.parametrize("one_by_one", [True, False], ids=["one by one", "mask"])

FIXED: dict[str, dict[str, Any]] = {
    "bert": {
        "architectures": ["BertForMaskedLM"],
        "vocab_size": 97,
        "hidden_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "intermediate_size": 40,
        "hidden_act": "gelu",
        "max_position_embeddings": 24,
        "type_vocab_size": 2,
        "layer_norm_eps": 1e-5,
        "pad_token_id": 0,
    },
    "t5": {
        "model_type": "t5",
        "vocab_size": 97,
        "d_model": 24,
        "d_kv": 8,
        "d_ff": 40,
        "num_layers": 2,
        "num_heads": 3,
        "relative_attention_num_buckets": 8,
        "relative_attention_max_distance": 12,
        "feed_forward_proj": "gated-gelu",
    },
}
FIXED["xlm_roberta"] = {**FIXED["bert"], "architectures": ["XLMRobertaForMaskedLM"], "pad_token_id": 1}


@st.composite
def models(draw: st.DrawFn, family: str) -> Any:
    """A small model of the family, every number random."""
    if family in FIXED:
        values = FIXED[family]
    elif family == "phixtral":
        values = {**transformers_config(draw, DECODERS["phi"]), "num_local_experts": 3, "num_experts_per_tok": 2}
    else:
        values = transformers_config(draw, DECODERS[family])
    model = importlib.import_module(f"{families.__name__}.{family}").build(values)
    random = torch.Generator().manual_seed(draw(seeds))
    with torch.no_grad():
        model.embed_tokens.weight.mul_(0.05)  # or the logits of tied heads are so large that rounding is the difference
        for parameter in model.parameters():
            parameter.add_(torch.empty(parameter.shape).normal_(0, 0.08, generator=random))
    return model.eval()


def transformers_config(draw: st.DrawFn, case: ModuleType) -> dict[str, Any]:
    return json.loads(AutoConfig.for_model(case.MODEL_TYPE, **draw(case.configs())).to_json_string())


def ids_and_documents(rows: Rows, vocab_size: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random ids; 0 and 1 are left out, since encoders' padding tokens are read in a way of their own."""
    width = max(map(sum, rows))
    ids = torch.randint(2, vocab_size, (len(rows), width), generator=torch.Generator().manual_seed(seed))
    documents = torch.full((len(rows), width), -1)
    for place, row in enumerate(rows):
        numbers = [number for number, length in enumerate(row) for _ in range(length)]
        documents[place, : len(numbers)] = torch.tensor(numbers)
    return ids, documents


def parts(rows: Rows) -> Iterator[tuple[int, slice]]:
    """Where each document stands: its row and its places there."""
    for place, row in enumerate(rows):
        first = 0
        for length in row:
            yield place, slice(first, first + length)
            first += length


def read(model: Any, ids: torch.Tensor, documents: torch.Tensor | None) -> torch.Tensor:
    """The last states: of a decoder as training asks for them; of others through their blocks, for packing is not
    offered to them. Of an encoder-decoder both stacks', the decoder's with one and the same source."""
    length = ids.shape[1]
    if isinstance(model, Encoder):
        if documents is None:
            return model.states(ids)
        reading = Reading(0, length, CPU, causal=False, documents_BT=documents)
        x_BTC = model.entry(model.embed_tokens(ids), reading)
        for layer in model.layers:
            x_BTC = layer(x_BTC, reading)
        return x_BTC
    if isinstance(model, EncoderDecoder):
        x_BTC = model.embed_tokens(ids)
        source = Source(model.embed_tokens.weight[None, 3:9].expand(len(ids), -1, -1))
        both = Reading(0, length, CPU, causal=False, documents_BT=documents)
        past = Reading(0, length, CPU, documents_BT=documents)
        return torch.cat([model.encoder(x_BTC, both, None), model.decoder(x_BTC, past, None, source)], dim=-1)
    return model.states(ids, documents)


def on_path(one_by_one: bool, compute: Callable[[], Any]) -> Any:
    """As on the CPU, or as on a GPU and while compiling."""
    with pytest.MonkeyPatch.context() as patch:
        if not one_by_one:
            patch.setattr(Reading, "one_by_one", False)
        return compute()


@paths
@pytest.mark.parametrize("family", sorted([*DECODERS, "phixtral", *FIXED]))
@settings(max_examples=4)
@given(data=st.data(), rows=packings, seed=seeds)
@torch.no_grad()
def test_a_packed_document_reads_as_alone(
    family: str, one_by_one: bool, data: st.DataObject, rows: Rows, seed: int
) -> None:
    model = data.draw(models(family))
    ids, documents = ids_and_documents(rows, model.vocab_size, seed)
    packed = on_path(one_by_one, lambda: read(model, ids, documents))
    assert packed.isfinite().all()
    for row, part in parts(rows):
        alone = read(model, ids[row : row + 1, part], None)
        assert difference(packed[row, part], alone[0]) <= TOLERANCE
        if hasattr(model, "lm_head") and not isinstance(model, EncoderDecoder):
            assert difference(model.head(packed[row, part]), model(ids[row : row + 1, part])[0]) <= TOLERANCE


@paths
@pytest.mark.parametrize("family", sorted([*DECODERS, "phixtral", *FIXED]))
@settings(max_examples=2)
@given(data=st.data(), rows=packings, seed=seeds)
def test_gradients_are_the_sum_of_those_alone(
    family: str, one_by_one: bool, data: st.DataObject, rows: Rows, seed: int
) -> None:
    model = data.draw(models(family))
    ids, documents = ids_and_documents(rows, model.vocab_size, seed)

    def gradients(loss: torch.Tensor) -> dict[str, torch.Tensor]:
        model.zero_grad(set_to_none=False)
        loss.backward()
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    packed = on_path(one_by_one, lambda: read(model, ids, documents))
    toward = torch.randn(packed.shape, generator=torch.Generator().manual_seed(seed))
    found = gradients((packed * toward)[documents >= 0].sum())
    alone = [(read(model, ids[row : row + 1, part], None)[0] * toward[row, part]).sum() for row, part in parts(rows)]
    expected = gradients(sum(alone, torch.zeros(())))
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        size = 1 + float(gradient.abs().max())
        assert float((found[name] - gradient).abs().max()) / size <= TOLERANCE, name


def random_attention(position: Any, window: int | None, cap: float | None, dtype: torch.dtype) -> Attention:
    kernel = attend if cap is None else capped_attention(cap)
    attention = Attention(24, 4, 2, 8, position, window=window, attend=kernel)
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in attention.parameters():
            parameter.normal_(0, 0.3, generator=random)
    return attention.to(dtype)


POSITIONS: dict[str, Callable[[], Any]] = {
    "none": NoPosition,
    "rope": lambda: Rope(8, 100.0),
    "dynamic rope": lambda: Rope(8, 100.0, {"rope_type": "dynamic", "factor": 2.0}, max_positions=6),
    "ALiBi": lambda: ALiBi(slopes(4)),
}


@paths
@pytest.mark.parametrize("position", POSITIONS.values(), ids=list(POSITIONS))
@settings(max_examples=20)
@given(
    rows=packings,
    window=st.none() | st.integers(1, 25),
    cap=st.none() | st.just(2.0),
    causal=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    seed=seeds,
)
def test_attention_of_every_kind(
    position: Callable[[], Any],
    one_by_one: bool,
    rows: Rows,
    window: int | None,
    cap: float | None,
    causal: bool,
    dtype: torch.dtype,
    seed: int,
) -> None:
    """Also the kinds no family has: both ways with ALiBi, soft caps with windows."""
    if cap is not None and position is POSITIONS["ALiBi"]:
        cap = None  # what a cap does to a bias is not defined
    attention = random_attention(position(), window, cap, dtype)
    _, documents = ids_and_documents(rows, 3, seed)
    x = torch.randn(*documents.shape, 24, generator=torch.Generator().manual_seed(seed)).to(dtype)
    reading = Reading(0, x.shape[1], CPU, causal=causal, documents_BT=documents)
    packed = on_path(one_by_one, lambda: attention(x, reading))
    assert packed.isfinite().all()
    for row, part in parts(rows):
        alone = attention(x[row : row + 1, part], Reading(0, part.stop - part.start, CPU, causal=causal))[0]
        if dtype == torch.float32:
            assert difference(packed[row, part], alone) <= TOLERANCE
        else:
            assert root_mean_square(packed[row, part] - alone) <= 0.02 * (1 + root_mean_square(alone))


@given(rows=packings, seed=seeds)
def test_places_that_are_added_begin_anew(rows: Rows, seed: int) -> None:
    _, documents = ids_and_documents(rows, 3, seed)
    reading = Reading(0, documents.shape[1], CPU, documents_BT=documents)
    x = torch.zeros(*documents.shape, 6)
    places = SinusoidalPositions(6)
    for row, part in parts(rows):
        alone = places(x[:1, part], Reading(0, part.stop - part.start, CPU))
        assert torch.equal(places(x, reading)[row : row + 1, part], alone)
    assert (reading.positions[documents < 0] == 0).all()


@given(rows=packings, window=st.none() | st.integers(1, 8), causal=st.booleans(), seed=seeds)
def test_a_mask_is_the_rule_for_every_pair(rows: Rows, window: int | None, causal: bool, seed: int) -> None:
    _, documents = ids_and_documents(rows, 3, seed)
    mask = Reading(0, documents.shape[1], CPU, causal=causal, documents_BT=documents).mask(window)
    assert mask is not None
    for row, numbers in enumerate(documents.tolist()):
        for query, its in enumerate(numbers):
            for key, other in enumerate(numbers):
                seen = its == other and (key <= query or not causal) and (window is None or query - key < window)
                assert bool(mask[row, 0, query, key]) == seen


@pytest.mark.parametrize(
    "mixer", [MambaMixer(8, 12, 4, 2, 3, F.silu), random_attention(NoPosition(), None, None, torch.float32)]
)
def test_a_row_of_padding_alone_is_read_as_well(mixer: Any) -> None:
    """Ranks that have fewer rows than others fill up with such."""
    width = 8 if isinstance(mixer, MambaMixer) else 24
    x = torch.randn(2, 5, width)
    nothing = torch.full((2, 5), -1)
    mixer(x, Reading(0, 5, CPU, documents_BT=nothing)).sum().backward()
    some = torch.tensor([[-1] * 5, [0, 0, 1, -1, -1]])
    assert mixer(x, Reading(0, 5, CPU, documents_BT=some)).isfinite().all()


@given(
    num_queries=st.integers(1, 9),
    num_keys=st.integers(1, 9),
    kind=st.sampled_from(["none", "causal", "bool", "number"]),
    seed=seeds,
)
def test_products_are_the_fused_kernel(num_queries: int, num_keys: int, kind: str, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    num_keys = num_queries if kind == "causal" else num_keys
    q = torch.randn(2, 3, num_queries, 8, generator=random, requires_grad=True)
    k, v = (torch.randn(2, 3, num_keys, 8, generator=random, requires_grad=True) for _ in range(2))
    toward = torch.randn(2, 3, num_queries, 8, generator=random)
    masks = {
        "bool": torch.rand(2, 1, num_queries, num_keys, generator=random) > 0.5,
        "number": torch.randn(1, 3, num_queries, num_keys, generator=random),
    }
    if kind == "bool":
        masks["bool"][..., 0] = True
    found = []
    for kernel in (attend_by_products, attend):
        y = kernel(q, k, v, masks.get(kind), kind == "causal", 0.4)
        found.append((y, *torch.autograd.grad(y, (q, k, v), toward)))
    for ours, fused in zip(*found):
        assert difference(ours, fused) <= TOLERANCE


def test_training_in_bfloat16_is_as_close_to_float32_as_the_fused_kernel() -> None:
    """Root mean square errors of output and gradients, the products' at most one and a half times the kernel's."""
    random = torch.Generator().manual_seed(0)
    exact = [torch.randn(2, 4, 96, 32, generator=random, requires_grad=True) for _ in range(3)]
    toward = torch.randn(2, 4, 96, 32, generator=random)

    def run(kernel: Any, tensors: list[torch.Tensor]) -> list[torch.Tensor]:
        y = kernel(*tensors, None, True, 32**-0.5)
        return [y, *torch.autograd.grad(y, tensors, toward.to(y.dtype))]

    def fused(q: Any, k: Any, v: Any, mask: Any, causal: bool, scale: float) -> torch.Tensor:
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal, scale=scale)

    rounded = [tensor.detach().bfloat16().requires_grad_() for tensor in exact]
    for true, ours, theirs in zip(run(fused, exact), run(attend, rounded), run(fused, rounded)):
        error, bound = (root_mean_square(found.detach().float() - true) for found in (ours, theirs))
        assert not torch.equal(ours, theirs) and error <= 1.5 * bound


def test_every_family_is_packed_here() -> None:
    assert {family.__name__.rpartition(".")[2] for family in known_families()} == {*DECODERS, "phixtral", *FIXED}
