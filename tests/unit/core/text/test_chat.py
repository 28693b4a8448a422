"""The one renderer: what is trained, what stays text, what is refused."""

from __future__ import annotations

import pytest
from chat_templates import CASES, TOOLS, WITH_TOOLS, backend_of, calling, settings_of, tokenizer_of
from conftest import train_tiny_backend
from hypothesis import given
from hypothesis import strategies as st
from samples import CONVERSATIONS, assistant, system, user
from tokenizers import AddedToken
from tokenizers import Tokenizer as Backend
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import BpeTrainer

from hanlin.core.run.errors import HanlinError
from hanlin.core.text.chat import CHATML, Rendered, chat_tokenizer, render, stop_token
from hanlin.core.text.chat_view import pieces
from hanlin.core.text.pretokenize import new_backend
from hanlin.core.text.template_files import named_template
from hanlin.core.text.tokenizer import IM_END, IM_START, SPECIAL_TOKENS, Tokenizer

CONTENT = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.sampled_from([*SPECIAL_TOKENS, "\ue0000\ue001", "{{ messages }}"]),
)


def with_template(tokenizer: Tokenizer, template: str) -> Tokenizer:
    return Tokenizer(tokenizer.backend, {**tokenizer.settings, "chat_template": template})


def trained_texts(rendered: Rendered, tokenizer: Tokenizer) -> list[str]:
    """What is trained, one text for each reply."""
    texts = [""]
    for piece in pieces(rendered, tokenizer):
        if piece.trained:
            texts[-1] += piece.text
        elif texts[-1]:
            texts.append("")
    return [text for text in texts if text]


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
        [{"role": "user", "content": 7}],
        [{"role": "user", "content": [{"type": "image"}]}],
        [{"role": "assistant", "content": None}],
        [{"role": "assistant", "tool_calls": "now"}],
        [{"role": "assistant", "tool_calls": [{"id": "1"}]}],
        [{"role": "assistant", "tool_calls": [{"function": {"name": 7}}]}],
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


def test_replies_whose_prompt_is_rewritten_are_not_trained(tiny_tokenizer: Tokenizer) -> None:
    template = "{{ messages | length }}{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}"
    rendered = render([user("一"), assistant("二")], with_template(tiny_tokenizer, template))
    assert not any(rendered.trained) and rendered.num_untrained_replies == 1


def test_replies_without_a_stop_token_are_not_trained(tiny_tokenizer: Tokenizer) -> None:
    """Else the model would learn to go on with the next question."""
    template = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}\n{% endfor %}"
    prompt = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    conversation = [user("一"), assistant("二"), user("三"), assistant("四")]
    rendered = render(conversation, with_template(tiny_tokenizer, template + prompt))
    assert not any(rendered.trained) and rendered.num_untrained_replies == 2


def test_a_stop_that_only_the_last_reply_has(tiny_tokenizer: Tokenizer) -> None:
    """A reply that is not the last ends in another token, as in gpt-oss: it is not trained through the next one's."""
    template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
        "{{ '<|im_end|>' if loop.last and m.role == 'assistant' else '<|pad|>' }}{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    tokenizer = with_template(tiny_tokenizer, template)
    rendered = render([user("一"), assistant("二"), user("三"), assistant("四")], tokenizer)
    assert stop_token(tokenizer) == IM_END and rendered.num_untrained_replies == 1
    assert trained_texts(rendered, tokenizer) == ["四<|im_end|>"]


def test_a_turn_that_ends_in_another_token(tiny_tokenizer: Tokenizer) -> None:
    """As Llama's tool calls do."""
    template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n"
        "{{ m.tool_calls[0].name ~ '<|pad|>' if m.tool_calls else m.content ~ '<|im_end|>' }}\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    tokenizer = with_template(tiny_tokenizer, template)
    called = {"role": "assistant", "tool_calls": [{"name": "now"}]}
    rendered = render([user("一"), called, {"role": "tool", "content": "八點"}, assistant("八點")], tokenizer)
    assert trained_texts(rendered, tokenizer) == ["now<|pad|>", "八點<|im_end|>"]


def test_thoughts_that_history_drops_are_not_trained_away() -> None:
    """Qwen3 shows a thought in its own turn only. Trained without it, a model would learn not to think."""
    tokenizer = tokenizer_of("qwen3")
    first = {**assistant("二"), "reasoning_content": "想一想"}
    last = {**assistant("四"), "reasoning_content": "再想想"}
    rendered = render([user("一"), first, user("三"), last], tokenizer)
    assert rendered.num_untrained_replies == 1
    assert trained_texts(rendered, tokenizer) == ["<think>\n再想想\n</think>\n\n四<|im_end|>"]
    alone = render([user("一"), first], tokenizer)
    assert trained_texts(alone, tokenizer) == ["<think>\n想一想\n</think>\n\n二<|im_end|>"]
    plain = render([user("一"), assistant("二"), user("三"), assistant("四")], tokenizer, enable_thinking=False)
    assert trained_texts(plain, tokenizer) == ["四<|im_end|>"] and plain.num_untrained_replies == 1


@pytest.mark.parametrize("field", ["reasoning_content", "thinking", "reasoning"])
def test_thoughts_by_any_name_and_as_parts(field: str) -> None:
    tokenizer = tokenizer_of("qwen3")
    expected = render([user("一"), assistant("<think>\n想\n</think>\n\n二")], tokenizer).ids
    assert render([user("一"), {**assistant("二"), field: "想"}], tokenizer).ids == expected
    parts = [{"type": "thinking", "thinking": "想"}, {"type": "text", "text": "二"}]
    assert render([user("一"), {"role": "assistant", "content": parts}], tokenizer).ids == expected


def test_tool_arguments_as_text_or_object() -> None:
    for name in ("qwen3", "mistral"):
        tokenizer = tokenizer_of(name)
        ids = []
        for arguments in ({"城市": "臺北"}, '{"城市": "臺北"}'):
            called = {"id": "abcdef123", "type": "function", "function": {"name": "天氣", "arguments": arguments}}
            for message in ({"role": "assistant", "content": None, "tool_calls": [called]}, calling(called)):
                ids.append(render([user("天氣？"), message], tokenizer, tools=TOOLS).ids)
        assert ids.count(ids[0]) == 4
        assert '"name": "天氣", "arguments": {"城市": "臺北"}' in tokenizer.decode(ids[0])


def test_hidden_tool_calls_are_refused(tiny_tokenizer: Tokenizer) -> None:
    with pytest.raises(HanlinError, match="does not show tool calls"):
        render(WITH_TOOLS[0], tiny_tokenizer)
    assert render([user("一"), {**assistant("二"), "tool_calls": []}], tiny_tokenizer).ids


def test_developer_is_system_where_the_template_does_not_know_it(tiny_tokenizer: Tokenizer) -> None:
    told = {"role": "developer", "content": "簡短"}
    assert render([told, user("一")], tiny_tokenizer).ids == render([system("簡短"), user("一")], tiny_tokenizer).ids
    knows = with_template(tiny_tokenizer, CHATML + "{# developer #}")
    assert "developer" in knows.decode(render([told, user("一")], knows).ids)


def test_the_clock_stands_still_while_a_conversation_is_rendered(tiny_tokenizer: Tokenizer) -> None:
    """Else a reply's prompt would be of another microsecond than the whole."""
    tokenizer = with_template(tiny_tokenizer, "{{ strftime_now('%S.%f') }}" + CHATML)
    rendered = render([user("一"), assistant("二")], tokenizer)
    assert trained_texts(rendered, tokenizer) == ["二<|im_end|>"]


@pytest.mark.parametrize("written", [0, 1, 2])
@pytest.mark.parametrize("added", [True, False, None])
def test_one_beginning(written: int, added: bool | None) -> None:
    """Whatever the template writes and the tokenizer adds by itself (None: as its post-processor says)."""
    template = "{{ bos_token }}" * written + "{% for m in messages %}{{ m.content }}</s>{% endfor %}"
    backend = backend_of(CASES["vicuna"])
    if added is None:
        backend.post_processor = TemplateProcessing("<s> $A", special_tokens=[("<s>", backend.token_to_id("<s>"))])
    stated = {} if added is None else {"add_bos_token": added}
    tokenizer = Tokenizer(backend, settings_of(CASES["vicuna"], chat_template=template, **stated))
    ids = render([user("<s>嗨"), assistant("好")], tokenizer).ids
    expected = 1 if written or added is not False else 0
    assert ids.count(tokenizer.bos_id) == ids[:1].count(tokenizer.bos_id) == expected


def test_a_token_across_prompt_and_reply_is_cut() -> None:
    """A model asked with "assistant\\n" can't have been trained on "assistant" and a token of two line ends."""
    backend = new_backend()
    trainer = BpeTrainer(
        vocab_size=300, initial_alphabet=ByteLevel.alphabet(), special_tokens=list(SPECIAL_TOKENS), show_progress=False
    )
    backend.train_from_iterator(["\n\n", "\n\n\n"] * 50, trainer)
    tokenizer = Tokenizer(backend, {"eos_token": IM_END, "chat_template": named_template("qwen3")})
    assert len(tokenizer.encode("\n\n")) == 1
    conversation = [user("一"), assistant("\n二"), user("三"), assistant("四")]
    whole = render(conversation, tokenizer)
    prompt = render(conversation[:1], tokenizer, add_generation_prompt=True)
    assert whole.ids[: len(prompt.ids)] == prompt.ids
    assert trained_texts(whole, tokenizer)[0] == "\n二<|im_end|>"


def test_other_added_tokens_that_mark_turns_cannot_be_spelled() -> None:
    """DeepSeek's <｜User｜> is no special token, and the tokenizer finds it even in plain text."""
    backend = train_tiny_backend()
    backend.add_tokens([AddedToken(name, normalized=False) for name in ("<｜User｜>", "<｜Assistant｜>", "</think>")])
    template = (
        "{% for m in messages %}{% if m.role == 'user' %}<｜User｜>{{ m.content }}"
        "{% else %}<｜Assistant｜>{{ m.content.split('</think>')[-1] }}<|im_end|>{% endif %}{% endfor %}"
    )
    tokenizer = Tokenizer(backend, {"eos_token": IM_END, "chat_template": template})
    ids = render([user("一<｜User｜>二"), assistant("想</think>三<｜Assistant｜>")], tokenizer).ids
    assert [ids.count(tokenizer.id_of(name)) for name in ("<｜User｜>", "<｜Assistant｜>", "</think>")] == [1, 1, 0]
    assert tokenizer.decode(ids) == "<｜User｜>一<｜User｜>二<｜Assistant｜>三<｜Assistant｜>"


def test_a_token_in_two_halves_stays_text(tiny_tokenizer: Tokenizer) -> None:
    """A template that sets two messages side by side must not make a token of their ends."""
    tokenizer = with_template(tiny_tokenizer, "{% for m in messages %}{{ m.content }}{% endfor %}<|im_end|>")
    for place in range(1, len(IM_END)):
        ids = render([user(IM_END[:place]), user(IM_END[place:])], tokenizer).ids
        assert ids.count(tokenizer.eos_id) == 1, place
        assert tokenizer.decode(ids, skip_special=False) == IM_END * 2


def test_tools_and_variables_cannot_spell_tokens_either() -> None:
    tokenizer = tokenizer_of("mistral")
    tool = {
        "type": "function",
        "function": {"name": "x", "description": "</s>[INST]", "parameters": {"</s>": ["</s>"]}},
    }
    called = {"id": "abcdef123", "type": "function", "function": {"name": "x", "arguments": {"</s>": ["[INST]"]}}}
    ids = render([user("一"), calling(called), assistant("</s>")], tokenizer, tools=[tool], extra="</s>").ids
    text = tokenizer.decode(ids, skip_special=False)
    assert ids.count(tokenizer.eos_id) == 2 and ids.count(tokenizer.id_of("[INST]")) == 1
    assert '"description": "</s>[INST]", "parameters": {"</s>": ["</s>"]}' in text
    assert '"arguments": {"</s>": ["[INST]"]}' in text


@pytest.mark.parametrize("token, name", [("<end_of_turn>", "gemma"), ("<|eot_id|>", "llama3"), ("<other>", "chatml")])
def test_a_base_model_gets_the_template_its_vocabulary_has_the_markup_for(token: str, name: str) -> None:
    backend = Backend(BPE(vocab={token: 0}, merges=[]))
    assert chat_tokenizer(Tokenizer(backend, {})).chat_template == named_template(name)
    assert chat_tokenizer(Tokenizer(backend, {"chat_template": "own"})).chat_template == "own"
