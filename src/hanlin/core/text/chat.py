"""The one renderer: a conversation becomes token ids and trained spans here and nowhere else.

The template is Jinja, lives in the artifact and is rendered in a sandbox. Contents are put in after the
markup is cut at its special tokens, so a message that spells `<|im_end|>` stays text and can't end its own turn.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from hanlin.core.run.errors import HanlinError
from hanlin.core.text.tokenizer import IM_END, Tokenizer

Message = Mapping[str, str]

ROLES = ("system", "user", "assistant")

CHATML = """\
{%- for message in messages -%}
<|im_start|>{{ message.role }}
{{ message.content | trim }}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}
<|im_start|>assistant
{% endif -%}"""
"""ChatML as Qwen writes it, without a default system message."""

_PLACEHOLDER = re.compile("\ue000(\\d+)\ue001")


@dataclass(frozen=True)
class Rendered:
    """ids (T), trained (T): whether the loss counts this token as a target. A reply is trained with its stop token."""

    ids: list[int]
    trained: list[bool]


def template_hash(template: str) -> str:
    return hashlib.sha256(template.encode()).hexdigest()[:16]


def check_messages(messages: Sequence[Message]) -> None:
    """Raises HanlinError for an empty conversation, an unknown role or a missing text."""
    if not messages:
        raise HanlinError(
            "The conversation is empty.", "at least one message", 'add {"role": "user", "content": "…"}', "docs/chat.md"
        )
    for place, message in enumerate(messages):
        if message.get("role") not in ROLES or not isinstance(message.get("content"), str):
            raise HanlinError(
                f"Message {place} is not a message: {str(dict(message))[:80]}",
                f"role ({', '.join(ROLES)}) and content (text)",
                "correct the message",
                "docs/chat.md",
            )


def opening(messages: Sequence[Message]) -> list[Message]:
    """What stands before the first reply: what the model is asked. Empty where the conversation begins with one."""
    return list(takewhile(lambda message: message["role"] != "assistant", messages))


def chat_tokenizer(tokenizer: Tokenizer) -> Tokenizer:
    """The same tokenizer, whose end is ChatML's stop token unless the model brings a template of its own."""
    settings = {"chat_template": CHATML, **tokenizer.settings}
    if settings["chat_template"] == CHATML:
        settings["eos_token"] = IM_END
    return Tokenizer(tokenizer.backend, settings)


def render(messages: Sequence[Message], tokenizer: Tokenizer, add_generation_prompt: bool = False) -> Rendered:
    """Ids and trained spans of a conversation.

    Raises HanlinError when the template fails, or when a longer conversation does not begin with the shorter one
    (a template that rewrites history can't be trained on replies alone).
    """
    check_messages(messages)
    contents = [message["content"].strip() for message in messages]  # its outer spaces stand in the markup
    template = tokenizer.chat_template or CHATML
    ids: list[int] = []
    trained: list[bool] = []
    written = ""
    for count, message in enumerate(messages, start=1):
        if message["role"] == "assistant":
            prompt = _markup(template, messages[: count - 1], True)
            _append(ids, trained, _continuation(written, prompt), contents, tokenizer, False)
            written = prompt
        whole = _markup(template, messages[:count], False)
        rest = _continuation(written, whole)
        reply, after = _split_after_stop(rest, tokenizer.eos_token) if message["role"] == "assistant" else ("", rest)
        _append(ids, trained, reply, contents, tokenizer, True)
        _append(ids, trained, after, contents, tokenizer, False)
        written = whole
    if add_generation_prompt:
        prompt = _markup(template, messages, True)
        _append(ids, trained, _continuation(written, prompt), contents, tokenizer, False)
    return Rendered(ids, trained)


def _markup(template: str, messages: Sequence[Message], add_generation_prompt: bool) -> str:
    """The template's own text, each content replaced by a numbered placeholder of private-use characters.

    The spaces around a content stay outside its placeholder, so that the template decides whether to trim them.
    """
    marked = [{**message, "content": _placeholder(place, message["content"])} for place, message in enumerate(messages)]
    try:
        return _compiled(template).render(messages=marked, add_generation_prompt=add_generation_prompt)
    except (TemplateError, TypeError, ValueError) as error:
        raise HanlinError(
            f"The chat template fails: {error}",
            "a Jinja template over `messages`",
            "correct chat_template in tokenizer_config.json",
            "docs/chat.md",
        ) from None


def _placeholder(place: int, content: str) -> str:
    without_start = content.lstrip()
    before = content[: len(content) - len(without_start)]
    return f"{before}\ue000{place}\ue001{without_start[len(without_start.rstrip()) :]}"


@lru_cache(maxsize=16)
def _compiled(template: str):
    return ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(template)


def _continuation(written: str, whole: str) -> str:
    if not whole.startswith(written):
        raise HanlinError(
            "The chat template changes earlier turns when a message is added.",
            "a template whose text only grows",
            "use a template that keeps earlier turns",
            "docs/chat.md",
        )
    return whole[len(written) :]


def _split_after_stop(rest: str, stop: str) -> tuple[str, str]:
    end = rest.find(stop)
    return (rest, "") if end < 0 else (rest[: end + len(stop)], rest[end + len(stop) :])


def _append(
    ids: list[int], trained: list[bool], markup: str, contents: Sequence[str], tokenizer: Tokenizer, train: bool
) -> None:
    """Encode markup: its special tokens as such, what stands between them (contents put in) as one plain text."""
    for place, piece in enumerate(tokenizer.split_special(markup)):
        if place % 2:
            new = [tokenizer.id_of(piece)]
        else:
            new = tokenizer.encode(_PLACEHOLDER.sub(lambda found: contents[int(found[1])], piece))
        ids += new
        trained += [train] * len(new)
