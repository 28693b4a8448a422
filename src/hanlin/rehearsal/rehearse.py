"""The rehearsal: the steps of the real run in their order, then what comes after the last; at the end what it told."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hanlin.core.run.artifact import content_id, is_artifact, open_artifact
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.execute import is_being_written
from hanlin.core.run.machine import memory_bytes
from hanlin.core.run.recipe import Step
from hanlin.rehearsal import work
from hanlin.rehearsal.apart import warm_up
from hanlin.rehearsal.beyond import Beyond
from hanlin.rehearsal.estimate import WHOLE, Estimate, table, total
from hanlin.rehearsal.inputs import Inputs
from hanlin.rehearsal.plan import TRAINING, Plan, plan_of, real_options, small
from hanlin.rehearsal.stages import Stages, notes_of
from hanlin.rehearsal.training import Training, refuse_full_disk
from hanlin.rehearsal.view import View
from hanlin.rehearsal.work import Made
from hanlin.workflow import open_inputs, split_values

ON_A_SAMPLE = ("collect", "tokenize")
"""What these rooms have to say of the rehearsal's data is not true of the real."""


def rehearse(target: str, words: Sequence[str], keep: bool, is_compiled: bool) -> bool:
    """Rehearse a recipe or a command; whether nothing failed. Raises HanlinError for what can't begin at all."""
    began = time.monotonic()
    plan = plan_of(target, words)
    warm_up()
    with _own_folder(plan, keep) as folder:
        rehearsal = Rehearsal(plan, folder, is_compiled)
        for step in plan.steps:
            rehearsal.step(step)
        for step in plan.steps:
            rehearsal.beyond(step)
        rehearsal.sum_up(time.monotonic() - began)
    return not rehearsal.stages.failures


@contextmanager
def _own_folder(plan: Plan, keep: bool) -> Iterator[Path]:
    """On the disk of the real run, hidden from `hanlin runs`; removed at the end with what was made for it."""
    near = plan.folder if plan.is_command else plan.folder.parent
    missing = [folder for folder in (near / ".rehearsal", near, *near.parents) if not folder.exists()]
    (near / ".rehearsal").mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{plan.name}-", dir=near / ".rehearsal"))
    try:
        yield folder
    finally:
        if keep:
            print(f"Kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
            for made in missing:
                with suppress(OSError):  # another rehearsal is in it
                    made.rmdir()


class Rehearsal:
    """made: artifacts by step; real: those of them that the real run has made before; failed: steps that gave none;
    provisional: those whose vocabulary was learned from a sample."""

    def __init__(self, plan: Plan, folder: Path, is_compiled: bool):
        self.plan, self.folder, self.is_compiled = plan, folder, is_compiled
        self.stages = Stages(View(max(len(step.name) for step in plan.steps)), folder / "output.txt")
        self.made: dict[str, Made] = {}
        self.real: set[str] = set()
        self.failed: set[str] = set()
        self.kinds: dict[str, str] = {}
        self.estimates: list[Estimate] = []
        self.provisional: set[str] = set()
        self.inputs = Inputs(self.stages, folder / "samples", self.made, self.provisional)

    def step(self, step: Step) -> None:
        """Rehearse one step, unless it needs one that failed, or the real run will find it finished."""
        if missing := [need for need in step.needs if need in self.failed]:
            self.stages.view.left_out(step.name, step.room.name, f"needs {missing[0]}")
            self.failed.add(step.name)
            return
        try:
            if self._is_finished(step):
                self.stages.view.left_out(step.name, step.room.name, f"already made: {self.plan.place(step)}")
                return
        except HanlinError as error:
            self.stages.fail(step.name, "place", str(error))
        made = self._rehearse(step)
        if made is None:
            self.failed.add(step.name)
            return
        self.made[step.name] = made
        if made.kind != "corpus" and self.provisional.intersection(step.needs):
            self.provisional.add(step.name)
        if made.kind in ("model", "adapter"):
            facts = self.stages.run(step.name, "reload", work.look, made.path, tell=_reloaded)
            self.kinds[step.name] = facts["kind"] if facts else ""
            self._compare_context(step, facts)

    def _compare_context(self, step: Step, facts: dict[str, Any] | None) -> None:
        wanted = getattr(real_options(step), "context", None)
        if facts and wanted and wanted > facts["context"]:
            has = f"the model reads {facts['context']:,} tokens at once"
            self.stages.notes([f"context={wanted}, but {has}: rows are cut to that."])

    def _is_finished(self, step: Step) -> bool:
        """Raises HanlinError where the real run will be refused its folder, or its inputs."""
        place = self.plan.place(step)
        if is_being_written(place.with_name(place.name + ".partial")):
            raise _taken(f"Another run is writing {place} now.")
        if not is_artifact(place):
            if place.exists() and (not place.is_dir() or any(place.iterdir())):
                raise _taken(f"{place} exists and is not an artifact.")
            return False
        found = open_artifact(place)
        if self.real.issuperset(step.needs):
            named = split_values(step.room, step.values)[0]
            made = {need: open_artifact(self.made[need].path, verify=False) for need in step.needs}
            inputs = open_inputs(step.room, named, place, made, ())
            options = real_options(step).identity()
            if found.id == content_id(step.room.name, step.room.version, options, inputs):
                self.made[step.name] = Made(str(place), found.kind, found.manifest.metrics if found.manifest else {})
                self.real.add(step.name)
                return True
        if self.plan.is_command and step is self.plan.steps[-1]:
            raise _taken(f"{place} already holds a {found.kind} made with other options or inputs.")
        return False

    def _rehearse(self, step: Step) -> Made | None:
        room, out = step.room.name, self.folder / "steps" / step.name
        values = small(step, self.is_compiled)
        inputs = self.inputs.of(step)
        if inputs is None:
            return None
        paths = {text: made.path for text, made in inputs.items()}
        if room in TRAINING:
            return self._train(step, values, out, inputs)
        if room == "collect":
            limit = real_options(step).limit
            return self.stages.run(step.name, room, work.collect, values, str(out), limit, inputs, tell=_collected)
        if room == "tokenize":
            learned = values["sample_characters"] < real_options(step).sample_characters
            is_sample = learned or any(made.scale.characters != 1.0 for made in inputs.values())
            if is_sample:
                self.provisional.add(step.name)
            arguments: tuple[Any, ...] = (values, str(out), paths, is_sample)
            tell = _learned_from_a_sample if is_sample else _learned
            return self.stages.run(step.name, room, work.learn_tokenizer, *arguments, tell=tell)
        made = self.stages.run(step.name, room, work.make_step, room, values, str(out), paths, tell=_done)
        self.stages.notes(notes_of(out))
        return made

    def _train(self, step: Step, values: dict[str, Any], out: Path, inputs: dict[str, Made]) -> Made | None:
        data = inputs.get(str(step.values.get("corpus") or step.values.get("data")))
        paths = {text: made.path for text, made in inputs.items()}
        trained = Training(self.stages, step, values, out, paths, data.scale if data else WHOLE).rehearse()
        if not self.is_compiled:
            wanted = real_options(step).train.compile
            said = self.stages.run(step.name, "compile", work.without_compiler, wanted, tell=None)
            self.stages.notes(said or ())
        if trained is None:
            return None
        self.estimates.append(trained[1])
        return trained[0]

    def beyond(self, step: Step) -> None:
        """What comes after a model that no later step makes another model of."""
        made = self.made.get(step.name)
        eaters = self.plan.eaters(step.name)
        if made is None or step.name in self.real or not self.kinds.get(step.name):
            return
        if any(eater.room.output == "model" and eater.room.name != "quantize" for eater in eaters):
            return
        if step.room.name == "quantize" and any(need in self.kinds for need in step.needs):
            return
        given = {name: step.values.get(name) for name in ("corpus", "data")}
        inputs = self.inputs.of(step) or {}
        corpora = {name: inputs[text].path for name, text in given.items() if text in inputs}
        done = frozenset(eater.room.name for eater in eaters)
        folder = self.folder / "beyond" / step.name
        Beyond(self.stages, step, made, self.kinds[step.name], corpora, done, folder).rehearse()

    def sum_up(self, seconds: float) -> None:
        """The table, and a sentence that says what would be wrong."""
        view, failures = self.stages.view, self.stages.failures
        view.say("")
        if self.estimates:
            needed = total(self.estimates).disk_bytes
            refuse_full_disk(self.stages, needed, self.plan.folder)
            view.say(*table(self.estimates), "")
            if not self.is_compiled and any(real_options(s).train.compile != "off" for s in self._trained()):
                view.say(
                    "Speed is that without torch.compile. Compiled it is about 1.3 times that, after up to a minute."
                )
        machine = memory_bytes()
        has = f" of the {machine / 1e9:.1f} GB that are here" if machine else ""
        view.say(f"The most memory: {self.stages.peak_bytes / 1e9:.2f} GB{has} ({self.stages.peak_of}).")
        view.say(f"Rehearsed in {seconds:.0f} s.")
        if failures:
            view.say(f"Would go wrong: {', '.join(failures)}.")
        else:
            view.say("Nothing would go wrong that a rehearsal can see.")

    def _trained(self) -> list[Step]:
        names = {estimate.name for estimate in self.estimates}
        return [step for step in self.plan.steps if step.name in names]


def _taken(what: str) -> HanlinError:
    return HanlinError(what, "a folder of its own for each run", "choose another folder with out=…", "docs/runs.md")


def _collected(made: Made) -> str:
    metrics, scale = made.metrics, made.scale
    what = {"text": "documents", "chat": "conversations"}.get(metrics["kind"], "preferences")
    found = f"{metrics['rows']:,} {what}, {metrics['characters']:,} characters"
    if scale.characters is None:
        return f"{found}; the sources have more than can be counted now"
    return found + (f"; the sources have {scale.characters:.1f} times that" if scale.characters > 1 else "")


def _learned(made: Made) -> str:
    return f"{made.metrics['vocab_size']:,} tokens"


def _learned_from_a_sample(made: Made) -> str:
    return "as many tokens as there will be, from a sample: texts come out a little longer than they will"


def _done(made: Made) -> str:
    return f"{made.kind}, {len(made.metrics)} figures"


def _reloaded(facts: dict[str, Any]) -> str:
    if facts["kind"] != "decoder":
        return f"an {facts['kind']}, context {facts['context']:,}; it does not continue text"
    return f"context {facts['context']:,}; {facts['tokens']} tokens: {facts['text']!r}"
