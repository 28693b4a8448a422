"""Which of several processes this is, as torchrun says it in the environment. Without torchrun: the only one."""

from __future__ import annotations

import os


def rank() -> int:
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """The process that writes, prints and seals; the others only compute."""
    return rank() == 0


def launch() -> str:
    """A name that all processes of one launch share, and no other launch has."""
    names = ("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "MASTER_ADDR", "MASTER_PORT")
    return "-".join(os.environ.get(name, "") for name in names)
