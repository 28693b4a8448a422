"""Options of the steps that look for what does not belong into training data: personal data, secrets, foul text."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from hanlin.core.run.errors import did_you_mean
from hanlin.core.text.personal.credentials import ASSIGNED, CREDENTIALS
from hanlin.core.text.personal.match import KINDS, USUAL_KINDS
from hanlin.make.collect.options.step import StepOptions

Action = Literal["mask", "characters", "replace", "note", "drop"]


class Personal(StepOptions):
    """Find personal data and take it out."""

    step: Literal["personal"] = "personal"
    action: Action = Field(
        "mask",
        description="what becomes of it: mask ([身分證字號]), characters (each letter and digit as * or ○), replace "
        "(made-up values of the same form, the same for the same value in the whole corpus), "
        "note (only count), or drop the row "
        "(it stays masked among the rejected)",
    )
    actions: dict[str, Action] = Field(
        {}, description="another action for some kinds, as in '{company_id: note, national_id: drop}'"
    )
    kinds: tuple[str, ...] = Field(
        USUAL_KINDS, description=f"kinds that are looked for, of {', '.join(KINDS)}. Default: all but ip"
    )
    min_confidence: float = Field(
        0.5,
        ge=0,
        le=1,
        description="the least sure match that counts: 0.5 takes a surname before 先生, 0.7 a number's form alone, "
        "0.9 only what a label or a checksum backs",
    )

    @field_validator("kinds", "actions")
    @classmethod
    def _known(cls, value: Any) -> Any:
        for kind in value:
            if kind not in KINDS:
                raise ValueError(f'there is no kind "{kind}"; {did_you_mean(kind, KINDS)}')
        return value


ALL = (*CREDENTIALS, *ASSIGNED)


class Secrets(StepOptions):
    """Find keys, tokens and passwords and take them out."""

    step: Literal["secrets"] = "secrets"
    action: Literal["mask", "note", "drop"] = Field(
        "mask", description="what becomes of a secret: mask ([aws_key]), note (only count), or drop the row"
    )
    kinds: tuple[str, ...] = Field(ALL, description=f"kinds that are looked for, of {', '.join(ALL)}")
    min_entropy: float = Field(
        3.0,
        ge=0,
        le=8,
        description="bits a character that a value assigned to a word like password must have to count; "
        "issuers' own forms always count",
    )

    @field_validator("kinds")
    @classmethod
    def _known(cls, value: Any) -> Any:
        for kind in value:
            if kind not in ALL:
                raise ValueError(f'there is no kind "{kind}"; {did_you_mean(kind, ALL)}')
        return value


CATEGORIES = ("profanity", "slur", "sexual", "threat", "spam")


class Toxicity(StepOptions):
    """Count foul and fraudulent phrases; drop rows that hold too many."""

    step: Literal["toxicity"] = "toxicity"
    categories: tuple[str, ...] = Field(CATEGORIES, description=f"what is looked for, of {', '.join(CATEGORIES)}")
    threshold: float | None = Field(
        10,
        gt=0,
        description="score at which a row is dropped: weighted hits for every 1,000 characters (profanity 1, "
        "sexual 2, slur and spam 3, threat 4); null drops none and only notes what was found",
    )
    words: dict[str, tuple[str, ...]] = Field(
        {}, description="more words by category, as in '{spam: [某某娛樂城]}'; a new category weighs 1"
    )
    innocent: tuple[str, ...] = Field((), description="more words inside which nothing counts")

    @field_validator("categories")
    @classmethod
    def _known(cls, value: Any) -> Any:
        for name in value:
            if name not in CATEGORIES:
                raise ValueError(f'there is no category "{name}"; {did_you_mean(name, CATEGORIES)}')
        return value
