"""AdamW: torch's kernel and the formula agree, and a layout the kernel would misread goes to the formula."""

from __future__ import annotations

import pytest
import torch

from hanlin.core.train.optimizers import adamw


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def ten_steps(weight: torch.Tensor, transposed_gradients: bool = False) -> torch.Tensor:
    state = adamw.new_state(weight)
    for number in range(10):
        gradient = random(*weight.shape, seed=number)
        if transposed_gradients:
            gradient = gradient.mT.contiguous().mT
        adamw.step([weight], [gradient], [state], 0.01, number + 1, 0.1, (0.9, 0.95), 1e-8)
    return weight


def test_kernel_and_formula_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    by_kernel = ten_steps(random(6, 4))
    monkeypatch.setattr(adamw, "FUSED_ON", ())
    assert torch.allclose(by_kernel, ten_steps(random(6, 4)), atol=1e-6, rtol=0)


def test_a_gradient_in_another_layout_is_read_as_what_it_is() -> None:
    assert torch.allclose(
        ten_steps(random(6, 4)), ten_steps(random(6, 4), transposed_gradients=True), atol=1e-6, rtol=0
    )
