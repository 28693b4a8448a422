"""What both endpoints that write share: how tokens are drawn, how many replies, in which way they come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, ValidationError

from hanlin.core.generate.sampling import Sampling
from hanlin.use.serve.errors import ApiError
from hanlin.use.serve.schema.base import Asked, Part

MAX_REPLIES = 128
FORMS = ("json_schema", "regex", "grammar", "choices")
"""Ways to ask for the reply's form; there can be one."""

TokenBias = dict[Annotated[str, Field(pattern=r"^[0-9]{1,9}$")], Annotated[float, Field(ge=-100, le=100)]]


def like_sampling(name: str) -> Any:
    """A field that may be left out and otherwise means, and is bounded as, the same field of Sampling."""
    known = Sampling.model_fields[name]
    limits = {limit: number for limits in known.metadata for limit, number in asdict(limits).items()}
    return Field(None, description=known.description, **limits)


def _list_of_stops(stop: Any) -> Any:
    return [stop] if isinstance(stop, str) else stop


class StreamOptions(Part):
    include_usage: bool | None = None


class WritingRequest(Asked):
    """What is left out has `Sampling`'s defaults."""

    without_effect: ClassVar[frozenset[str]] = frozenset(
        {
            "user",
            "metadata",
            "store",
            "service_tier",
            "safety_identifier",
            "prompt_cache_key",
            "reasoning_effort",
            "verbosity",
        }
    )
    neutral: ClassVar[dict[str, tuple[Any, ...]]] = {"best_of": (1,)}

    model: str
    n: int | None = Field(None, ge=1, le=MAX_REPLIES, description="replies to each prompt")
    max_tokens: int | None = Field(None, ge=1, description="the longest reply, in tokens")
    temperature: float | None = Field(None, ge=0, le=2, description="0 always takes the likeliest token")
    top_p: float | None = like_sampling("top_p")
    top_k: int | None = like_sampling("top_k")
    min_p: float | None = like_sampling("min_p")
    typical_p: float | None = like_sampling("typical_p")
    repetition_penalty: float | None = like_sampling("repetition_penalty")
    frequency_penalty: float | None = like_sampling("frequency_penalty")
    presence_penalty: float | None = like_sampling("presence_penalty")
    no_repeat_ngram: int | None = like_sampling("no_repeat_ngram")
    dry_multiplier: float | None = like_sampling("dry_multiplier")
    dry_base: float | None = like_sampling("dry_base")
    dry_allowed: int | None = like_sampling("dry_allowed")
    dry_breakers: Annotated[list[str], Field(max_length=64)] | None = like_sampling("dry_breakers")
    mirostat: Literal[0, 1, 2] | None = like_sampling("mirostat")
    mirostat_tau: float | None = like_sampling("mirostat_tau")
    mirostat_eta: float | None = like_sampling("mirostat_eta")
    script: Literal["", "zh-TW"] | None = like_sampling("script")
    wording: Literal["", "zh-TW"] | None = like_sampling("wording")
    json_schema: dict[str, Any] | str | None = like_sampling("json_schema")
    regex: str | None = like_sampling("regex")
    grammar: str | None = like_sampling("grammar")
    choices: Annotated[list[str], Field(max_length=2000)] | None = like_sampling("choices")
    seed: int | None = Field(None, ge=-(2**63), le=2**63 - 1, description="the same seed gives the same reply")
    logit_bias: Annotated[TokenBias, Field(max_length=1024)] | None = Field(
        None, description="token id: number added to its logit"
    )
    stop: Annotated[
        Annotated[list[str], Field(max_length=16)] | None,
        BeforeValidator(_list_of_stops, json_schema_input_type=str | list[str] | None),
    ] = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    @property
    def num_replies(self) -> int:
        return self.n or 1

    @property
    def wanted_tokens(self) -> int | None:
        return self.max_tokens

    @property
    def wanted_logprobs(self) -> int | None:
        """How many of the likeliest tokens to tell in each place; None: no log-probabilities at all."""
        return None

    @property
    def include_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)

    def form(self) -> dict[str, Any]:
        """The form the reply is asked to have, by Sampling's names."""
        return {name: value for name in FORMS if (value := getattr(self, name))}

    def sampling(self, limit_tokens: int, **more: Any) -> Sampling:
        """How to draw; the reply is at most `limit_tokens`. more: what comes from elsewhere, as the form of tool calls.

        Raises ApiError 400 for what contradicts itself.
        """
        bounded = {"stop", "max_tokens", "logit_bias", *FORMS}
        names = [name for name in Sampling.model_fields if name in type(self).model_fields and name not in bounded]
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        given |= {"logit_bias": {int(token): number for token, number in (self.logit_bias or {}).items()}}
        given |= {"stop": tuple(text for text in self.stop or () if text), "top_logprobs": self.wanted_logprobs}
        given |= {"max_tokens": min(self.wanted_tokens or Sampling.model_fields["max_tokens"].default, limit_tokens)}
        try:
            return Sampling(**given | self.form() | more)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(map(str, first["loc"]))
            raise ApiError(400, f"{name}: {first['msg'].removeprefix('Value error, ')}.", param=name) from None


def seeded(sampling: Sampling, count: int) -> Sequence[Sampling]:
    """For several replies to one prompt: seeds one after another, so that they differ and can be had again."""
    if sampling.seed is None:
        return [sampling] * count
    # Seeds are 64 bits with a sign: behind the largest comes the smallest.
    seeds = [(sampling.seed + place + 2**63) % 2**64 - 2**63 for place in range(count)]
    return [sampling.model_copy(update={"seed": seed}) for seed in seeds]
