"""Who does the work. An engine maps a function over tasks; both are plain values that travel between processes.

Results come as they are finished, in any order. What a task makes is a file of its own, so engines differ in speed
alone.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait
from types import ModuleType
from typing import Any, TypeVar

from hanlin.core.run.errors import HanlinError

Task = TypeVar("Task")
Map = Callable[[Callable[[Any], Any], Sequence[Any]], Iterator[Any]]
"""map(function, tasks): the results in any order."""

LEAST_POOL_BYTES = 64 * 2**20
"""Below that the processes' start takes longer than what they save."""


@contextmanager
def engine(kind: str, workers: int | None, input_bytes: int) -> Iterator[Map]:
    """The engine for `engine=` and `workers=`. Raises HanlinError where Ray is asked for and not installed."""
    kind, workers = chosen(kind, workers, input_bytes)
    if kind == "one":
        yield map
    elif kind == "pool":
        with _pool(workers) as mapping:
            yield mapping
    else:
        from hanlin.make.collect.pipeline.ray_engine import ray_map

        with ray_map(workers) as mapping:
            yield mapping


def chosen(kind: str, workers: int | None, input_bytes: int) -> tuple[str, int]:
    """What `engine=` and `workers=` come to: "one", "pool" or "ray", and how many work."""
    workers = workers or os.cpu_count() or 1
    if kind == "auto":
        kind = "pool" if workers > 1 and input_bytes >= LEAST_POOL_BYTES else "one"
    return kind, 1 if kind == "one" else workers


@contextmanager
def _pool(workers: int) -> Iterator[Map]:
    """Processes that start anew (nothing is inherited), leave Ctrl-C to the main one, and end when it does."""
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin)

    def mapping(function: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Any]:
        with _main_module_left_alone():
            futures = [pool.submit(function, task) for task in tasks]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise _worker_died() from error

    try:
        yield mapping
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


GARBAGE_THRESHOLDS = (50_000, 20, 100)
"""Rows are many and hardly ever refer to each other in circles: looked for at Python's own pace, that takes a fifth of
a worker's time."""


@contextmanager
def _main_module_left_alone() -> Iterator[None]:
    """Processes that start within import our modules, and not the script that is running: one without
    `if __name__ == "__main__"` would run again in each of them."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _begin() -> None:
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


def _worker_died() -> HanlinError:
    return HanlinError(
        "A worker process ended without a word, as happens when memory runs out.",
        "enough memory for all workers",
        "run the same command again with fewer workers: workers=1",
        "docs/scale.md",
    )
