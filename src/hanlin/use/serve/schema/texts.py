"""Requests about plain texts and ids: to go on with them, to make vectors or tokens of them."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator, model_validator
from pydantic_core import PydanticCustomError

from hanlin.use.serve.schema.base import Asked, refusal
from hanlin.use.serve.schema.chat import ChatMessage, TemplateVariables
from hanlin.use.serve.schema.tools import Tool
from hanlin.use.serve.schema.writing import WritingRequest

MAX_TEXTS = 2048

Id = Annotated[int, Field(ge=0, lt=2**31)]
Ids = Annotated[list[Id], Field(min_length=1)]
Text = str | list[int]


def _in_one_of_four_forms(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    """One sentence instead of what is wrong with the value as each of the four."""
    try:
        return validate(value)
    except ValidationError:
        raise PydanticCustomError(
            "not_texts", "a text, a list of 1 to {most} texts, ids, or a list of lists of ids", {"most": MAX_TEXTS}
        ) from None


Texts = Annotated[
    str
    | Annotated[list[str], Field(min_length=1, max_length=MAX_TEXTS)]
    | Ids
    | Annotated[list[Ids], Field(min_length=1, max_length=MAX_TEXTS)],
    WrapValidator(_in_one_of_four_forms),
]
"""OpenAI's four spellings."""


def each_of(texts: Any) -> list[Text]:
    """The texts one by one, each a string or ids."""
    if isinstance(texts, str) or isinstance(texts[0], int):
        return [texts]
    return list(texts)


class CompletionRequest(WritingRequest):
    """POST /v1/completions: texts to go on with."""

    neutral: ClassVar[dict[str, tuple[Any, ...]]] = {**WritingRequest.neutral, "suffix": ("",)}

    prompt: Texts
    logprobs: int | None = Field(None, ge=0, le=20, description="tell log-probabilities, and so many of the likeliest")
    echo: bool | None = Field(None, description="begin the reply with the prompt")

    @model_validator(mode="after")
    def _is_consistent(self) -> CompletionRequest:
        if self.echo and self.logprobs is not None:
            raise refusal("unsupported_parameter", "echo", "a prompt's own log-probabilities are not worked out here")
        return self

    @property
    def prompts(self) -> list[Text]:
        return each_of(self.prompt)

    @property
    def wanted_logprobs(self) -> int | None:
        return self.logprobs


class EmbeddingRequest(Asked):
    """POST /v1/embeddings: texts to make vectors of."""

    neutral: ClassVar[dict[str, tuple[Any, ...]]] = {"dimensions": ()}

    model: str
    input: Texts
    encoding_format: Literal["float", "base64"] | None = Field(None, description="base64: of float32, little-endian")

    @property
    def inputs(self) -> list[Text]:
        return each_of(self.input)


class TokenizeRequest(Asked):
    """POST /tokenize: a text or a conversation as ids. model: left out, the first one served."""

    model: str | None = None
    prompt: str | None = None
    messages: Annotated[list[ChatMessage], Field(min_length=1)] | None = None
    tools: list[Tool] | None = None
    add_special_tokens: bool = Field(True, description="of a prompt: with what the model expects around a text")
    add_generation_prompt: bool = Field(True, description="of messages: ready for the reply")
    chat_template_kwargs: TemplateVariables | None = None
    return_token_strs: bool | None = None

    @model_validator(mode="after")
    def _is_one_of_two(self) -> TokenizeRequest:
        if (self.prompt is None) == (self.messages is None):
            raise refusal("not_one_text", "prompt", "either prompt or messages")
        return self


class DetokenizeRequest(Asked):
    """POST /detokenize: ids as a text."""

    model: str | None = None
    tokens: list[Id]
