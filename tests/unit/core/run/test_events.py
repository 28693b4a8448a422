"""The log survives a kill in the middle of a line."""

from __future__ import annotations

import pytest

from hanlin.core.run.events import EventLog, read_events


def test_events_reach_the_file_and_the_listeners(tmp_path):
    heard = []
    log = EventLog(tmp_path / "events.jsonl", (heard.append,))
    log("step", step=1, text="損失")
    log("note", text="x")
    log.close()
    assert list(read_events(tmp_path / "events.jsonl")) == heard
    assert [event["step"] for event in read_events(tmp_path / "events.jsonl", "step")] == [1]
    assert list(read_events(tmp_path / "missing.jsonl")) == []


@pytest.mark.parametrize("torn", [b'{"event": "st', "損".encode()[:2], b'{"event": "step"}'])
def test_a_torn_last_line_is_ignored_and_then_cut(tmp_path, torn):
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"event": "step", "step": 1}\n' + torn)
    assert [event["step"] for event in read_events(path)] == [1]
    log = EventLog(path)
    log("step", step=2)
    log.close()
    assert [event["step"] for event in read_events(path)] == [1, 2]


def test_a_log_of_nothing_but_a_torn_line(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"ev')
    EventLog(path).close()
    assert path.read_bytes() == b""


def test_without_a_file_only_listeners_hear():
    heard = []
    EventLog(None, (heard.append,))("note", text="x")
    assert heard[0]["event"] == "note"
