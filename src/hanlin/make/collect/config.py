"""Options of collect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field

from hanlin.core.run.config import Config
from hanlin.core.run.errors import did_you_mean
from hanlin.make.collect.mix import Mix
from hanlin.make.collect.options.building import Build
from hanlin.make.collect.options.form import Language, Normalise, Script, Wording
from hanlin.make.collect.options.judging import Classifier, Perplexity, Quality
from hanlin.make.collect.options.repetition import Decontaminate, Exact, Lines, Near, Spans
from hanlin.make.collect.options.sensitive import Personal, Secrets, Toxicity
from hanlin.make.collect.reading.pdf_options import Pdf

AnyStep = Annotated[
    Normalise
    | Script
    | Wording
    | Language
    | Quality
    | Classifier
    | Perplexity
    | Exact
    | Near
    | Lines
    | Spans
    | Decontaminate
    | Personal
    | Secrets
    | Toxicity
    | Build,
    Field(discriminator="step"),
]
"""Every step there is, in the order in which most recipes use them."""

STEPS: dict[str, type[Config]] = {kind.model_fields["step"].default: kind for kind in get_args(get_args(AnyStep)[0])}
"""Options by the step's name, which is also its module's name in steps/."""


def _spelled_out(steps: Any) -> Any:
    """[normalise, {near: {threshold: 0.8}}] → [{"step": "normalise"}, {"step": "near", "threshold": 0.8}]."""
    if isinstance(steps, str):
        steps = [steps]
    if not isinstance(steps, list | tuple):
        raise ValueError("steps are a list: [normalise, near: {threshold: 0.8}]")
    return [_spelled_out_step(step) for step in steps]


def _spelled_out_step(step: Any) -> Any:
    if isinstance(step, str):
        step = {step: {}}
    if not isinstance(step, Mapping) or "step" in step:
        return step
    if len(step) != 1:
        raise ValueError(f"a step is a name, or a name with its options, not {dict(step)!r}")
    ((name, options),) = step.items()
    if name not in STEPS:
        raise ValueError(f'there is no step "{name}"; {did_you_mean(str(name), STEPS)}')
    if not isinstance(options or {}, Mapping):
        raise ValueError(f"{name}: {options!r} are not options; write {name}: {{option: value}}")
    return {"step": name, **(options or {})}


class Collect(Config):
    """What to make of the sources. The sources themselves are inputs: `sources=my_folder/`."""

    rows: Literal["auto", "text", "chat", "preference"] = Field(
        "auto",
        description="kind of rows to keep: text (documents), chat (conversations), preference (a better and a worse "
        "reply), or auto: the one kind that the sources hold (the Constitutional Court's files hold both; auto reads "
        "their documents)",
    )
    steps: Annotated[tuple[AnyStep, ...], BeforeValidator(_spelled_out)] = Field(
        (Normalise(), Exact()),
        description="what is done to the rows, in order: names, or names with options, "
        "as in '[normalise, exact, near: {threshold: 0.8}]'",
    )
    heldout_share: float = Field(
        0.02, ge=0, le=0.5, description="share of document groups kept away from training, to measure on; 0 keeps none"
    )
    heldout: Literal["groups", "end"] = Field(
        "groups",
        description="which share: groups drawn by chance, or the end of all text in the order it is read (a document "
        "across the border is cut there)",
    )
    seed: int = Field(0, description="decides which groups are held out; rows added later never move the others")
    min_chars: int = Field(
        10, ge=0, description="documents with fewer characters are dropped; conversations only have to hold a reply"
    )
    passage_chars: int = Field(
        4000,
        ge=200,
        description="long texts are cut into documents of about this many characters, at blank lines where they can",
    )
    limit: int | None = Field(None, ge=1, description="most rows read, the first of the sources. Default: all of them")
    mix: Mix = Field(Mix(), description="shares of the sources in what is trained on, and its order")
    pdf: Pdf = Field(Pdf(), description="how PDF files are read")
    bad: Literal["stop", "skip"] = Field(
        "stop",
        description="what a broken row in a file of rows does (.jsonl, .csv, …): stop with its file and line, or skip: "
        "reject it with that reason. Unreadable documents are always rejected, and the others read on",
    )
    engine: Literal["auto", "one", "pool", "ray"] = Field(
        "auto",
        description="who does the work: one process, a pool of processes, or Ray; equal rows come out. auto: a pool "
        "where there is much to read",
        json_schema_extra={"identity": False},
    )
    workers: int | None = Field(
        None,
        ge=1,
        description="processes of the pool, or tasks at once under Ray. Default: one for each core",
        json_schema_extra={"identity": False},
    )
