"""Searches for a whole reply, where `Sampling` draws token by token: beams, or contrast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from hanlin.core.generate.beam import beam_search
from hanlin.core.generate.contrastive import contrastive_search
from hanlin.core.generate.reply import Reply
from hanlin.core.model.pretrained import Pretrained
from hanlin.core.run.config import Config


class Search(Config):
    """Which search, if any. Nothing is drawn: the same prompt gives the same replies."""

    beams: int = Field(1, ge=1, le=256, description="texts kept side by side, for the likeliest as a whole; 1 is off")
    length_penalty: float = Field(
        1.0, ge=-10, le=10, description="the power of the length that divides a text's score; larger favours longer"
    )
    early_stopping: bool | Literal["never"] = Field(
        False,
        description="true: stop with as many finished texts as beams; false: when others look no better; never: when "
        "they can't become better",
    )
    beam_groups: int = Field(1, ge=1, description="groups of beams that avoid each other's tokens")
    diversity_penalty: float = Field(0.0, ge=0, le=100, description="what a token costs for each earlier group's use")
    num_returned: int = Field(1, ge=1, description="replies to give, the best beams")
    contrastive_alpha: float = Field(
        0.0, ge=0, le=1, description="how much a token's likeness to what stands before counts against it; 0 is off"
    )
    contrastive_k: int = Field(4, ge=1, le=256, description="likeliest tokens that contrastive search chooses among")
    max_tokens: int = Field(256, ge=1, description="the longest reply, in tokens")

    @property
    def is_on(self) -> bool:
        return self.beams > 1 or self.contrastive_alpha > 0

    @field_validator("beam_groups")
    @classmethod
    def _beams_divide(cls, groups: int, earlier: ValidationInfo) -> int:
        beams = earlier.data.get("beams", groups)
        if beams % groups:
            raise ValueError(f"{beams} beams can't be divided among {groups} groups")
        return groups

    @field_validator("diversity_penalty")
    @classmethod
    def _groups_differ(cls, penalty: float, earlier: ValidationInfo) -> float:
        if penalty and earlier.data.get("beam_groups", 2) == 1:
            raise ValueError("one group has no other to differ from: beam_groups=2 or more")
        return penalty

    @field_validator("num_returned")
    @classmethod
    def _no_more_than_beams(cls, number: int, earlier: ValidationInfo) -> int:
        if number > earlier.data.get("beams", number):
            raise ValueError(f"at most as many replies as beams, {earlier.data['beams']}")
        return number

    @field_validator("contrastive_alpha")
    @classmethod
    def _one_search(cls, alpha: float, earlier: ValidationInfo) -> Any:
        if alpha and earlier.data.get("beams", 1) > 1:
            raise ValueError("either beams or contrast, not both")
        return alpha


def search_text(loaded: Pretrained, prompt: Sequence[int], search: Search) -> list[str]:
    """The replies to prompt ids, best first."""
    if search.contrastive_alpha:
        found = [contrastive_search(loaded, prompt, search.contrastive_k, search.contrastive_alpha, search.max_tokens)]
    else:
        beams = beam_search(
            loaded,
            prompt,
            search.beams,
            search.length_penalty,
            search.max_tokens,
            search.beam_groups,
            search.diversity_penalty,
            search.num_returned,
            search.early_stopping,
        )
        found = [list(beam.ids) for beam in beams]
    return [_text(loaded, ids) for ids in found]


def _text(loaded: Pretrained, ids: Sequence[int]) -> str:
    reply = Reply(loaded.tokenizer, loaded.stop_ids, (), len(ids))
    return "".join(reply.push(token).text for token in ids)
