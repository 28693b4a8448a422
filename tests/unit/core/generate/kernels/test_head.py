"""A screened head: the likeliest logits are exact, the others close, in any number of rows."""

from __future__ import annotations

import torch
from torch import nn

from hanlin.core.generate.kernels.head import EXACT, ScreenedHead


@torch.no_grad()
def test_the_likeliest_are_exact_and_the_others_close() -> None:
    torch.manual_seed(0)
    head = nn.Linear(64, 20_000)
    screened = ScreenedHead.from_linear(head)
    x = torch.randn(3, 2, 64)
    exact, found = head(x), screened(x)
    assert found.shape == exact.shape
    assert (found - exact).abs().max() < 0.05
    likeliest = exact.topk(EXACT // 2).indices
    assert torch.allclose(found.gather(-1, likeliest), exact.gather(-1, likeliest), atol=1e-5)
    alone = screened(x[1:2, :1])
    assert torch.equal(alone[0, 0], found[1, 0])
