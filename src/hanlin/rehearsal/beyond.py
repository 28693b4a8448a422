"""What comes after the last training: merge, measure, export, answer over HTTP; as far as the recipe does not do it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hanlin.core.run.recipe import Step
from hanlin.rehearsal import work
from hanlin.rehearsal.plan import small
from hanlin.rehearsal.stages import Stages
from hanlin.rehearsal.work import Made
from hanlin.rooms import ROOMS


@dataclass(frozen=True)
class Beyond:
    """step: the last that makes `model`. kind: decoder, encoder or encoder-decoder. corpora: folders to measure with,
    by the input of `evaluate` they are for. done: rooms that the recipe's own steps have put the model through."""

    stages: Stages
    step: Step
    model: Made
    kind: str
    corpora: dict[str, str]
    done: frozenset[str]
    folder: Path

    def rehearse(self) -> None:
        path = self._merge()
        if path is None:
            return
        name, room = self.step.name, self.step.room.name
        if self.kind != "decoder":
            self.stages.view.left_out(name, "evaluate", f"an {self.kind} does not continue text")
        elif "evaluate" not in self.done:
            self._evaluate(path)
        if "quantize" not in {room, *self.done}:
            self.stages.run(name, "export", work.export, path, str(self.folder / "export"), tell=_exported)
        if self.kind != "decoder":
            self.stages.view.left_out(name, "request", f"an {self.kind} does not continue text")
        else:
            self.stages.run(name, "request", work.ask, path, tell=_answered)

    def _merge(self) -> str | None:
        """The path of the model itself; None where there is none, because merging failed."""
        if self.model.kind != "adapter":
            if self.step.room.name == "finetune":
                self.stages.view.left_out(self.step.name, "merge", "the output is no adapter")
            return self.model.path
        if self.kind != "decoder":
            self.stages.view.left_out(self.step.name, "merge", "what it does can only be measured on decoders")
            return self.model.path
        out = self.folder / "merged"
        merged: Made | None = self._room("merge", {"adapter": self.model.path}, out, lambda made: "one model")
        return merged.path if merged else None

    def _evaluate(self, path: str) -> None:
        if self.corpora:
            self._room("evaluate", {"model": path, **self.corpora}, self.folder / "ledger", _measured)
        else:
            self.stages.view.left_out(self.step.name, "evaluate", "no corpus is at hand to measure with")

    def _room(self, room: str, inputs: dict[str, str], out: Path, tell: Any) -> Made | None:
        values = small(Step(room, ROOMS[room], inputs, ()), is_compiled=False)
        made = {path: path for path in inputs.values()}
        return self.stages.run(self.step.name, room, work.make_step, room, values, str(out), made, tell=tell)


def _exported(found: dict[str, Any]) -> str:
    form = "a GGUF file" if found["form"] == "gguf" else "a Hugging Face folder (no GGUF file of this architecture)"
    return f"{form}, {found['bytes'] / 1e6:,.1f} MB, opened again"


def _answered(found: dict[str, Any]) -> str:
    return f"POST {found['endpoint']}: 200, {found['tokens']} tokens"


def _measured(made: Made) -> str:
    return f"{len(made.metrics)} figures"
