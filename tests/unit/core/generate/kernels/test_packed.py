"""Packed codes multiply exactly, whether this machine packs them or not."""

from __future__ import annotations

import pytest
import torch

from hanlin.core.generate.kernels import packed


@pytest.mark.parametrize("packs", [True, False])
@pytest.mark.parametrize("rows", [1, 3, 40])
def test_whole_numbers_are_multiplied_exactly(packs: bool, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if packs and not packed.can_pack_codes("cpu"):
        pytest.skip("this torch packs no codes")
    if not packs:
        monkeypatch.setattr(packed, "can_pack_codes", lambda device: False)
    random = torch.Generator().manual_seed(0)
    codes = torch.randint(-127, 128, (96, 64), dtype=torch.int8, generator=random)
    x = torch.randint(-127, 128, (rows, 64), generator=random).float()
    scales = torch.rand(96, generator=random)
    found = packed.PackedCodes(codes, scales).product(x)
    assert found.dtype == torch.float32
    assert torch.allclose(found, (x @ codes.float().T) * scales, rtol=1e-6)
