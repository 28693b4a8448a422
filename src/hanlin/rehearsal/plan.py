"""What is rehearsed: a recipe's steps, or one command as a recipe of one step; and how each is made small.

Small is what takes time (steps, samples, text to measure on). What decides memory and speed stays: the model, its
vocabulary, the batch and its longest rows, precision, optimizer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hanlin.core.run.artifact import is_artifact
from hanlin.core.run.config import build, parse_overrides
from hanlin.core.run.errors import HanlinError, did_you_mean
from hanlin.core.run.execute import Room
from hanlin.core.run.ranks import world_size
from hanlin.core.run.recipe import Recipe, Step, load_recipe
from hanlin.demo import recipe_path
from hanlin.rooms import ROOMS
from hanlin.workflow import check_options, split_values

STEPS = 3
KILL_AFTER = 2
TRAINING = ("pretrain", "finetune")

COLLECTED_ROWS = 10_000
"""Of sources that have more: the first."""

ANY_DISTANCE = {"max_kl_nats": 1e9, "min_top1_agreement": 0}
"""A model of three steps says nearly everything with equal chance: how near its copies come to it tells nothing."""


@dataclass(frozen=True)
class Plan:
    """folder: where the real run writes, each step under its name. is_command: a single command, which never writes
    over what is there."""

    name: str
    steps: tuple[Step, ...]
    folder: Path
    is_command: bool

    def place(self, step: Step) -> Path:
        return self.folder / step.name

    def eaters(self, name: str) -> list[Step]:
        """The steps that read step `name`."""
        return [step for step in self.steps if name in step.needs]


def plan_of(target: str, words: Sequence[str]) -> Plan:
    """Of a recipe's path, "demo", or a command. Raises HanlinError for what is neither, for an option that does not
    exist, and under torchrun."""
    if world_size() > 1:
        raise HanlinError(
            f"A rehearsal is for one process; torchrun started {world_size()}.",
            "the plain command",
            "leave out torchrun: memory and speed are then those of one process with the whole batch",
            "docs/rehearse.md",
        )
    if target == "run" and words:
        target, *words = words
    values = parse_overrides(words)
    if target in ROOMS:
        recipe = _of_command(ROOMS[target], values)
    elif target == "demo" or target.endswith((".yaml", ".yml")) or Path(target).is_file():
        recipe = load_recipe(recipe_path("demo") if target == "demo" else Path(target), ROOMS, values)
    else:
        raise HanlinError(
            f'"{target}" is neither a recipe nor a command.',
            did_you_mean(target, ROOMS),
            "hanlin rehearse recipes/demo.yaml, or: hanlin rehearse pretrain corpus=… tokenizer=…",
            "docs/rehearse.md",
        )
    check_options(recipe)
    return Plan(recipe.path.stem, tuple(_with_raw_data(recipe.steps)), recipe.out, target in ROOMS)


def _with_raw_data(steps: Sequence[Step]) -> Iterator[Step]:
    """Raw data where a corpus is wanted is collected first, beside the step (see `workflow.open_inputs`): a step of
    its own."""
    names = {step.name for step in steps}
    for step in steps:
        for name, kinds in step.room.inputs.items():
            text = step.values.get(name)
            if kinds != ("corpus",) or not isinstance(text, str) or text in names or not _is_raw(text):
                continue
            beside = f"{step.name}-{name}"
            yield Step(beside, ROOMS["collect"], {"sources": [text]}, ())
            step = replace(step, values={**step.values, name: beside}, needs=(*step.needs, beside))
        yield step


def _is_raw(text: str) -> bool:
    path = Path(text)
    is_unfinished = path.with_name(path.name + ".partial").exists()
    return bool(text) and not is_artifact(path) and (path.exists() or ":" in text) and not is_unfinished


def _of_command(room: Room, values: dict[str, Any]) -> Recipe:
    out = Path(values.pop("out", None) or f"runs/{room.name}")
    return Recipe(Path(room.name), out.parent, (Step(out.name, room, values, ()),))


def real_options(step: Step) -> Any:
    """The options the real run will have."""
    return build(step.room.config_class, split_values(step.room, step.values)[1], step.room.name)


def small(step: Step, is_compiled: bool) -> dict[str, Any]:
    """The step's values (inputs and options) as they are rehearsed."""
    options = _small_options(step.room.name, real_options(step), step.values, is_compiled)
    return {**step.values, **options}


def _small_options(room: str, real: Any, values: Mapping[str, Any], is_compiled: bool) -> dict[str, Any]:
    if room == "collect":
        return {"limit": min(COLLECTED_ROWS, real.limit or COLLECTED_ROWS)}
    if room == "tokenize":
        return {"sample_characters": min(400_000, real.sample_characters), "yardsticks": {}}
    if room == "evaluate":
        return {"heldout_tokens": 256, "num_questions": 1, "reply_tokens": 8, "num_prompts": 1}
    if room in ("merge", "quantize"):
        size: dict[str, Any] = {"num_tokens": 64, "num_prompts": 1, "reply_tokens": 4}
        return size | (ANY_DISTANCE if room == "merge" else {"budgets": dict.fromkeys(real.formats, ANY_DISTANCE)})
    if room not in TRAINING:
        return {}
    short: dict[str, Any] = {
        "minutes": None,
        "tokens": None,
        "steps": STEPS,
        "longest_first": True,
        "checkpoint_seconds": 0,
    }
    if not is_compiled:
        short["compile"] = "off"
    less: dict[str, Any] = {"train": {**values.get("train", {}), **short}, "certify": False}
    if room == "finetune" and real.method == "draft":
        few = {"prompts": min(real.train.batch_rows, real.draft.prompts), "measured_prompts": 1}
        return {"train": less["train"], "draft": {**values.get("draft", {}), **few}}
    if room == "finetune":
        return {**less, "sample_tokens": 8, "num_samples": min(1, real.num_samples)}
    samples = {"sample_tokens": 8, "sample_prompts": real.sample_prompts[:1]} if real.objective == "causal" else {}
    return {**less, **samples, "heldout_tokens": 1}
