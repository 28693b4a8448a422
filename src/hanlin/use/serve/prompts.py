"""From what a request holds to the ids a model reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hanlin.core.generate.stream import text_ids
from hanlin.core.run.errors import HanlinError
from hanlin.core.text.calls import ends_in_thought, form_of_calls, shows_tools
from hanlin.core.text.chat import render
from hanlin.core.text.tokenizer import Tokenizer
from hanlin.use.serve.backend import Served
from hanlin.use.serve.errors import ApiError
from hanlin.use.serve.schema.chat import ChatMessage, ChatRequest
from hanlin.use.serve.schema.texts import Text
from hanlin.use.serve.schema.tools import Tool


@dataclass(frozen=True)
class Prompt:
    """ids: what the model reads. more: options of Sampling that follow from it. thought_open: it ends inside a thought.
    echoed: what the reply begins with."""

    ids: list[int]
    more: dict[str, Any]
    thought_open: bool = False
    echoed: str = ""


def chat_prompt(asked: ChatRequest, tokenizer: Tokenizer) -> Prompt:
    """Raises ApiError 400 for a conversation or tools that the model's template refuses."""
    tools = plain_tools(asked.tools) if asked.calls_allowed else []
    if tools and not shows_tools(tokenizer):
        raise ApiError(400, "This model's chat template knows no tools.", param="tools", code="unsupported_parameter")
    ids = conversation_ids(tokenizer, asked.messages, tools=tools, variables=asked.chat_template_kwargs or {})
    thought_open, more = ends_in_thought(ids, tokenizer), {}
    if asked.must_call:
        parallel = asked.parallel_tool_calls is not False and not asked.only_tool
        only = asked.only_tool
        more["grammar"] = form_of_calls(tokenizer, tools, only=only, parallel=parallel, thought_open=thought_open)
    return Prompt(ids, more, thought_open)


def conversation_ids(
    tokenizer: Tokenizer,
    messages: list[ChatMessage],
    *,
    tools: list[dict[str, Any]] | None = None,
    variables: dict[str, Any] | None = None,
    ready: bool = True,
) -> list[int]:
    """ready: for the model's reply. Raises ApiError 400 for what the template refuses."""
    plain = [message.plain() for message in messages]
    try:
        return render(plain, tokenizer, ready, tools=tools, **(variables or {})).ids
    except HanlinError as error:
        raise ApiError(400, f"{error.what} Expected: {error.expected}.", param="messages") from None


def plain_tools(tools: list[Tool] | None) -> list[dict[str, Any]]:
    return [tool.plain() for tool in tools or ()]


def plain_prompt(text: Text, model: Served, tokenizer: Tokenizer, echo: bool) -> Prompt:
    """Raises ApiError 400 for ids the model doesn't have."""
    if isinstance(text, str):
        return Prompt(text_ids(tokenizer, text, model.reads_whole), {}, echoed=text if echo else "")
    refuse_unknown_ids(text, tokenizer, "prompt")
    return Prompt(list(text), {}, echoed=tokenizer.decode(text) if echo else "")


def refuse_unknown_ids(ids: list[int], tokenizer: Tokenizer, param: str) -> None:
    if unknown := [token for token in ids if token >= tokenizer.vocab_size]:
        message = f"{param}: the id {unknown[0]} is not in the vocabulary of {tokenizer.vocab_size} tokens."
        raise ApiError(400, message, param=param)


async def fitting(model: Served, make: Callable[[], Prompt], param: str) -> Prompt:
    """The prompt, made beside the event loop. Raises ApiError 400 for one that leaves no room for a reply."""
    prompt = await model.backend.encode(make)
    if len(prompt.ids) >= model.context:
        message = (
            f"The prompt has {len(prompt.ids)} tokens; this model's context is {model.context} tokens, "
            "the reply included."
        )
        raise ApiError(400, message, param=param, code="context_length_exceeded")
    return prompt
