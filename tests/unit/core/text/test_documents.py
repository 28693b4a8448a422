"""Rows and their Parquet files."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import assistant, user

from hanlin.core.run.artifact import Artifact
from hanlin.core.run.errors import HanlinError
from hanlin.core.text.documents import Row, RowWriter, corpus_kind, count_rows, read_rows, write_rows

DOCUMENT = Row("a", text="臺灣", source="file:a.txt", year=2024, type="document", group="g", script="Hant")
CONVERSATION = Row("b", messages=(user("你好"), assistant("您好")), type="conversation", group="h")

labels = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
messages = st.lists(
    st.builds(lambda role, text: {"role": role, "content": text}, st.sampled_from(["user", "assistant"]), labels),
    max_size=3,
)
rows = st.builds(
    Row,
    labels,
    labels,
    messages.map(tuple),
    labels,
    st.none() | st.integers(-3000, 3000),
    labels,
    labels,
    labels,
    labels,
)


def test_rows_come_back_as_they_were(tmp_path):
    assert write_rows(tmp_path / "train.parquet", [DOCUMENT, CONVERSATION]) == 2
    assert list(read_rows(tmp_path, "train")) == [DOCUMENT, CONVERSATION]


@settings(max_examples=50, deadline=None)
@given(st.lists(rows, max_size=5))
def test_any_row_survives_the_round_trip(tmp_path_factory, written):
    folder = tmp_path_factory.mktemp("rows")
    write_rows(folder / "rejected.parquet", written)
    assert list(read_rows(folder, "rejected")) == written


def test_tools_and_thoughts_come_back(tmp_path):
    called = {
        **assistant(""),
        "tool_calls": [{"id": "1", "function": {"name": "天氣", "arguments": {"地點": ["臺北"]}}}],
    }
    thought = {**assistant("晴"), "reasoning_content": "想"}
    row = Row(
        "c", messages=(user("天氣？"), called, {"role": "tool", "content": "晴"}, thought), tools=({"name": "x"},)
    )
    write_rows(tmp_path / "train.parquet", [CONVERSATION, row])
    assert list(read_rows(tmp_path, "train")) == [CONVERSATION, row]


def test_a_corpus_from_before_tools_still_opens(tmp_path):
    write_rows(tmp_path / "train.parquet", [DOCUMENT, CONVERSATION])
    table = pq.read_table(tmp_path / "train.parquet").drop_columns(["tools", "messages"])
    old = pa.array(
        [None, list(CONVERSATION.messages)], pa.list_(pa.struct({"role": pa.string(), "content": pa.string()}))
    )
    pq.write_table(table.append_column("messages", old), tmp_path / "train.parquet")
    assert list(read_rows(tmp_path, "train")) == [DOCUMENT, CONVERSATION]


def test_content_and_length():
    assert (DOCUMENT.kind, DOCUMENT.content, DOCUMENT.characters) == ("text", "臺灣", 2)
    assert (CONVERSATION.kind, CONVERSATION.content, CONVERSATION.characters) == ("chat", "你好\n您好", 4)


def test_many_rows_are_written_in_batches_and_counted(tmp_path):
    write_rows(tmp_path / "train.parquet", (Row(str(i), text="字" * 10) for i in range(2500)))
    assert count_rows(tmp_path, "train") == 2500
    assert [row.id for row in read_rows(tmp_path, "train")] == [str(i) for i in range(2500)]


def test_shards_are_one_split(tmp_path):
    write_rows(tmp_path / "train-00001.parquet", [CONVERSATION])
    write_rows(tmp_path / "train-00000.parquet", [DOCUMENT])
    assert [row.id for row in read_rows(tmp_path, "train")] == ["a", "b"]


def test_kind_of_a_corpus(tmp_path):
    write_rows(tmp_path / "train.parquet", [])
    write_rows(tmp_path / "heldout.parquet", [CONVERSATION])
    assert corpus_kind(Artifact(path=tmp_path, kind="corpus", id="x")) == "chat"
    write_rows(tmp_path / "heldout.parquet", [])
    with pytest.raises(HanlinError, match="holds no rows"):
        corpus_kind(tmp_path)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "train.parquet"
    write_rows(path, [DOCUMENT])
    with pytest.raises(RuntimeError), RowWriter(path) as writer:
        writer.add(CONVERSATION)
        raise RuntimeError("stop")
    assert [row.id for row in read_rows(tmp_path, "train")] == ["a"]
    assert [file.name for file in tmp_path.iterdir()] == ["train.parquet"]


def test_missing_and_damaged_files_are_named(tmp_path):
    with pytest.raises(HanlinError, match=r"has no train\.parquet"):
        list(read_rows(tmp_path, "train"))
    (tmp_path / "train.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(HanlinError, match=r"train\.parquet is not a readable corpus file"):
        list(read_rows(tmp_path, "train"))


def test_a_changed_row_is_a_row_like_any_other():
    row = Row("a.txt", text="山", source="a", notes={"near": {"size": 2}})
    changed = row.changed(text="水", reason="empty")
    assert type(changed) is Row and changed == replace(row, text="水", reason="empty")
    assert pickle.loads(pickle.dumps(changed)) == changed
    with pytest.raises(FrozenInstanceError):
        changed.text = "火"  # type: ignore[misc]
