"""finetune: base model + conversations → chat model, or an adapter for it; or a small model that guesses for it."""

from __future__ import annotations

import importlib
from pathlib import Path

from hanlin.core.run.artifact import Artifact
from hanlin.core.run.events import Emit
from hanlin.core.run.execute import Result
from hanlin.shape.finetune.config import Finetune


def run(config: Finetune, inputs: dict[str, Artifact], out: Path, emit: Emit) -> Result:
    """`method=` names the file that does it."""
    return importlib.import_module(f"hanlin.shape.finetune.{config.method}").run(config, inputs, out, emit)
