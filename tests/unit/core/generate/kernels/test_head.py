"""A screened head: the likeliest logits are exact, the others close, in any number of rows."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hanlin.core.generate.kernels.head import ScreenedHead, likeliest


@pytest.mark.parametrize("turned", [True, False])
@torch.no_grad()
def test_the_likeliest_are_exact_and_the_others_close(turned: bool) -> None:
    torch.manual_seed(0)
    head = nn.Linear(64, 40_000)
    screened = ScreenedHead.from_linear(head, turned)
    x = torch.randn(3, 2, 64)
    for rows in (x, x[1:2, :1]):
        exact, found = head(rows), screened(rows)
        assert found.shape == exact.shape and found.dtype == torch.float32
        assert (found - exact).abs().max() < (0.05 if turned else 0.3)
        best = exact.topk(16).indices
        assert torch.allclose(found.gather(-1, best), exact.gather(-1, best), atol=1e-5)


@pytest.mark.parametrize("size", [50, 999, 20_000, 64 * 400])
def test_the_likeliest_are_those_of_topk(size: int) -> None:
    logits = torch.randn(3, size, generator=torch.Generator().manual_seed(1))
    found = logits.gather(1, likeliest(logits, 64))
    wanted = logits.topk(min(64, size)).values
    assert torch.equal(found.sort(descending=True).values, wanted)
