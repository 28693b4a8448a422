"""Large pages: a matrix stays what and where it is."""

from __future__ import annotations

import torch

from hanlin.core.generate.kernels import large_pages
from hanlin.core.generate.kernels.packed import can_pack_codes


def test_numbers_and_address_stay() -> None:
    tensor = torch.arange(3 * large_pages.PAGE, dtype=torch.int32)
    before, address = tensor.clone(), tensor.data_ptr()
    large_pages._ask(tensor)
    assert tensor.data_ptr() == address
    assert torch.equal(tensor, before)


def test_a_small_tensor_has_no_whole_page() -> None:
    large_pages._ask(torch.zeros(8))


def test_the_place_of_a_librarys_own_layout() -> None:
    codes = torch.ones(64, 32, dtype=torch.int8)
    tensor = torch.ops.onednn.qlinear_prepack(codes, None) if can_pack_codes("cpu") else codes
    address, num_bytes = large_pages.place_of(tensor)
    assert address > 0
    assert num_bytes >= codes.nbytes
