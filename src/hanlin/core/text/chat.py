"""The one renderer: a conversation becomes token ids and trained spans here and nowhere else.

The template is Jinja, comes with the model and runs in a sandbox. The conversation is rendered once; the text is cut at
special tokens and encoded. A message that spells `<|im_end|>` stays text and can't end its own turn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hanlin.core.run.errors import HanlinError
from hanlin.core.text.chat_format import CHATML, format_of
from hanlin.core.text.chat_ids import encode_cut
from hanlin.core.text.messages import ROLES, Message, check_messages, names_of_calls, opening, thought_of
from hanlin.core.text.sandbox import TemplateFailure, run_template
from hanlin.core.text.spelling import new_breaker
from hanlin.core.text.template_files import named_template
from hanlin.core.text.tokenizer import IM_END, Tokenizer

__all__ = [
    "CHATML",
    "ROLES",
    "Message",
    "Rendered",
    "chat_tokenizer",
    "check_messages",
    "opening",
    "render",
    "stop_token",
    "template_hash",
]


@dataclass(frozen=True)
class Rendered:
    """ids (T), trained (T): whether the loss counts this token as a target. A reply is trained with its stop token.

    num_untrained_replies: replies that can't be trained where they stand. The template shows what was before them, or
    their own thought, otherwise once the conversation has gone on; or it puts no stop token behind them.
    """

    ids: list[int]
    trained: list[bool]
    num_untrained_replies: int = 0


def template_hash(template: str) -> str:
    return hashlib.sha256(template.encode()).hexdigest()[:16]


_TEMPLATES_BY_MARKUP = {
    "<|im_end|>": "chatml",
    "<end_of_turn>": "gemma",
    "<|eot_id|>": "llama3",
    "[/INST]": "mistral",
}
"""Stop tokens or ends of a question that a vocabulary has for the template of its family."""


def chat_tokenizer(tokenizer: Tokenizer) -> Tokenizer:
    """The same tokenizer with a chat template: the model's own, else the one its vocabulary has the markup for (a base
    model of Gemma knows <end_of_turn>), else ChatML, whose stop token is then its end."""
    settings = {**tokenizer.settings, "chat_template": tokenizer.chat_template or _by_markup(tokenizer)}
    if settings["chat_template"] == CHATML:
        settings["eos_token"] = IM_END
    return Tokenizer(tokenizer.backend, settings)


def _by_markup(tokenizer: Tokenizer) -> str:
    known = tokenizer.backend.token_to_id
    name = next((name for token, name in _TEMPLATES_BY_MARKUP.items() if known(token) is not None), "chatml")
    return named_template(name)


def stop_token(tokenizer: Tokenizer) -> str:
    """The token that ends a reply in the tokenizer's chat template; its end of text where the template puts none."""
    return format_of(tokenizer).stop or tokenizer.eos_token


def render(
    messages: Sequence[Message],
    tokenizer: Tokenizer,
    add_generation_prompt: bool = False,
    *,
    tools: Sequence[Mapping[str, Any]] | None = None,
    documents: Sequence[Mapping[str, Any]] | None = None,
    **variables: Any,
) -> Rendered:
    """Ids and trained spans of a conversation.

    tools: JSON schemas, as OpenAI's API takes them. variables: what the template asks for besides, as enable_thinking.

    A reply is trained from the end of its prompt, the text of all messages before it and the generation prompt, through
    its stop token. Raises HanlinError for what is no conversation, and when the template fails or hides tool calls.
    """
    check_messages(messages)
    writer = _Writer(messages, tokenizer, {"tools": tools or None, "documents": documents or None, **variables})
    whole = writer.text(len(messages), add_generation_prompt)
    writer.check_calls(whole)
    replies = [place for place, message in enumerate(messages) if message["role"] == "assistant"]
    spans = [span for place in replies if (span := writer.span(place, whole))]
    ids, places = encode_cut(whole, [cut for span in spans for cut in span], tokenizer, writer.breaker)
    trained = [False] * len(ids)
    for start, end in zip(places[::2], places[1::2], strict=True):
        trained[start:end] = [True] * (end - start)
    return Rendered(ids, trained, len(replies) - len(spans))


class _Writer:
    """Renders beginnings of one conversation, all at the same moment."""

    def __init__(self, messages: Sequence[Message], tokenizer: Tokenizer, variables: Mapping[str, Any]):
        self.tokenizer, self.format = tokenizer, format_of(tokenizer)
        self.plain, now = self.format.plain(messages), datetime.now()
        known = {**self.format.variables, "strftime_now": lambda form: now.strftime(form)}
        self.breaker = new_breaker(self.format.spellings, [self.plain, variables, self.format.template])
        # A role is one of ours, and the template compares it.
        self.broken = [{**self.breaker.broken(message), "role": message["role"]} for message in self.plain]
        self.variables = known | {name: self.breaker.broken(value) for name, value in variables.items()}
        self._texts: dict[tuple[int, bool], str] = {}

    def text(self, count: int, add_generation_prompt: bool) -> str:
        """What the template makes of the first `count` messages, begun by one beginning-of-text token where there is
        one."""
        if (count, add_generation_prompt) not in self._texts:
            given = {**self.variables, "messages": self.broken[:count], "add_generation_prompt": add_generation_prompt}
            text = run_template(self.format.template, given)
            self._texts[count, add_generation_prompt] = _begun_once(text, self.tokenizer)
        return self._texts[count, add_generation_prompt]

    def span(self, place: int, whole: str) -> tuple[int, int] | None:
        """Where the reply at `place` stands in the whole conversation with its stop token; None if it can't be trained
        there."""
        prompt = self._begins(whole, place, True)
        if prompt is None:
            return None
        reply = self._begins(whole, place + 1, False)
        if reply is None and (thought_of(self.plain[place]) or not self.format.stops_in_history):
            return None
        start = len(prompt)
        turn = whole[start : len(reply)] if reply is not None else whole[start:]
        length = _through_stop(turn, self.format.stop, self.tokenizer, reply is not None)
        return (start, start + length) if length else None

    def check_calls(self, whole: str) -> None:
        for message in self.broken:
            if any(name not in whole for name in names_of_calls(message)):
                raise HanlinError(
                    "The chat template does not show tool calls.",
                    "a template made for tools",
                    "use a model or a template that knows tools (qwen3, mistral), or leave such conversations out",
                    "docs/chat.md",
                )

    def _begins(self, whole: str, count: int, add_generation_prompt: bool) -> str | None:
        """The text of the first messages if the whole conversation begins with it."""
        try:
            text = self.text(count, add_generation_prompt)
        except TemplateFailure:
            return None
        return text if whole.startswith(text) else None


def _begun_once(text: str, tokenizer: Tokenizer) -> str:
    """With one beginning-of-text token, whatever the template and the tokenizer's post-processor do about it."""
    if bos := tokenizer.bos_token:
        while text.startswith(bos * 2):
            text = text[len(bos) :]
        if tokenizer.add_bos and not text.startswith(bos):
            text = bos + text
    return text


def _through_stop(turn: str, stop: str, tokenizer: Tokenizer, is_alone: bool) -> int:
    """Length of a turn through its stop token; 0 if it has none. A turn known to be alone may end in another special
    token, as Llama's tool calls do."""
    if stop and stop in turn:
        return turn.index(stop) + len(stop)
    pieces = tokenizer.split_special(turn)
    if is_alone and len(pieces) > 2 and not pieces[-1].strip():
        return turn.rindex(pieces[-2]) + len(pieces[-2])
    return 0
