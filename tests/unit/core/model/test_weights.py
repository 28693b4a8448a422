"""Names and layouts: what is split can be joined again, and every parameter has one place."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from toy import small_decoder

from hanlin.core.model.families.llama import NAMES
from hanlin.core.model.weights import Part, join, layout, place, split, stored_shape


@given(
    groups=st.integers(1, 4),
    widths=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    columns=st.integers(0, 3),
    grouped=st.booleans(),
    transposed=st.booleans(),
)
def test_what_is_joined_splits_into_the_same(
    groups: int, widths: list[int], columns: int, grouped: bool, transposed: bool
) -> None:
    """Parts of any height, matrices or biases (0 columns), whole or head by head, stored either way round."""
    state = {
        str(place): torch.randn(groups * width, *([columns] if columns else [])) for place, width in enumerate(widths)
    }
    group = widths[0] if grouped else 0
    parts = [(name, Part("x", place, group, transposed=transposed)) for place, name in enumerate(state)]
    shapes = {name: tensor.shape for name, tensor in state.items()}
    stored = join(parts, state)
    assert tuple(stored.shape) == stored_shape(parts, shapes)
    again = split(stored, parts, shapes)
    assert again.keys() == state.keys()
    assert all(torch.equal(again[name], state[name]) and again[name].is_contiguous() for name in state)


def test_heads_in_turn() -> None:
    """Two heads of width 1: q0 k0 v0 q1 k1 v1, as BLOOM stores them."""
    state = {"q": torch.tensor([0.0, 1.0]), "k": torch.tensor([10.0, 11.0]), "v": torch.tensor([20.0, 21.0])}
    parts = [(name, Part("qkv", place, group=1)) for place, name in enumerate(state)]
    assert join(parts, state).tolist() == [0, 10, 20, 1, 11, 21]


@given(heads=st.integers(1, 3), half=st.integers(1, 4), columns=st.integers(0, 2), add=st.sampled_from([0.0, 1.0]))
def test_rotary_order_and_offsets_come_back(heads: int, half: int, columns: int, add: float) -> None:
    state = {"q": torch.randn(heads * 2 * half, *([columns] if columns else []), dtype=torch.float64)}
    parts = [("q", Part("x", pairs=2 * half, add=add))]
    stored = join(parts, state)
    for head in range(heads):
        for pair in range(half):
            row = head * 2 * half
            assert torch.equal(stored[row + 2 * pair], state["q"][row + pair] + add)
            assert torch.equal(stored[row + 2 * pair + 1], state["q"][row + half + pair] + add)
    torch.testing.assert_close(split(stored, parts, {"q": state["q"].shape})["q"], state["q"])


def test_experts_are_slices_of_one_tensor() -> None:
    names = {"layers.*.mlp.experts.*.up_proj": Part("blk.*.ffn_up_exps", stacked=True)}
    parts = [(name, place(name, names)) for name in (f"layers.4.mlp.experts.{e}.up_proj.weight" for e in range(3))]
    assert [(part.name, part.index) for _, part in parts] == [("blk.4.ffn_up_exps.weight", e) for e in range(3)]
    state = {name: torch.randn(2, 5) for name, _ in parts}
    stored = join(parts, state)
    assert stored.shape == (3, 2, 5) == stored_shape(parts, {name: x.shape for name, x in state.items()})
    again = split(stored, parts, {name: x.shape for name, x in state.items()})
    assert all(torch.equal(again[name], state[name]) for name in state)


def test_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(3, 2\), expected \(2, 3\)"):
        split(torch.zeros(3, 2), [("a", Part("x"))], {"a": torch.Size([2, 3])})


def test_the_longest_name_decides_and_stars_are_filled_in_order() -> None:
    names = {
        "layers.*.mlp": "model.blocks.*.ffn",
        "layers.*.mlp.experts.*.up_proj": Part("model.blocks.*.ffn.e.*.w", 2, transposed=True),
    }
    assert place("layers.7.mlp.gate.weight", names) == Part("model.blocks.7.ffn.gate.weight")
    assert place("layers.12.mlp.experts.3.up_proj.bias", names) == Part(
        "model.blocks.12.ffn.e.3.w.bias", 2, transposed=True
    )
    with pytest.raises(KeyError, match=r"norm\.weight"):
        place("norm.weight", names)


def test_every_parameter_is_stored_once_and_tied_ones_not_at_all() -> None:
    model = small_decoder()
    stored = layout(model, NAMES)
    assert sorted(name for parts in stored.values() for name, _ in parts) == sorted(dict(model.named_parameters()))
    assert "lm_head.weight" not in stored
    assert "model.layers.1.self_attn.q_proj.weight" in stored
