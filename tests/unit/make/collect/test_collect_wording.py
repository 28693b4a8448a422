"""Script and wording as steps: tags, counts, what is dropped, and what a converted row keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hanlin.core.run.errors import HanlinError
from hanlin.core.text.documents import Row
from hanlin.make.collect.config import Collect
from hanlin.make.collect.steps import script, wording
from hanlin.make.collect.steps.step import Context

CONTEXT = Context({}, Path())


def scripted(rows: list[Row], **options: Any) -> list[Row]:
    return list(script.make(script.Script.model_validate(options), CONTEXT)(rows))


def worded(rows: list[Row], **options: Any) -> list[Row]:
    return list(wording.make(wording.Wording.model_validate(options), CONTEXT)(rows))


def test_rows_are_tagged_with_their_shares() -> None:
    rows = scripted([Row("a", text="這個頭髮"), Row("b", text="这个头发"), Row("c", text="大山 hill")])
    assert [row.script for row in rows] == ["Hant", "Hans", "other"]
    assert rows[0].notes["script"] == {"only Traditional": 1.0, "only Simplified": 0.0}
    assert not any(row.reason for row in rows) and not rows[2].notes


def test_rows_of_other_scripts_are_dropped() -> None:
    rows = [Row("a", text="這個頭髮"), Row("b", text="这个头发"), Row("c", text="plain")]
    assert [row.reason for row in scripted(rows, keep=["Hant", "other"])] == ["", "script: Hans", ""]


def test_a_leak_of_simplified_is_dropped() -> None:
    rows = [Row("a", text="這個頭髮很長" * 20 + "这"), Row("b", text="這個頭髮很長")]
    assert [row.reason for row in scripted(rows, most_simplified_per_1000=5)] == [
        "simplified: 8.3 per 1,000 characters",
        "",
    ]


def test_wording_is_counted_and_nothing_changes() -> None:
    (row,) = worded([Row("a", text="這個軟件和`视频`的软件")])
    assert row == Row("a", text="這個軟件和`视频`的软件", notes={"wording": {"軟件": 2}})


def test_a_converted_row_keeps_what_it_said() -> None:
    (row, same) = worded([Row("a", text="这个软件“很好”"), Row("b", text="這個軟體")], convert=True)
    assert (row.text, row.script) == ("這個軟體“很好”", "Hant")
    assert row.notes == {"original": "这个软件“很好”", "wording": {"軟件": 1}}
    assert same == Row("b", text="這個軟體")


def test_all_messages_are_converted_and_roles_and_calls_stay() -> None:
    call = {"tool_calls": [{"type": "function", "function": {"name": "叫车", "arguments": '{"车": "出租车"}'}}]}
    row = Row(
        "p",
        messages=({"role": "user", "content": "出租车怎么叫？"}, {"role": "assistant", "content": "", **call}),
        chosen=({"role": "assistant", "content": "打电话"},),
        rejected=({"role": "assistant", "content": "不知道吗"},),
    )
    (new,) = worded([row], convert=True)
    assert [message["content"] for message in new.all_messages] == ["計程車怎麼叫？", "", "打電話", "不知道嗎"]
    assert new.messages[1]["tool_calls"] == call["tool_calls"]
    assert new.notes["original"] == ["出租车怎么叫？", "", "打电话", "不知道吗"]


def test_names_come_from_a_file(tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("软件园\n\n余则成\n", encoding="utf-8")
    (row,) = worded([Row("a", text="软件园的软件")], convert=True, keep_names=str(names))
    assert row.text == "软件园的軟體"
    with pytest.raises(HanlinError, match="keep_names"):
        worded([], keep_names=str(tmp_path / "missing.txt"))


def test_rows_with_much_mainland_wording_are_dropped() -> None:
    rows = [Row("a", text="這個軟件的視頻"), Row("b", text="這個軟體的影片")]
    assert [row.reason for row in worded(rows, most_per_1000=10)] == [
        "mainland wording: 285.7 per 1,000 characters",
        "",
    ]
    assert not any(row.reason for row in worded(rows, most_per_1000=10, convert=True))


def test_recipes_name_the_steps() -> None:
    config = Collect.model_validate(
        {"steps": ["normalise", {"script": {"keep": ["Hant"]}}, {"wording": {"convert": True}}]}
    )
    assert [step.step for step in config.steps] == ["normalise", "script", "wording"]
