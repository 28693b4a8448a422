"""What this machine has."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def memory_bytes() -> int:
    """What this machine, or the container around us, has. 0 where nobody says."""
    limits = []
    with suppress(OSError, ValueError):
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):  # the word "max" is no limit
            limits.append(int(Path(file).read_text()))
    return min(limits, default=0)


def available_bytes() -> int:
    """Memory that new work may take, as the system says; half of all where it doesn't say."""
    with suppress(OSError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return min(int(line.split()[1]) * 1024, memory_bytes())
    return memory_bytes() // 2
