"""Instruction and preference rows as data sets write them; what is said of rows in none of the layouts."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import assistant, system, user

from hanlin.core.run.errors import HanlinError
from hanlin.core.text.documents import Row
from hanlin.make.collect.reading.layouts import row_from

Q, GOOD, BAD = "台灣最高的山？", "玉山。", "富士山。"


def row(value) -> Row:
    return row_from(value, "1", "rows.jsonl, line 7")


def three(value):
    read = row(value)
    assert not read.reason and read.kind == "preference" and read.type == "preference", read
    return read.messages, read.chosen, read.rejected


PAIR = ((user(Q),), (assistant(GOOD),), (assistant(BAD),))
HUMAN, BETTER, WORSE = ({"from": who, "value": text} for who, text in (("human", Q), ("gpt", GOOD), ("gpt", BAD)))
SCRIPT = f"\n\nHuman: {Q}\n\nAssistant: "


@pytest.mark.parametrize(
    "value",
    [
        {"prompt": Q, "chosen": GOOD, "rejected": BAD},
        {"question": Q, "chosen": GOOD, "rejected": BAD},
        {"prompt": [user(Q)], "chosen": [assistant(GOOD)], "rejected": [assistant(BAD)]},
        {"prompt": Q, "chosen": [assistant(GOOD)], "rejected": [assistant(BAD)]},
        {"chosen": [user(Q), assistant(GOOD)], "rejected": [user(Q), assistant(BAD)]},
        {"prompt": Q, "chosen": [user(Q), assistant(GOOD)], "rejected": [user(Q), assistant(BAD)]},
        {"prompt": [user(Q)], "chosen": [user(Q), assistant(GOOD)], "rejected": [user(Q), assistant(BAD)]},
        {"conversations": [HUMAN], "chosen": BETTER, "rejected": WORSE},
        {"messages": [user(Q)], "chosen": assistant(GOOD), "rejected": assistant(BAD)},
        {"instruction": Q, "input": "", "chosen": GOOD, "rejected": BAD},
        {"chosen": SCRIPT + GOOD, "rejected": SCRIPT + BAD},
        {"prompt": SCRIPT, "chosen": GOOD, "rejected": BAD},
        {"prompt": Q, "chosen": json.dumps([assistant(GOOD)]), "rejected": json.dumps([assistant(BAD)])},
        {
            "input": {"messages": [user(Q)]},
            "preferred_output": [assistant(GOOD)],
            "non_preferred_output": [assistant(BAD)],
        },
    ],
)
def test_preference_layouts(value):
    assert three(value) == PAIR
    nulls = {"text": None, "label": None, "messages": value.get("messages"), "output": None}
    assert three(nulls | value) == PAIR


def test_a_preference_with_system_tools_and_earlier_turns():
    tool = {"type": "function", "function": {"name": "查山"}}
    value = {"instruction": "翻譯", "input": "软件", "history": [["嗨", "您好"]], "chosen": "軟體", "rejected": "軟件"}
    read = row({**value, "system": "簡短", "tools": json.dumps([tool])})
    assert read.messages == (system("簡短"), user("嗨"), assistant("您好"), user("翻譯\n\n软件"))
    assert read.tools == (tool,)
    long = [system("簡短"), user("嗨"), assistant("您好"), user(Q)]
    assert three({"chosen": [*long, assistant(GOOD)], "rejected": [*long, assistant(BAD)]})[0] == tuple(long)


@pytest.mark.parametrize(
    "value",
    [
        {"prompt": Q, "completion": GOOD, "label": True},
        {"prompt": Q, "completion": GOOD, "label": "True"},
        {"prompt": Q, "completion": GOOD, "label": 1},
        {"prompt": [user(Q)], "completion": [assistant(GOOD)], "label": True},
        {"messages": [user(Q), assistant(GOOD)], "label": True},
        {"conversations": [HUMAN, BETTER], "kto_tag": "true"},
        {"instruction": Q, "output": GOOD, "kto_tag": True},
    ],
)
def test_judged_replies(value):
    assert three(value) == ((user(Q),), (assistant(GOOD),), ())
    disliked = {key: (False if key in ("label", "kto_tag") else part) for key, part in value.items()}
    assert three(disliked) == ((user(Q),), (), (assistant(GOOD),))


def test_a_label_of_another_meaning_judges_nothing():
    assert row({"messages": [user(Q), assistant(GOOD)], "label": 3}).kind == "chat"
    assert row({"messages": [user(Q), assistant(GOOD)], "label": "1"}).kind == "chat"
    assert row({"text": "新聞", "label": True}).kind == "text"


def test_prompt_and_completion():
    for value in (
        {"prompt": Q, "completion": GOOD},
        {"prompt": [user(Q)], "completion": [assistant(GOOD)], "text": None},
        {"prompt": Q, "completion": assistant(GOOD), "language": "zh-TW"},
    ):
        read = row(value)
        assert (read.messages, read.type, read.language) == (
            (user(Q), assistant(GOOD)),
            "conversation",
            value.get("language", ""),
        )


def test_either_spelling_of_a_message_and_calls_of_tools():
    call = {"name": "查山", "arguments": {"島": "臺灣"}}
    turns = [
        HUMAN,
        {"from": "function_call", "value": json.dumps(call)},
        {"from": "observation", "value": "玉山"},
        BETTER,
    ]
    asked = {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": call}]}
    answered = {"role": "tool", "content": "玉山"}
    assert row({"conversations": turns}).messages == (user(Q), asked, answered, assistant(GOOD))
    assert row({"messages": [HUMAN, BETTER]}).messages == row({"conversations": [user(Q), assistant(GOOD)]}).messages
    assert row({"messages": json.dumps([user(Q), assistant(GOOD)])}).messages == (user(Q), assistant(GOOD))
    broken = {"conversations": [{"from": "function_call", "value": "{"}]}
    assert row(broken).reason == "function_call is not JSON"


@pytest.mark.parametrize(
    "value, reason",
    [
        ({"prompt": Q, "chosen": GOOD, "rejected": GOOD}, "chosen and rejected are the same"),
        ({"chosen": GOOD, "rejected": BAD}, "no prompt"),
        ({"chosen": [user("甲"), assistant("乙")], "rejected": [user("丙")]}, "chosen and rejected do not answer"),
        ({"prompt": Q, "chosen": [user("甲")], "rejected": [assistant("乙")]}, "chosen and rejected do not answer"),
        ({"prompt": Q, "chosen": [], "rejected": GOOD}, "chosen and rejected do not answer"),
        ({"messages": [user(Q)], "label": True}, "no reply to judge"),
        ({"instruction": "a", "history": [["b"]], "chosen": "c", "rejected": "d"}, "history is not pairs of text"),
        ({"input": {}, "preferred_output": [], "non_preferred_output": [1]}, "content is not text"),
    ],
)
def test_preferences_that_cannot_be_used_keep_their_reason(value, reason):
    read = row(value)
    assert read.reason.startswith(reason)
    assert json.loads(read.messages[0]["content"]) == value


@pytest.mark.parametrize(
    "value, nearest, fix",
    [
        ({"instuction": "a", "output": "b"}, '"instruction" is missing', 'rename "instuction" to "instruction"'),
        (
            {"Prompt": "a", "Completion": "b"},
            "completion",
            'rename "Prompt" to "prompt" and "Completion" to "completion"',
        ),
        ({"instruction": "a", "response": "b"}, "nearest is alpaca", 'rename "response" to "output"'),
        ({"question": "a", "answer": "b"}, "nearest is alpaca", 'rename "question" to "instruction"'),
        ({"prompt": "a", "chosen": "b", "reject": "c"}, "nearest is preference", 'rename "reject" to "rejected"'),
        ({"prompt": "a", "chosen": "b"}, '"rejected" is missing', "add 'rejected'"),
        ({"mesages": []}, "nearest is messages", 'rename "mesages" to "messages"'),
        ({"conversation": []}, "nearest is sharegpt", 'rename "conversation" to "conversations"'),
        ({"content": "文"}, "nearest is text", 'rename "content" to "text"'),
        ({"text": 5}, '"text" is a number, not a text', "correct text"),
        ({"messages": "你好"}, '"messages" is a text, not a list of messages', "correct messages"),
        ({"prompt": None, "completion": "b"}, '"prompt" is null', "correct prompt"),
        ({"x": 1, "y": 2}, "preference", "rename the keys to one of these layouts"),
    ],
)
def test_an_unknown_layout_names_what_is_missing_and_the_fix(value, nearest, fix):
    with pytest.raises(HanlinError) as caught:
        row(value)
    error = caught.value
    assert error.what.startswith("rows.jsonl, line 7: unknown layout, it has the keys")
    assert nearest in error.expected and fix in error.do, str(error)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda parts: (
        st.lists(parts, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "from", "value", "text", "tool_calls", "name", "function"])
            | st.text(max_size=3),
            parts,
            max_size=4,
        )
    ),
    max_leaves=12,
)
KEYS = ["text", "messages", "conversations", "instruction", "input", "output", "history", "system", "tools", "prompt"]
KEYS += [
    "completion",
    "chosen",
    "rejected",
    "label",
    "kto_tag",
    "preferred_output",
    "non_preferred_output",
    "year",
    "tpye",
]


@given(st.dictionaries(st.sampled_from(KEYS), JSON, max_size=6) | JSON)
def test_whatever_the_object_it_is_a_row_or_an_error_of_ours(value):
    try:
        read = row(value)
    except HanlinError:
        return
    assert all(isinstance(message["content"], str) and message["role"] for message in read.all_messages)
    assert read.reason or read.kind == "text" or read.messages
