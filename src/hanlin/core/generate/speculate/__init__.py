"""Speculation: guess several tokens cheaply, let the model read them all at once, keep those it would have written.
Leviathan et al. 2023, https://arxiv.org/abs/2211.17192; Chen et al. 2023, https://arxiv.org/abs/2302.01318.

The model reads the last token and k guesses in one pass and so knows its own choice behind each. The reply is what it
would have been without guesses; only the number of passes changes. `speculate=` names the file that guesses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from hanlin.core.generate.options import EngineOptions
from hanlin.core.generate.passes import Passes
from hanlin.core.generate.text import Text
from hanlin.core.model.decoder import Decoder
from hanlin.core.model.pretrained import Pretrained
from hanlin.core.run.errors import HanlinError


@dataclass(frozen=True)
class Draft:
    """tokens: the guesses, one behind the other. shares_kV: the distributions they were drawn from; None where each
    was simply the likeliest, or found."""

    tokens: list[int]
    shares_kV: torch.Tensor | None = None


class Speculator(Protocol):
    def propose(self, texts: Sequence[Text]) -> dict[Text, Draft]:
        """Guesses for some of the texts, each at most `room(text)` tokens."""
        ...

    def drop(self, text: Text) -> None:
        """Let go of what is kept for a text."""
        ...


def room(text: Text, num_draft: int) -> int:
    """Guesses a text has use for: one token more is written anyway."""
    return max(0, min(num_draft, text.reply.num_left - 1))


def speculator_of(loaded: Pretrained, options: EngineOptions, passes: Passes) -> Speculator | None:
    """What the options name; None without. passes: the engine's own. Raises HanlinError for what this model
    can't have."""
    if options.speculate in ("draft", "early") and not isinstance(loaded.model, Decoder):
        raise HanlinError(
            f"speculate={options.speculate}: {loaded.path} reads the prompt and writes with different layers.",
            "a decoder",
            "engine.speculate=lookup, which needs no model to guess",
            "docs/speculate.md",
        )
    if options.speculate == "lookup":
        from hanlin.core.generate.speculate.lookup import Lookup

        return Lookup(options.num_draft)
    if options.speculate == "draft":
        from hanlin.core.generate.speculate.draft import open_small

        return open_small(loaded, options, passes.blocks.num_blocks)
    if options.speculate == "early":
        from hanlin.core.generate.speculate.early import Early

        return Early(loaded, options, passes)
    return None
