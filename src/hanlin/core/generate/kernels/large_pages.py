"""Matrices in memory pages of 2 MB. A product of one row reads every byte of a matrix once: in pages of 4 kB it waits
for their addresses as long as for the bytes."""

from __future__ import annotations

import ctypes
import mmap
import sys
import threading

import torch

PAGE = 2**21
LATER_SECONDS = 2.0
COLLAPSE = 25
"""MADV_COLLAPSE of Linux 6.1: the pages that lie there become large ones at once."""


def in_large_pages(tensor: torch.Tensor) -> None:
    """Ask the system for it, beside what else is done and once the model has begun to write (100 MB take a quarter of a
    second). Address and numbers stay the same; where the system refuses (an older Linux, too little memory in one
    piece) nothing changes."""
    if sys.platform.startswith("linux") and tensor.device.type == "cpu":
        later = threading.Timer(LATER_SECONDS, _ask, (tensor,))
        later.daemon = True
        later.start()


def _ask(tensor: torch.Tensor) -> None:
    address, num_bytes = place_of(tensor)
    start, end = -(-address // PAGE) * PAGE, (address + num_bytes) // PAGE * PAGE
    if start < end:
        system = ctypes.CDLL(None)
        for advice in (mmap.MADV_HUGEPAGE, COLLAPSE):
            system.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), advice)


def place_of(tensor: torch.Tensor) -> tuple[int, int]:
    """Where a tensor's bytes begin, and how many they are; also of one that a library keeps in its own layout."""
    if tensor.is_mkldnn:
        return torch.ops.mkldnn.data_ptr(tensor), torch.ops.mkldnn._nbytes(tensor)
    storage = tensor.untyped_storage()
    return storage.data_ptr(), storage.nbytes()
