"""Tables and JSON as people have them: any encoding and delimiter, broken rows with their line, rows of any size."""

from __future__ import annotations

import csv
import io
import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hanlin.core.run.errors import HanlinError
from hanlin.core.text.documents import Row, write_rows
from hanlin.make.collect.config import Collect
from hanlin.make.collect.reading import json_array, jsonl
from hanlin.make.collect.reading.reader import Reading

PEOPLE = '編號,內容,備註\n1,"有,逗號的""內容""",\n2,"兩行\n內容",好\n'


def read(path, **options):
    return list(Reading(Collect(**options)).file(path, path.name))


def put(path, data):
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp950"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_rows_of_any_table_are_documents(tmp_path, encoding, delimiter):
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows(csv.reader(io.StringIO(PEOPLE)))
    rows = read(put(tmp_path / "a.csv", text.getvalue().encode(encoding)))
    assert [(row.id, row.text) for row in rows] == [
        ("a.csv:2", '編號: 1\n內容: 有,逗號的"內容"'),
        ("a.csv:3", "編號: 2\n內容: 兩行\n內容\n備註: 好"),
    ]
    assert {(row.group, row.type) for row in rows} == {("a.csv", "table")}


def test_columns_of_a_data_set_make_its_rows(tmp_path):
    [row] = read(put(tmp_path / "a.csv", "instruction,input,output\n翻譯,软件,軟體\n"))
    assert [message["content"] for message in row.messages] == ["翻譯\n\n软件", "軟體"]
    [row] = read(put(tmp_path / "a.tsv", "prompt\tchosen\trejected\n問\t好的\t壞的\n"))
    assert (row.chosen[0]["content"], row.rejected[0]["content"]) == ("好的", "壞的")
    messages = json.dumps([{"role": "user", "content": "問"}, {"role": "assistant", "content": "答"}])
    cell = messages.replace('"', '""')
    [row] = read(put(tmp_path / "b.csv", f'messages\n"{cell}"\n'))
    assert [message["role"] for message in row.messages] == ["user", "assistant"]
    [row] = read(put(tmp_path / "c.csv", "text,year\n一份文件,2001\n"))
    assert (row.text, row.year) == ("一份文件", 2001)


@pytest.mark.parametrize(
    "data, what",
    [
        ("a,b\n1,2\n1,2,3\n4,5\n", r"a\.csv, line 3: 3 cells, but the table has 2 columns"),
        ("a,b\n1,2\n1\n4,5\n", r"a\.csv, line 3: 1 cells, but the table has 2 columns"),
        ('a,b\n1,2\n"1,2\n4,5\n', r"a\.csv, line 3: broken CSV"),
        ("甲,乙\n一,二\n".encode() * 20 + b"\xff\xff,1\n", r"a\.csv, line 41, byte 320 \(0xff\) is not UTF-8"),
    ],
)
def test_broken_rows_are_named_by_their_line(tmp_path, data, what):
    path = put(tmp_path / "a.csv", data)
    with pytest.raises(HanlinError, match=what):
        read(path)
    rows = read(path, bad="skip")
    assert [row.reason.startswith("unreadable: a.csv, line") for row in rows if row.reason] == [True]
    assert len(rows) > 1


def test_rows_around_an_uneven_one_are_kept(tmp_path):
    rows = read(put(tmp_path / "a.csv", "a,b\n1,2\n1,2,3\n4,5\n"), bad="skip")
    assert [bool(row.reason) for row in rows] == [False, True, False]
    rows = read(put(tmp_path / "a.csv", "甲,乙\n一,二\n".encode() * 20 + b"\xff,1\n" + "一,二\n".encode()), bad="skip")
    assert sorted(row.id for row in rows if row.reason) == ["a.csv:41"] and len(rows) == 41


def test_empty_tables(tmp_path):
    for data in ("", "\n\n", "\ufeff"):
        [row] = read(put(tmp_path / "a.csv", data))
        assert row.reason == "unreadable: an empty table"
    assert read(put(tmp_path / "a.csv", "text\n")) == []


def test_parquet(tmp_path):
    turns = [[{"role": "user", "content": "問"}, {"role": "assistant", "content": "答"}]]
    pq.write_table(pa.table({"messages": turns * 600, "source": ["x"] * 600}), tmp_path / "a.parquet")
    rows = read(tmp_path / "a.parquet")
    assert len(rows) == 600 and rows[-1].id == "a.parquet:600" and len(rows[-1].messages) == 2
    pq.write_table(pa.table({"題": ["甲"], "n": [3], "picture": [b"x"], "list": [["a"]]}), tmp_path / "b.parquet")
    assert [row.text for row in read(tmp_path / "b.parquet")] == ['題: 甲\nn: 3\nlist: ["a"]']
    corpus = [Row(id="1", text="自家的文件", source="x", year=1949, language="zh-TW")]
    write_rows(tmp_path / "c.parquet", corpus)
    assert read(tmp_path / "c.parquet") == corpus
    whole = (tmp_path / "a.parquet").read_bytes()
    for data in (b"", b"PAR1 no parquet", whole[:500], whole[:-8]):
        [row] = read(put(tmp_path / "d.parquet", data))
        assert row.reason.startswith("unreadable: ")


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.parquet", "a.json", "a.jsonl"])
def test_damaged_files_never_raise_another_error(tmp_path, name):
    path, chance = tmp_path / name, random.Random(0)
    if name.endswith("parquet"):
        pq.write_table(pa.table({"text": ["文件"] * 50, "n": [1] * 50}), path)
    else:
        rows = [{"text": "文件", "year": 2000}, {"instruction": "問", "output": "答\n\"'"}]
        path.write_text(
            PEOPLE * 3
            if name.endswith("sv")
            else json.dumps(rows)
            if name == "a.json"
            else "\n".join(map(json.dumps, rows)),
            encoding="utf-8",
        )
    whole = path.read_bytes()
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(chance.choice((1, 5))):
            data[chance.randrange(len(data))] = chance.choice((0, 34, 44, 255, chance.randrange(256)))
        path.write_bytes(data[: chance.choice((len(data), chance.randrange(len(data))))])
        for row in read(path, bad="skip"):
            assert row.id.startswith(name)


# JSON


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(
        st.fixed_dictionaries({"text": st.text()}, optional={"n": st.integers(), "f": st.floats(allow_nan=False)})
    ),
    indent=st.sampled_from([None, 1]),
    block=st.integers(1, 40),
)
def test_a_window_of_any_size_reads_the_same_array(tmp_path_factory, rows, indent, block):
    path = tmp_path_factory.mktemp("json") / "a.json"
    path.write_text(json.dumps(rows, indent=indent, ensure_ascii=False), encoding="utf-8", errors="surrogatepass")
    kept = json_array._BLOCK_BYTES
    json_array._BLOCK_BYTES = block
    try:
        found = list(json_array.values(path))
    finally:
        json_array._BLOCK_BYTES = kept
    assert [value for _, value in found] == rows
    if indent and rows:
        assert found[0][0] == 2


def test_one_line_that_is_too_long_is_named_and_the_others_read(tmp_path, monkeypatch):
    for module in (json_array, jsonl):
        monkeypatch.setattr(module, "MAX_VALUE_BYTES", 1000)
    monkeypatch.setattr(json_array, "_BLOCK_BYTES", 100)
    row, long = '{"text": "好"}', json.dumps({"text": "長" * 5000}, ensure_ascii=False)
    rows = read(put(tmp_path / "a.jsonl", f"{row}\n{long}\n{row}\n"), bad="skip")
    assert [bool(row.reason) for row in rows] == [False, True, False]
    with pytest.raises(HanlinError, match=r"a\.jsonl, line 2: one row of over 0 MiB"):
        read(tmp_path / "a.jsonl")
    rows = read(put(tmp_path / "a.json", f"[{row},\n{long},\n{row}]"), bad="skip")
    assert [bool(row.reason) for row in rows] == [False, True]
    with pytest.raises(HanlinError, match=r"a\.json, line 2: one row"):
        read(tmp_path / "a.json")
    with pytest.raises(HanlinError, match=r"b\.json, line 1: one row"):
        read(put(tmp_path / "b.json", '"' + "x" * 5000))


@pytest.mark.parametrize(
    "data, what",
    [
        ('[{"text": "一"},\n{"text": "二"}\n', "line 3: broken JSON .expected , or . but found ''"),
        ('[{"text": "一"}]\n[]', "line 2: broken JSON .more after the end"),
        ('[{"text": "一"},\n\n{"text": "\x00"}]', "line 3: broken JSON .Invalid control character"),
        (b'[{"text": "\xe4\xb8\x80"},\n{"text": "\xa4\xa4"}]', "line 2: byte 28 .0xa4. is not utf-8"),
        ('[{"text": "一"}, ' + "[" * 100_000, "line 1: broken JSON .*recursion"),
        ("[1e5, " + "9" * 5000 + "]", "line 1: broken JSON"),
        ("[", "broken JSON"),
        ("", "broken JSON"),
    ],
)
def test_broken_json_is_named_by_its_line(tmp_path, data, what):
    with pytest.raises(HanlinError, match=what):
        list(json_array.values(put(tmp_path / "a.json", data)))


def test_half_a_surrogate_pair_is_no_obstacle(tmp_path):
    [row] = read(put(tmp_path / "a.jsonl", '{"text": "\\ud83d 好 \\u0000", "type": "\\udead"}'))
    assert row.text == "\ud83d 好 \x00"
