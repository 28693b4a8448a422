"""What clients may send. Names and meanings are OpenAI's; what would change the meaning and isn't here is refused."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, model_validator
from pydantic_core import PydanticCustomError

from hanlin.core.generate.sampling import Sampling
from hanlin.core.run.errors import did_you_mean

IGNORED = frozenset(
    {
        "user",
        "metadata",
        "store",
        "service_tier",
        "safety_identifier",
        "prompt_cache_key",
        "parallel_tool_calls",
        "reasoning_effort",
        "verbosity",
    }
)
"""Fields that don't change what the reply says here. They come back in the `x-hanlin-ignored` header."""

NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "echo": (False,),
    "suffix": ("",),
    "logprobs": (False,),
    "top_logprobs": (),
    "logit_bias": ({},),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "response_format": ({"type": "text"},),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "web_search_options": (),
}
"""Fields we can't honour, with the values (besides null) that ask for nothing. Any other value is refused."""


def _joined_parts(content: Any) -> Any:
    """OpenAI's other spelling of a text: a list of parts."""
    if not isinstance(content, list):
        return content
    texts = [
        part["text"] for part in content if isinstance(part, dict) and part.get("type") == "text" and "text" in part
    ]
    if len(texts) < len(content) or not all(isinstance(text, str) for text in texts):
        raise PydanticCustomError("not_text", "this model reads text only: a string, or parts of type text")
    return "".join(texts)


def _only_prompt(prompt: Any) -> Any:
    if not isinstance(prompt, list):
        return prompt
    if len(prompt) != 1 or not isinstance(prompt[0], str):
        raise PydanticCustomError("not_one_text", "one text a request: a string, or a list of one string")
    return prompt[0]


def _list_of_stops(stop: Any) -> Any:
    return [stop] if isinstance(stop, str) else stop


class ChatMessage(BaseModel):
    """One turn. Other fields (`name`, `refusal`) come back from clients that send their history as they received it."""

    model_config = ConfigDict(strict=True, extra="ignore")
    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[str, BeforeValidator(_joined_parts)]

    def plain(self) -> dict[str, str]:
        """The message as the renderer takes it. OpenAI renamed "system" to "developer"; models know the first."""
        return {"role": "system" if self.role == "developer" else self.role, "content": self.content}


class StreamOptions(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")
    include_usage: bool | None = None


class GenerationRequest(BaseModel):
    """What both endpoints share. Strict: `"0.5"` is not a number and `true` is not 1."""

    model_config = ConfigDict(strict=True, extra="forbid")

    model: str
    max_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=0)
    min_p: float | None = Field(None, ge=0, lt=1)
    repetition_penalty: float | None = Field(None, gt=0, le=10)
    seed: int | None = Field(None, ge=-(2**63), le=2**63 - 1)
    stop: Annotated[Annotated[list[str], Field(max_length=16)] | None, BeforeValidator(_list_of_stops)] = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    _ignored: tuple[str, ...] = PrivateAttr(())

    @model_validator(mode="wrap")
    @classmethod
    def _refuse_what_we_cannot_honour(cls, body: Any, validate: Any) -> Any:
        if not isinstance(body, dict):
            return validate(body)
        _refuse_half_characters(body)
        known = {name: value for name, value in body.items() if name in cls.model_fields}
        for name, value in body.items():
            if name in NEUTRAL:
                _refuse_unless_neutral(name, value)
            elif name not in known and name not in IGNORED:
                raise _refusal("unknown_parameter", name, f"unknown field; {did_you_mean(name, cls.model_fields)}")
        asked = validate(known)
        asked._ignored = tuple(sorted(IGNORED & body.keys()))
        return asked

    @property
    def ignored(self) -> tuple[str, ...]:
        """Names that were sent and have no effect."""
        return self._ignored

    @property
    def wanted_tokens(self) -> int | None:
        return self.max_tokens

    @property
    def include_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)

    def sampling(self, limit_tokens: int) -> Sampling:
        """How to draw. What the request leaves out has `Sampling`'s defaults; the reply is at most `limit_tokens`."""
        names = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "seed")
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        wanted = self.wanted_tokens or Sampling.model_fields["max_tokens"].default
        stops = tuple(text for text in self.stop or () if text)
        return Sampling(**given, stop=stops, max_tokens=min(wanted, limit_tokens))


class ChatRequest(GenerationRequest):
    """POST /v1/chat/completions."""

    messages: list[ChatMessage] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1)

    @property
    def wanted_tokens(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens


class CompletionRequest(GenerationRequest):
    """POST /v1/completions."""

    prompt: Annotated[str, BeforeValidator(_only_prompt)]


def _refuse_unless_neutral(name: str, value: Any) -> None:
    # `True == 1` in Python, so bools are told apart: n=true is not n=1.
    same = (value == neutral and isinstance(value, bool) == isinstance(neutral, bool) for neutral in NEUTRAL[name])
    if value is not None and not any(same):
        raise _refusal("unsupported_parameter", name, "this server can't do that; leave it out")


def _refuse_half_characters(body: dict[str, Any]) -> None:
    """JSON can spell one half of a surrogate pair, which is no character and can't be written as UTF-8."""
    try:
        json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise PydanticCustomError("invalid_unicode", "a text holds half a surrogate pair") from None


def _refusal(code: str, name: str, message: str) -> PydanticCustomError:
    return PydanticCustomError(code, "{message}", {"message": message, "param": name, "code": code})
