"""What every step's options have."""

from __future__ import annotations

from hanlin.core.run.config import Config


class StepOptions(Config):
    """Base of a step's options. Every subclass has `step: Literal["its name"]`."""

    step: str
