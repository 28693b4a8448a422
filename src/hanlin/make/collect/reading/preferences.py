"""Preferences as data sets write them: what was asked, a better reply and a worse one; or one reply, liked or not.

    {"prompt": …, "chosen": …, "rejected": …}        TRL and most hubs; each is a text or a list of messages
    {"chosen": […], "rejected": […]}                 TRL's implicit prompt: the beginning that both share
    {"conversations": […], "chosen": {…}, …}         LLaMA-Factory's ranking; also with `instruction`, `input`
    {"input": {"messages"}, "preferred_output": […], "non_preferred_output": […]}     OpenAI's preference fine-tuning
    {"prompt": …, "completion": …, "label": true}    KTO; or messages, conversations or alpaca, with label or kto_tag

Ethayarajh et al. 2024, https://arxiv.org/abs/2402.01306, learn from single replies (KTO). A reply that was liked is in
`chosen`, one that was not in `rejected`. Replies may repeat the prompt; it is taken off.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hanlin.make.collect.reading.turns import Message, Refused, content_of, said, turn_of, turns_of, with_system

LABELS = ("label", "kto_tag")

_VERDICTS: dict[Any, bool] = {
    **dict.fromkeys(("true", "yes", "1", 1, True, "liked", "good"), True),
    **dict.fromkeys(("false", "no", "0", 0, False, "disliked", "bad"), False),
}

_SPEAKER = re.compile(r"(?:\A|\n\n)(Human|Assistant):(?=\s|\Z)")
"""Anthropic's HH data keep a conversation in one text with these before each turn."""

Preference = tuple[list[Message], list[Message], list[Message]]
"""(prompt, chosen, rejected)"""


def pair_of(value: Mapping[str, Any], place: str) -> Preference:
    """A pair of replies and what they answer. Raises Refused where there is nothing to prefer."""
    if "preferred_output" in value:
        asked = value["input"] if isinstance(value["input"], dict) else {"messages": value["input"]}
        prompt = _spoken(asked.get("messages"), "user", place)
        chosen, rejected = (
            _spoken(value[key], "assistant", place) for key in ("preferred_output", "non_preferred_output")
        )
    else:
        prompt = _prompt(value, place)
        replies = value["chosen"], value["rejected"]
        if not prompt and all(isinstance(reply, str) for reply in replies) and not _is_script(replies[0]):
            prompt, replies = _shared_text(*replies)
        chosen, rejected = (_spoken(reply, "assistant", place) for reply in replies)
    if chosen == rejected:
        raise Refused("chosen and rejected are the same")
    prompt, chosen, rejected = _without_prompt(prompt, chosen, rejected)
    if not all(reply and reply[0]["role"] == "assistant" for reply in (chosen, rejected)):
        raise Refused("chosen and rejected do not answer the same prompt")
    return with_system(prompt, value), chosen, rejected


def verdict_of(value: Mapping[str, Any]) -> bool | None:
    """Whether the reply was liked; None where the object says nothing about that.

    Conversations may have a `label` of another meaning: there only true and false count.
    """
    for key in LABELS:
        mark = value.get(key)
        if key == "label" and "completion" not in value and not isinstance(mark, bool):
            continue
        mark = mark.strip().lower() if isinstance(mark, str) else mark
        if isinstance(mark, bool | int | str) and mark in _VERDICTS:
            return _VERDICTS[mark]
    return None


def judged(turns: Sequence[Message], liked: bool) -> Preference:
    """A conversation whose last reply was judged: everything after the last question is the reply."""
    end = len(turns)
    while end and turns[end - 1]["role"] in ("assistant", "tool"):
        end -= 1
    if not turns[end:]:
        raise Refused("no reply to judge")
    prompt, reply = list(turns[:end]), list(turns[end:])
    return (prompt, reply, []) if liked else (prompt, [], reply)


def _prompt(value: Mapping[str, Any], place: str) -> list[Message]:
    for key in ("prompt", "messages", "conversations", "question"):
        if value.get(key):
            return _spoken(value[key], "user", place)
    if isinstance(value.get("instruction"), str):
        given = value.get("input")
        both = [value["instruction"], given if isinstance(given, str) else ""]
        return [*history_of(value), said("user", "\n\n".join(part for part in both if part.strip()))]
    return []


def history_of(value: Mapping[str, Any]) -> list[Message]:
    """Earlier turns of an alpaca row: [[question, reply], …]."""
    turns = []
    for pair in value.get("history") or ():
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(text, str) for text in pair)):
            raise Refused("history is not pairs of text")
        turns += [said("user", pair[0]), said("assistant", pair[1])]
    return turns


def _spoken(value: Any, role: str, place: str) -> list[Message]:
    """A text, one message or a list of messages; a text is what `role` says, or a conversation in Anthropic's way."""
    if isinstance(value, str):
        return _script(value) if _is_script(value) else [said(role, value)]
    if isinstance(value, dict):
        return [turn_of(value, place)]
    if isinstance(value, list):
        return turns_of(value, place)
    return [said(role, content_of(value))]


def _is_script(text: Any) -> bool:
    return isinstance(text, str) and _SPEAKER.match(text.strip()) is not None


def _script(text: str) -> list[Message]:
    _, *parts = _SPEAKER.split(text.strip())
    turns = [
        said("user" if speaker == "Human" else "assistant", content.strip())
        for speaker, content in zip(parts[::2], parts[1::2])
    ]
    # "…\n\nAssistant:" ends a prompt: the reply is yet to come.
    return turns[:-1] if turns[-1] == said("assistant", "") else turns


def _shared_text(chosen: str, rejected: str) -> tuple[list[Message], tuple[str, str]]:
    """The beginning that two texts share is the prompt, as in TRL; a blank between them goes to the replies."""
    end = _num_shared(chosen, rejected)
    end -= end > 0 and chosen[end - 1] == " "
    if not chosen[:end].strip():
        raise Refused("no prompt")
    return [said("user", chosen[:end])], (chosen[end:], rejected[end:])


def _without_prompt(
    prompt: list[Message], chosen: list[Message], rejected: list[Message]
) -> tuple[list[Message], list[Message], list[Message]]:
    """Replies that begin with the question again, without it: the beginning that both share is the prompt then."""
    if all(reply and reply[0]["role"] == "assistant" for reply in (chosen, rejected)):
        return prompt, chosen, rejected
    end = _num_shared(chosen, rejected)
    return chosen[:end], chosen[end:], rejected[end:]


def _num_shared(one: Sequence[Any], other: Sequence[Any]) -> int:
    """How long a beginning both share; something is left of each."""
    most = min(len(one), len(other)) - 1
    return next((place for place in range(most) if one[place] != other[place]), max(most, 0))
