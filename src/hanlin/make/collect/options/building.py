"""Options of the step that makes conversations and preferences."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field

from hanlin.make.collect.options.step import StepOptions

ChatName = Literal[
    "holding",
    "summary",
    "define",
    "idiom",
    "translate_word",
    "translate_interface",
    "poem_rest",
    "poem_title",
]
PreferenceName = Literal["wording", "broken_poem"]

CHAT: tuple[ChatName, ...] = get_args(ChatName)
PREFERENCE: tuple[PreferenceName, ...] = get_args(PreferenceName)
BUILDERS: tuple[ChatName | PreferenceName, ...] = (*CHAT, *PREFERENCE)
"""The modules of building/ that build, by the kind of their rows."""

_KINDS: dict[str, tuple[str, ...]] = {"chat": CHAT, "preference": PREFERENCE}


def _spelled_out(what: Any) -> Any:
    """chat and preference stand for all builders of the kind."""
    names = [what] if isinstance(what, str) else what
    if not isinstance(names, list | tuple):
        return what
    return tuple(one for name in names for one in _KINDS.get(name, (name,)))


class Build(StepOptions):
    """Make conversations or preferences from the rows."""

    step: Literal["build"] = "build"
    what: Annotated[tuple[ChatName | PreferenceName, ...], BeforeValidator(_spelled_out)] = Field(
        CHAT,
        min_length=1,
        description="builders, in order: " + ", ".join(BUILDERS) + "; chat or preference: all that make that kind",
    )
    per_row: int = Field(2, ge=1, description="most rows that one builder makes of one row")
    most_question_chars: int | None = Field(
        None,
        ge=1,
        description="rows with a longer question are not built, as for a model with a short context. Default: all are",
    )
    most: int | None = Field(
        None, ge=1, description="most rows that one builder makes in all, drawn by chance. Default: all it can"
    )
