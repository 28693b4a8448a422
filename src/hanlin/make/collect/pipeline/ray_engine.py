"""The same work as tasks of Ray Data, on this machine's cores or on a cluster's (RAY_ADDRESS, or a `ray` that runs).

Tasks are shards' names and the job; rows lie in files. So on a cluster the run's folder and the sources must be on a
disk that all machines share. https://docs.ray.io/en/latest/data/data.html
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hanlin.core.run.errors import HanlinError
from hanlin.make.collect.pipeline.engines import Map


@contextmanager
def ray_map(workers: int) -> Iterator[Map]:
    """An engine of `workers` tasks at once. A Ray that is running already is used and left running."""
    try:
        import ray
        import ray.data
    except ImportError:
        raise HanlinError(
            "engine=ray needs Ray.", "the extra ray", 'pip install "hanlin[ray]"', "docs/scale.md"
        ) from None
    begun_here = not ray.is_initialized()
    if begun_here:
        ray.init(**_where(workers), log_to_driver=False, logging_level=logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    for name in ("ray.data", "ray.data._internal"):
        logging.getLogger(name).setLevel(logging.ERROR)

    def mapping(function: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Any]:
        if not tasks:
            return
        shared = ray.put((function, list(tasks)))
        numbers = ray.data.range(len(tasks), override_num_blocks=len(tasks))
        for row in numbers.map(lambda row: _work(shared, row["id"])).iter_rows():
            result = ray.cloudpickle.loads(row["result"])
            if isinstance(result, HanlinError):
                raise result
            yield result

    try:
        yield mapping
    finally:
        if begun_here:
            ray.shutdown()


def _work(shared: Any, number: int) -> dict[str, bytes]:
    """One task, in one of Ray's processes. An error for people comes back as a value: Ray would wrap it."""
    import ray

    function, tasks = ray.get(shared)
    try:
        result = function(tasks[number])
    except HanlinError as error:
        result = error
    return {"result": ray.cloudpickle.dumps(result)}


def _where(workers: int) -> dict[str, Any]:
    if os.environ.get("RAY_ADDRESS"):
        return {}
    return {"address": "local", "num_cpus": workers, "include_dashboard": False}
