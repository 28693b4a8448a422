"""The models of a server behind the program that its options name."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hanlin.core.model.opening import locate_model
from hanlin.core.run.errors import HanlinError
from hanlin.use.serve.backend import Served
from hanlin.use.serve.config import Serve
from hanlin.use.serve.models import Models, open_models


def open_served(main: str | Path, config: Serve) -> Models:
    """Raises HanlinError for a model that the program can't serve, and for what only our own engine has."""
    if config.backend == "hanlin":
        # Every thread that computes has its own helpers on the other cores; as long as more of them live than there are
        # cores, they sleep between two products (libgomp), and the engine writes at half its speed. This one ends.
        with ThreadPoolExecutor(1, thread_name_prefix="hanlin-opening") as opening:
            return opening.submit(open_models, main, config).result()
    if config.adapters:
        raise HanlinError(
            f"engine={config.backend} serves no adapters.",
            "a merged model, or our own engine",
            "hanlin export … of the adapter makes one model of both; or leave engine= out",
            "docs/adapters.md",
        )
    addresses = {config.name or Path(main).resolve().name: main, **config.models}
    opened: list[Served] = []
    try:
        for name, address in addresses.items():
            opened.append(_open(locate_model(address), name, config))
    except BaseException:
        for model in opened:
            model.backend.close()
        raise
    return Models(opened)


def _open(path: Path, name: str, config: Serve) -> Served:
    if config.backend == "llama":
        from hanlin.use.serve.backends.llama import open_llama

        return open_llama(path, name, config.llama)
    from hanlin.use.serve.backends.vllm import open_vllm

    return open_vllm(path, name, config.vllm)
