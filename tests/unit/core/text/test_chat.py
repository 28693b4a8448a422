"""The one renderer: what is trained, what stays text, what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import CONVERSATIONS, assistant, user

from hanlin.core.run.errors import HanlinError
from hanlin.core.text.chat import render
from hanlin.core.text.tokenizer import IM_END, IM_START, SPECIAL_TOKENS, Tokenizer

CONTENT = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.sampled_from([*SPECIAL_TOKENS, "\ue0000\ue001", "{{ messages }}"]),
)


def with_template(tokenizer: Tokenizer, template: str) -> Tokenizer:
    return Tokenizer(tokenizer.backend, {**tokenizer.settings, "chat_template": template})


@pytest.mark.parametrize("conversation", CONVERSATIONS)
def test_exactly_the_replies_and_their_stop_tokens_are_trained(
    tiny_tokenizer: Tokenizer, conversation: list[dict[str, str]]
) -> None:
    rendered = render(conversation, tiny_tokenizer)
    spans, span = [], []
    for token, trained in zip([*rendered.ids, -1], [*rendered.trained, False]):
        if trained:
            span.append(token)
        elif span:
            spans.append(span)
            span = []
    replies = [message["content"].strip() for message in conversation if message["role"] == "assistant"]
    assert [tiny_tokenizer.decode(span, skip_special=False) for span in spans] == [reply + IM_END for reply in replies]
    assert all(span[-1] == tiny_tokenizer.eos_id for span in spans)


@given(st.lists(st.tuples(CONTENT, CONTENT), min_size=1, max_size=3))
def test_no_content_can_open_or_end_a_turn(tiny_tokenizer: Tokenizer, turns: list[tuple[str, str]]) -> None:
    """As many starts and stops as messages, whatever the messages spell, and their text comes back unchanged."""
    messages = [message for asked, said in turns for message in (user(asked), assistant(said))]
    ids = render(messages, tiny_tokenizer).ids
    assert ids.count(tiny_tokenizer.id_of(IM_START)) == ids.count(tiny_tokenizer.id_of(IM_END)) == len(messages)
    text = "".join(f"{IM_START}{m['role']}\n{m['content'].strip()}{IM_END}\n" for m in messages)
    assert tiny_tokenizer.decode(ids, skip_special=False) == text


def test_prompt_is_the_start_of_the_trained_conversation(tiny_tokenizer: Tokenizer) -> None:
    """What is served (a prompt that waits for a reply) is what was trained, token for token."""
    for conversation in (c for c in CONVERSATIONS if c[-1]["role"] == "assistant"):
        whole = render(conversation, tiny_tokenizer)
        prompt = render(conversation[:-1], tiny_tokenizer, add_generation_prompt=True)
        assert whole.ids[: len(prompt.ids)] == prompt.ids
        assert whole.trained[: len(prompt.ids)] == prompt.trained
        assert not prompt.trained[-1]
        assert whole.trained[len(prompt.ids)]


def test_no_second_beginning(tiny_tokenizer: Tokenizer) -> None:
    ids = render([user("你好")], tiny_tokenizer, add_generation_prompt=True).ids
    assert tiny_tokenizer.document_id not in ids
    assert ids[0] == tiny_tokenizer.id_of(IM_START)


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [{"role": "user"}],
        [{"content": "嗨"}],
        [{"role": "robot", "content": "嗨"}],
        [{"role": "user", "content": None}],
    ],
)
def test_bad_conversations_are_refused(tiny_tokenizer: Tokenizer, messages: list[dict]) -> None:
    with pytest.raises(HanlinError, match=r"is empty|is not a message"):
        render(messages, tiny_tokenizer)


@pytest.mark.parametrize(
    "template", ["{% for %}", "{{ messages[9].content }}", "{{ messages.foo() }}", "{{ ''.__class__.__mro__ }}"]
)
def test_broken_and_prying_templates_are_refused(tiny_tokenizer: Tokenizer, template: str) -> None:
    with pytest.raises(HanlinError, match="chat template"):
        render([user("嗨")], with_template(tiny_tokenizer, template))


def test_a_template_that_rewrites_history_is_refused(tiny_tokenizer: Tokenizer) -> None:
    template = "{{ messages | length }}{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}"
    with pytest.raises(HanlinError, match="changes earlier turns"):
        render([user("一"), assistant("二")], with_template(tiny_tokenizer, template))
