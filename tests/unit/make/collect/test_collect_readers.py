"""The readers: plain text, JSON Lines, the Constitutional Court's files."""

from __future__ import annotations

import json

import pytest
from court_files import write_court
from samples import assistant, system, user

from hanlin.core.run.errors import HanlinError
from hanlin.make.collect.config import Collect
from hanlin.make.collect.reading import court, jsonl, plain
from hanlin.make.collect.reading.reader import Reading


def reading(**options):
    return Reading(Collect(**options))


def read_lines(tmp_path, *lines, name="rows.jsonl"):
    path = tmp_path / name
    path.write_text(
        "\n".join(line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in lines),
        encoding="utf-8",
    )
    return list(jsonl.read(path, name, reading()))


def test_a_long_file_becomes_passages(tmp_path):
    (tmp_path / "long.md").write_text("\r\n\r\n".join(["段落" * 100] * 10), encoding="utf-8", newline="")
    rows = list(plain.read(tmp_path / "long.md", "long.md", reading(passage_chars=500)))
    assert [row.id for row in rows][:2] == ["long.md#1", "long.md#2"]
    assert all(row.text.strip().count("\n\n") == 1 for row in rows)


def test_the_four_layouts(tmp_path):
    rows = read_lines(
        tmp_path,
        {"text": "一份文件", "year": "2001", "type": "news", "group": 7},
        {"messages": [system("簡短"), user("問"), {"role": "assistant", "content": [{"type": "text", "text": "答"}]}]},
        {"conversations": [{"from": "human", "value": "問"}, {"from": "gpt", "value": "答"}], "system": "簡短"},
        {"instruction": "翻譯", "input": "软件", "output": "軟體", "history": [["嗨", "您好"]]},
        "",
        {"instruction": "問", "input": "", "output": "答"},
    )
    assert (rows[0].text, rows[0].year, rows[0].type, rows[0].group) == ("一份文件", 2001, "news", "7")
    assert rows[1].messages == rows[2].messages == (system("簡短"), user("問"), assistant("答"))
    assert rows[3].messages == (user("嗨"), assistant("您好"), user("翻譯\n\n软件"), assistant("軟體"))
    assert rows[4].messages == (user("問"), assistant("答"))
    assert [row.id for row in rows] == [f"rows.jsonl:{line}" for line in (1, 2, 3, 4, 6)]


def test_tools_and_thoughts_come_along(tmp_path):
    call = {"id": "1", "type": "function", "function": {"name": "天氣", "arguments": '{"地點": "臺北"}'}}
    tool = {"type": "function", "function": {"name": "天氣"}}
    asked = {"role": "assistant", "content": None, "reasoning_content": "查一下", "tool_calls": [call], "refusal": None}
    answered = {"role": "tool", "content": "晴", "tool_call_id": "1", "name": "天氣"}
    rows = read_lines(
        tmp_path,
        {"messages": [user("天氣？"), asked, answered, assistant("晴天")], "tools": [tool]},
        {"messages": [{"role": "developer", "content": "簡短"}, user("問")], "tools": json.dumps([tool])},
    )
    asked = {"role": "assistant", "content": "", "reasoning_content": "查一下", "tool_calls": [call]}
    assert rows[0].messages == (user("天氣？"), asked, answered, assistant("晴天"))
    assert rows[1].messages == (system("簡短"), user("問"))
    assert rows[0].tools == rows[1].tools == (tool,)


@pytest.mark.parametrize("broken", ['{"text": "沒有結尾', "不是 JSON", '{"text": 1', "[" * 100_000])
def test_a_broken_line_names_file_and_line(tmp_path, broken):
    with pytest.raises(HanlinError, match=r"rows\.jsonl, line 3: broken JSON"):
        read_lines(tmp_path, {"text": "好"}, "", broken)


def test_a_line_in_another_encoding_names_file_and_line(tmp_path):
    (tmp_path / "rows.jsonl").write_bytes(b'{"text": "ok"}\n{"text": "' + "臺灣".encode("cp950") + b'"}\n')
    with pytest.raises(HanlinError, match=r"rows\.jsonl, line 2: byte 10 .* is not utf-8"):
        list(jsonl.read(tmp_path / "rows.jsonl", "rows.jsonl", reading()))


def test_an_unknown_layout_names_line_keys_and_known_layouts(tmp_path):
    with pytest.raises(HanlinError, match=r"line 2: unknown layout, it has the keys 'prompt', 'answer'") as caught:
        read_lines(tmp_path, {"text": "好"}, {"prompt": "問", "answer": "答"})
    assert all(name in caught.value.expected for name in ("text", "messages", "sharegpt", "alpaca"))
    with pytest.raises(HanlinError, match="it has a int"):
        read_lines(tmp_path, "3")


def test_a_malformed_message_names_the_line(tmp_path):
    with pytest.raises(HanlinError, match="line 1: a message is"):
        read_lines(tmp_path, {"messages": [{"role": "user"}]})


@pytest.mark.parametrize(
    "value, reason",
    [
        ({"messages": [{"role": "critic", "content": "x"}]}, "unsupported role: critic"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "1"}]}]}, "tool_calls without names"),
        ({"messages": [{"role": "assistant", "tool_calls": 7}]}, "tool_calls without names"),
        ({"messages": [{"role": "user", "content": "x"}], "tools": "no JSON [["}, "tools are not JSON"),
        ({"messages": [{"role": "user", "content": "x"}], "tools": [1]}, "tools are not a list of objects"),
        ({"messages": [{"role": "user", "content": None}]}, "content is not text"),
        ({"messages": []}, "no messages"),
    ],
)
def test_conversations_that_cannot_be_used_keep_their_reason(tmp_path, value, reason):
    [row] = read_lines(tmp_path, value)
    assert row.reason == reason
    assert json.loads(row.messages[0]["content"]) == value


def test_json_arrays_objects_and_lines(tmp_path):
    rows = [{"text": "一"}, {"text": "二"}]
    assert [row.text for row in read_lines(tmp_path, json.dumps(rows, indent=1), name="a.json")] == ["一", "二"]
    assert [row.text for row in read_lines(tmp_path, rows[0], name="b.json")] == ["一"]
    assert [row.text for row in read_lines(tmp_path, *rows, name="c.json")] == ["一", "二"]
    with pytest.raises(HanlinError, match=r"d\.json, line 2: broken JSON"):
        read_lines(tmp_path, rows[0], '{"text', name="d.json")
    with pytest.raises(HanlinError, match=r"e\.json, line 3: broken JSON"):
        read_lines(tmp_path, "[", '{"text": "一"},', "oops]", name="e.json")
    with pytest.raises(HanlinError, match=r"f\.json, object 1: unknown layout"):
        read_lines(tmp_path, {"key": {"text": "一"}}, name="f.json")


def test_court_documents(tmp_path):
    files = write_court(tmp_path)
    rows = {row.id: (name, row) for name, row in court.read(files, reading())}
    name, interpretation = rows["interpretation/2"]
    assert name == "old_cases.json"
    assert interpretation.text.startswith("釋字第2號【某案】\n\n爭點\n第二題？\n\n解釋文\n第二號的解釋。\n\n理由書\n")
    assert (interpretation.year, interpretation.group, interpretation.type) == (1952, "釋字第2號", "interpretation")
    assert rows["case_opinions/1"][1].reason.startswith("names a scan")
    assert rows["case_opinions/2"][1].reason == ""
    assert (rows["judgment/111_1"][1].year, rows["judgment/111_1"][1].group) == (2022, "111年憲判字第1號")
    assert rows["opinion/2#1"][1].group == "釋字第2號"
    assert rows["opinion/111_1#2"][1].group == "111年憲判字第1號"


def test_court_questions_lose_the_signatures(tmp_path):
    rows = [row for _, row in court.read(write_court(tmp_path), reading(rows="chat"))]
    assert rows[0].messages == (user("第一題？"), assistant("第一號的解釋。"))
    assert [row.reason for row in rows] == ["", "", "not a question"]


def test_court_opinions_alone_take_their_case_from_the_name(tmp_path):
    files = {"opinions.zip": write_court(tmp_path)["opinions.zip"]}
    assert court.recognises(files) == set(files)
    facts = {row.id: (row.group, row.year) for _, row in court.read(files, reading())}
    assert facts == {
        "opinion/2#1": ("釋字第2號", None),
        "opinion/111_1#1": ("111年憲判字第1號", 2022),
        "opinion/111_1#2": ("111年憲判字第1號", 2022),
    }


def test_court_files_of_another_layout_and_size(tmp_path, monkeypatch):
    files = write_court(tmp_path)
    monkeypatch.setattr(court, "MAX_UNPACKED_BYTES", 100)
    with pytest.raises(HanlinError, match="would unpack to"):
        list(court.read(files, reading()))
    files["opinions.zip"].write_bytes(b"PK not a zip")
    with pytest.raises(HanlinError, match="not a readable archive"):
        list(court.read(files, reading()))
    files["old_cases.json"].write_text('["something else"]', encoding="utf-8")
    with pytest.raises(HanlinError, match=r"old_cases\.json is not laid out as"):
        list(court.read(files, reading()))


@pytest.mark.parametrize(
    "date, year", [("中華民國 38年01月06日", 1949), ("111年02月25日", 2022), ("", None), ("不詳", None)]
)
def test_years_of_the_republic(date, year):
    assert court.year_of(date) == year
