"""A request's body: strict about types, exact about names."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, PrivateAttr, model_validator
from pydantic_core import PydanticCustomError

from hanlin.core.run.errors import did_you_mean


class Part(BaseModel):
    """An object inside a request. Strict: `"0.5"` is not a number and `true` is not 1."""

    model_config = ConfigDict(strict=True, extra="ignore")


class Asked(BaseModel):
    """A whole request.

    without_effect: names that are taken and change nothing; they come back in the `x-hanlin-ignored` header. neutral:
    what can't be honoured, with the values (besides null) that ask for nothing; any other value is refused.
    """

    model_config = ConfigDict(
        strict=True, extra="forbid", json_schema_extra=lambda schema, kind: describe_the_rest(schema, kind)
    )
    without_effect: ClassVar[frozenset[str]] = frozenset({"user"})
    neutral: ClassVar[dict[str, tuple[Any, ...]]] = {}
    _ignored: tuple[str, ...] = PrivateAttr(())

    @model_validator(mode="wrap")
    @classmethod
    def _refuse_what_we_cannot_honour(cls, body: Any, validate: Any) -> Any:
        if not isinstance(body, dict):
            return validate(body)
        _refuse_half_characters(body)
        known = {name: value for name, value in body.items() if name in cls.model_fields}
        for name, value in body.items():
            if name in cls.neutral:
                _refuse_unless_neutral(name, value, cls.neutral[name])
            elif name not in known and name not in cls.without_effect:
                raise refusal("unknown_parameter", name, f"unknown field; {did_you_mean(name, cls.model_fields)}")
        asked = validate(known)
        asked._ignored = tuple(sorted(cls.without_effect & body.keys()))
        return asked

    @property
    def ignored(self) -> tuple[str, ...]:
        """Names that were sent and have no effect."""
        return self._ignored

    @property
    def ignored_header(self) -> dict[str, str]:
        """The header that says so; none where there is nothing to say."""
        return {"x-hanlin-ignored": ", ".join(self.ignored)} if self.ignored else {}


def refusal(code: str, name: str, message: str) -> PydanticCustomError:
    """An error of validation that names its own field."""
    return PydanticCustomError(code, "{message}", {"message": message, "param": name, "code": code})


def describe_the_rest(schema: dict[str, Any], kind: type[Asked]) -> None:
    """Add to a description the fields that are no fields here: those without effect, and those that can only ask for
    nothing."""
    described = schema.setdefault("properties", {})
    for name in sorted(kind.without_effect):
        described[name] = {"description": "taken, without effect"}
    for name, values in kind.neutral.items():
        described[name] = {"enum": [None, *values], "description": "asks for nothing; other values are refused"}


def _refuse_unless_neutral(name: str, value: Any, neutral: tuple[Any, ...]) -> None:
    # `True == 1` in Python, so bools are told apart.
    same = (
        value == asked_nothing and isinstance(value, bool) == isinstance(asked_nothing, bool)
        for asked_nothing in neutral
    )
    if value is not None and not any(same):
        raise refusal("unsupported_parameter", name, "this server can't do that; leave it out")


def _refuse_half_characters(body: dict[str, Any]) -> None:
    """JSON can spell one half of a surrogate pair, which is no character and can't be written as UTF-8."""
    try:
        json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise PydanticCustomError("invalid_unicode", "a text holds half a surrogate pair") from None
