"""What a model's template does, learned by rendering small conversations with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from jinja2 import TemplateError, nodes

from hanlin.core.run.errors import HanlinError
from hanlin.core.text.messages import TOOL_FORMS, Message, ToolForm, for_template, names_of_calls
from hanlin.core.text.sandbox import TemplateFailure, parse, run_template
from hanlin.core.text.spelling import Spellings
from hanlin.core.text.template_files import named_template
from hanlin.core.text.tokenizer import Tokenizer, token_text

CHATML = named_template("chatml")
"""ChatML as Qwen writes it, without a default system message: the template of a model that brings none."""

_USER, _ASSISTANT, _USER_AGAIN = "甲乙丙丁", "子丑寅卯", "戊己庚辛"
_CALL = {"id": "abcdef123", "type": "function", "function": {"name": "天干", "arguments": {"地支": "辰巳"}}}
_TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "shichen", "description": "時辰", "parameters": {"type": "object", "properties": {}}},
}


@dataclass(frozen=True)
class ChatFormat:
    """A template with the tokenizer it is written for.

    variables:        the names of special tokens that templates ask for (bos_token, eos_token, …)
    stop:             the token that the template puts behind a reply; "" if it puts none
    stops_in_history: whether a reply that others follow ends in the same token
    spellings:        the tokens a message must not become
    tool_form:        how it wants tool calls; None if it doesn't show them
    shows_tools:      whether it shows the tools that may be called
    """

    template: str
    variables: Mapping[str, str]
    stop: str
    stops_in_history: bool
    spellings: Spellings
    tool_form: ToolForm | None
    shows_tools: bool

    @property
    def knows_developer(self) -> bool:
        return "developer" in self.template

    def plain(self, messages: Sequence[Message]) -> list[dict[str, Any]]:
        """The messages as this template expects them."""
        return [for_template(message, self.tool_form or ToolForm(), self.knows_developer) for message in messages]


_known: WeakKeyDictionary[Tokenizer, ChatFormat] = WeakKeyDictionary()


def format_of(tokenizer: Tokenizer) -> ChatFormat:
    """The format of the tokenizer's own template, ChatML if it has none. Learned once."""
    template = tokenizer.chat_template or CHATML
    found = _known.get(tokenizer)
    if found is None or found.template != template:
        found = _known[tokenizer] = _learn(template, tokenizer)
    return found


def _learn(template: str, tokenizer: Tokenizer) -> ChatFormat:
    named = {name: token_text(value) for name, value in tokenizer.settings.items() if name.endswith("_token")}
    variables = {name: text for name, text in named.items() if text}
    asked = [{"role": "user", "content": _USER}]
    answered = [*asked, {"role": "assistant", "content": _ASSISTANT}]
    ended = _rendered(template, variables, answered)
    history = _rendered(template, variables, [*answered, {"role": "user", "content": _USER_AGAIN}])
    stop = _first_token(_between(ended, _ASSISTANT, ""), tokenizer) if ended else _end(tokenizer)
    return ChatFormat(
        template=template,
        variables=variables,
        stop=stop,
        stops_in_history=stop != "" and stop == _first_token(_between(history, _ASSISTANT, _USER_AGAIN), tokenizer),
        spellings=_spellings(template, history, tokenizer),
        tool_form=_tool_form(template, variables, asked),
        shows_tools=_TOOL["function"]["name"] in _rendered(template, variables, asked, [_TOOL]),
    )


def _rendered(
    template: str, variables: Mapping[str, str], messages: Sequence[Message], tools: Sequence[Any] | None = None
) -> str:
    """Nothing where the template refuses a conversation like this one."""
    given = {"messages": messages, "tools": tools, "documents": None, "add_generation_prompt": False, **variables}
    try:
        return run_template(template, given)
    except TemplateFailure:
        return ""


def _between(text: str, start: str, end: str) -> str:
    after = text.rpartition(start)[2] if start in text else ""
    return after.partition(end)[0] if end else after


def _first_token(text: str, tokenizer: Tokenizer) -> str:
    """The first added token of a text, or the tokenizer's end where that is spelled without being one."""
    pieces = tokenizer.split_special(text)
    others = [name for name in (*_added(tokenizer, special=False), _end(tokenizer)) if name and name in pieces[0]]
    return min(others, key=pieces[0].find) if others else "".join(pieces[1:2])


def _end(tokenizer: Tokenizer) -> str:
    try:
        return tokenizer.eos_token
    except HanlinError:  # a tokenizer that ends nothing
        return ""


def _added(tokenizer: Tokenizer, special: bool) -> list[str]:
    """Added tokens that are (not) special. Short ones and white space that aren't (Gemma's "\n\n") are just text."""
    tokens = [token for token in tokenizer.backend.get_added_tokens_decoder().values() if token.special == special]
    return [token.content for token in tokens if special or (len(token.content) > 2 and not token.content.isspace())]


def _spellings(template: str, history: str, tokenizer: Tokenizer) -> Spellings:
    """Special tokens, and those others with which the template itself marks turns.

    Not those a template looks for inside messages, as Qwen's looks for </think>: breaking them would hide them from it.
    """
    others = [name for name in _added(tokenizer, special=False) if name in history]
    looked_for = _looked_for(template) if others else ""
    return Spellings(tuple(_added(tokenizer, special=True)), tuple(name for name in others if name not in looked_for))


def _looked_for(template: str) -> str:
    """All texts a template compares with or hands to a function."""
    try:
        tree = parse(template)
    except TemplateError:
        return ""
    uses = tree.find_all((nodes.Compare, nodes.Call, nodes.Filter, nodes.Test))
    texts = [const.value for use in uses for const in use.find_all(nodes.Const) if isinstance(const.value, str)]
    return "\n".join(texts)


def _tool_form(template: str, variables: Mapping[str, str], asked: Sequence[Message]) -> ToolForm | None:
    """The first form in which name and argument of a call show as they should: not at all, or as Python, is wrong."""
    called: Message = {"role": "assistant", "tool_calls": [_CALL]}
    for form in TOOL_FORMS:
        text = _rendered(template, variables, [*asked, for_template(called, form, True)])
        name = names_of_calls(called)[0]
        if name in text and "辰巳" in text and "{'" not in text and '\\"' not in text:
            return form
    return None
