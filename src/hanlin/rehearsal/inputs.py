"""What a rehearsed step reads: artifacts of the rehearsal, real ones, and a sample instead of a large real corpus."""

from __future__ import annotations

from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

from hanlin.core.run.artifact import is_artifact
from hanlin.core.run.recipe import Step
from hanlin.rehearsal.estimate import Scale
from hanlin.rehearsal.plan import TRAINING, real_options
from hanlin.rehearsal.sample import sample_corpus
from hanlin.rehearsal.stages import Stages
from hanlin.rehearsal.work import Made

CHAT_ROWS, FEW_ROWS = 1000, 8
"""Of conversations, besides the longest; fewer where a teacher is asked about each, or only held-out ones are read."""

LONGEST = 8
"""Of the longest rows that are kept where no batch says how many."""


class Inputs:
    """made: artifacts by the name of the step that made them; provisional: the steps whose vocabulary was learned from
    a sample. Both grow as the rehearsal goes on."""

    def __init__(self, stages: Stages, folder: Path, made: Mapping[str, Made], provisional: Set[str]):
        self.stages, self.folder, self.made, self.provisional = stages, folder, made, provisional
        self._samples: dict[tuple[Any, ...], Made] = {}

    def of(self, step: Step) -> dict[str, Made] | None:
        """By what the step calls them. An artifact that is no corpus and no step's is left to the room, which checks
        it. None where a corpus can't be read."""
        found: dict[str, Made] = {}
        for name, kinds in step.room.inputs.items():
            text = step.values.get(name)
            if "source" in kinds:
                listed = text if isinstance(text, list) else [text]
                found |= {item: self.made[item] for item in listed if isinstance(item, str) and item in self.made}
                continue
            if not isinstance(text, str):
                continue
            made = self.made.get(text)
            if kinds == ("corpus",) and (made or is_artifact(Path(text))):
                made = self._sampled(step, made or Made(text, "corpus", {}))
                if made is None:
                    return None
            if made is not None:
                found[text] = made
        return found

    def _sampled(self, step: Step, corpus: Made) -> Made | None:
        options = real_options(step)
        tokenizer, model = (str(step.values.get(name) or "") for name in ("tokenizer", "model"))
        reads_all = step.room.name in TRAINING and not step.values.get("teacher")
        how = (
            CHAT_ROWS if reads_all else FEW_ROWS,
            options.train.batch_rows if step.room.name in TRAINING else LONGEST,
            self.made[tokenizer].path if tokenizer in self.made else tokenizer,
            self.made[model].path if model in self.provisional else "",
            getattr(options, "context", None),
        )
        key = (corpus.path, *how)
        if key not in self._samples:
            out = self.folder / f"{Path(corpus.path).name}-{len(self._samples)}"
            arguments = (corpus.path, str(out), *how)
            sample: Made | None = self.stages.run(step.name, "inputs", sample_corpus, *arguments, tell=None)
            if sample is None:
                return None
            self._samples[key] = sample
        return scaled(self._samples[key], corpus.scale)


def scaled(sample: Made, whole: Scale) -> Made:
    """A sample of a sample."""
    own = sample.scale
    scale = Scale(_product(own.characters, whole.characters), _product(own.rows, whole.rows))
    return Made(sample.path, sample.kind, sample.metrics, scale)


def _product(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one * other
