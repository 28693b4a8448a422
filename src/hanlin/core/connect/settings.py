"""How a remote model is asked to write: the names are those of the local engine, as far as both have them."""

from __future__ import annotations

import json
import warnings
from collections.abc import Collection, Mapping
from typing import Any, Literal

from pydantic import Field, field_validator

from hanlin.core.run.config import Config, build
from hanlin.core.run.errors import HanlinError, RequestError

PAGE = "docs/connect.md#settings"

LOCAL_SHAPING = (
    "typical_p",
    "no_repeat_ngram",
    "dry_multiplier",
    "dry_base",
    "dry_allowed",
    "dry_breakers",
    "mirostat",
    "mirostat_tau",
    "mirostat_eta",
)
"""Settings of the local engine that only change how likely tokens are: left out for a remote model, with a warning."""

LOCAL_PROMISES = ("regex", "grammar", "choices", "script", "wording", "logit_bias", "top_logprobs")
"""Settings of the local engine whose promise a remote model could not keep: refused."""


class Settings(Config):
    """What is not given is the provider's own default."""

    temperature: float | None = Field(None, ge=0, le=2, description="0: the likeliest; higher: bolder")
    top_p: float | None = Field(None, gt=0, le=1, description="draw from the likeliest tokens that reach p")
    top_k: int | None = Field(None, ge=0, description="draw from the k likeliest tokens")
    min_p: float | None = Field(
        None, ge=0, lt=1, description="leave out tokens less likely than this share of the best"
    )
    repetition_penalty: float | None = Field(None, gt=0, le=10, description="above 1: says less what was said")
    frequency_penalty: float | None = Field(None, ge=-2, le=2, description="off a token for each time it was said")
    presence_penalty: float | None = Field(None, ge=-2, le=2, description="off each token that was said")
    seed: int | None = Field(None, description="a provider that takes it tries to give the same reply again")
    stop: tuple[str, ...] = Field((), description="texts that end the reply; they are not shown")
    max_tokens: int | None = Field(None, ge=1, description="the longest reply, in tokens; thoughts count")
    json_schema: str = Field("", description="the reply is JSON that follows this schema (its text)")
    effort: Literal["", "low", "medium", "high"] = Field("", description="how long a thinking model thinks")
    extra: dict[str, Any] = Field({}, description="fields sent as they are, for what only this provider knows")

    @field_validator("json_schema", mode="before")
    @classmethod
    def _written_out(cls, schema: Any) -> Any:
        return json.dumps(schema, ensure_ascii=False) if isinstance(schema, dict) else schema

    @field_validator("json_schema")
    @classmethod
    def _readable(cls, schema: str) -> str:
        try:
            if schema and not isinstance(json.loads(schema), dict):
                raise ValueError
        except ValueError:
            raise ValueError("a JSON schema is a JSON object") from None
        return schema

    @property
    def schema_values(self) -> dict[str, Any] | None:
        return json.loads(self.json_schema) if self.json_schema else None

    @property
    def given(self) -> dict[str, Any]:
        """What was asked for, by name."""
        return self.model_dump(mode="json", exclude_defaults=True)


def settings_for(provider: str, skipped: Collection[str], values: Mapping[str, Any]) -> Settings:
    """Check `values`, and leave out what `provider` takes not (`skipped`), with a warning.

    Raises HanlinError for a name nobody knows, and for a promise that a remote model can't keep."""
    for name in values:
        if name in LOCAL_PROMISES:
            raise RequestError(
                f"{provider} can't be asked for {name}.",
                "settings that this provider keeps",
                f"leave {name} out (json_schema=… gives a reply its form), or use a model of your own",
                PAGE,
            )
    settings = build(Settings, {k: v for k, v in values.items() if k not in LOCAL_SHAPING}, "connect")
    left_out = sorted({*settings.given} & {*skipped} | {*values} & {*LOCAL_SHAPING})
    if left_out:
        warnings.warn(f"{provider} takes no {', no '.join(left_out)}: left out. See {PAGE}", stacklevel=4)
    return settings.model_copy(update={name: None for name in left_out if name in Settings.model_fields})


def needs_max_tokens() -> HanlinError:
    """A budget is kept by knowing beforehand what a reply may cost at most."""
    return HanlinError(
        "A budget is set, but nothing says how long a reply may be.",
        "max_tokens, so that the most a request can cost is known before it is sent",
        "max_tokens=1000",
        "docs/connect.md#budget",
    )
