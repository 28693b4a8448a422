"""One room: recognised, locked, resumed, sealed."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import Field

from hanlin.core.run import execute as module
from hanlin.core.run.artifact import Artifact, find_by_id, is_artifact, lineage, open_artifact, read_manifest
from hanlin.core.run.config import Config
from hanlin.core.run.errors import HanlinError, Interrupted
from hanlin.core.run.events import read_events
from hanlin.core.run.execute import Result, Room, execute

SOURCE = Artifact(path=Path("texts"), kind="source", id="s" * 24, address="file:texts", licence="MIT")


class Toy(Config):
    text: str = Field("hello", description="what to write")


def write(config, inputs, out, emit) -> Result:
    (out / "result.txt").write_text(config.text)
    return Result(metrics={"characters": len(config.text)}, method="plain")


@pytest.fixture
def room(monkeypatch) -> Callable[..., Room]:
    """Make a room whose work is the given function."""

    def make(work=write, name="toy", version=1) -> Room:
        for suffix, content in (("config", {name.title(): Toy}), ("run", {"run": work})):
            fake = types.ModuleType(f"toy_room_{name}.{suffix}")
            vars(fake).update(content)
            monkeypatch.setitem(sys.modules, fake.__name__, fake)
        monkeypatch.setitem(sys.modules, f"toy_room_{name}", types.ModuleType(f"toy_room_{name}"))
        return Room(name, f"toy_room_{name}", {"sources": ("source",)}, "report", "a toy", version=version)

    return make


def test_an_artifact_is_sealed(room, tmp_path):
    artifact = execute(room(), Toy(), {"sources.0": SOURCE}, tmp_path / "out")
    manifest = read_manifest(tmp_path / "out")
    assert (artifact.kind, manifest.method, manifest.metrics) == ("report", "plain", {"characters": 5})
    assert manifest.inputs == [
        {"name": "sources.0", "kind": "source", "id": SOURCE.id, "path": "file:texts", "licence": "MIT"}
    ]
    assert set(manifest.files) == {"result.txt", "config.yaml"}
    assert [event["event"] for event in read_events(tmp_path / "out" / "events.jsonl")] == ["started", "finished"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_id_is_of_options_inputs_and_version_not_of_paths(room, tmp_path):
    def made(name, config=None, source_id=SOURCE.id, version=1):
        source = Artifact(path=Path(name), kind="source", id=source_id)
        return execute(room(version=version), config or Toy(), {"sources.0": source}, tmp_path / name).id

    first = made("a")
    assert made("b") == first
    assert len({first, made("c", Toy(text="x")), made("d", source_id="other"), made("e", version=2)}) == 4


def test_finished_work_is_recognised(room, tmp_path):
    execute(room(), Toy(), {}, tmp_path / "out")

    def fail(*arguments):
        raise AssertionError("ran again")

    events = []
    execute(room(fail), Toy(), {}, tmp_path / "out", (events.append,))
    assert [event["event"] for event in events] == ["skipped"]


def test_other_options_are_refused_or_move_to_history(room, tmp_path):
    out = tmp_path / "out"
    first = execute(room(), Toy(), {}, out)
    with pytest.raises(HanlinError, match="already holds a report made with other options"):
        execute(room(), Toy(text="other"), {}, out)
    second = execute(room(), Toy(text="other"), {}, out, replace=True)
    assert (out / "result.txt").read_text() == "other" and second.id != first.id
    assert find_by_id(out, out, first.id) == tmp_path / ".history" / f"out-{first.id[:8]}"
    events = []
    assert execute(room(), Toy(), {}, out, (events.append,), replace=True).id == first.id
    assert [event["event"] for event in events] == ["skipped"] and (out / "result.txt").read_text() == "hello"


def test_a_file_of_the_user_is_not_overwritten(room, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "folder", tmp_path / "file"):
        with pytest.raises(HanlinError, match="exists and is not an artifact"):
            execute(room(), Toy(), {}, out, replace=True)


def interrupted(config, inputs, out, emit):
    seen = out / "seen.txt"
    seen.write_text((seen.read_text() if seen.exists() else "") + "x")
    if len(seen.read_text()) == 1:
        raise KeyboardInterrupt
    return Result()


def test_an_interrupted_run_resumes_in_its_folder(room, tmp_path):
    with pytest.raises(Interrupted, match="is kept in"):
        execute(room(interrupted), Toy(), {}, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(HanlinError, match=r"out\.partial is unfinished"):
        open_artifact(tmp_path / "out")
    execute(room(interrupted), Toy(), {}, tmp_path / "out")
    assert (tmp_path / "out" / "seen.txt").read_text() == "xx"
    assert [event["event"] for event in read_events(tmp_path / "out" / "events.jsonl")] == [
        "started",
        "interrupted",
        "started",
        "finished",
    ]


def test_a_partial_folder_of_other_options_is_cleared(room, tmp_path):
    with pytest.raises(Interrupted):
        execute(room(interrupted), Toy(), {}, tmp_path / "out")
    with pytest.raises(Interrupted):
        execute(room(interrupted), Toy(text="other"), {}, tmp_path / "out")
    assert (tmp_path / "out.partial" / "seen.txt").read_text() == "x"


def test_two_runs_in_one_folder_are_refused(room, tmp_path):
    def nested(config, inputs, out, emit):
        with pytest.raises(HanlinError, match="Another run is writing"):
            execute(room(name="inner"), Toy(), {}, tmp_path / "out")
        return Result()

    execute(room(nested), Toy(), {}, tmp_path / "out")


def test_a_failure_is_logged_and_leaves_no_artifact(room, tmp_path):
    def fail(config, inputs, out, emit):
        raise HanlinError("Broken.", "whole", "mend it")

    with pytest.raises(HanlinError, match="Broken"):
        execute(room(fail), Toy(), {}, tmp_path / "out")
    assert [event["event"] for event in read_events(tmp_path / "out.partial" / "events.jsonl")] == ["started", "failed"]
    assert not is_artifact(tmp_path / "out")


def test_a_full_disk_is_explained(room, tmp_path, monkeypatch):
    def full(config, inputs, out, emit):
        raise OSError(28, "No space left on device", str(out / "x"))

    with pytest.raises(HanlinError, match="No disk space left while running toy"):
        execute(room(full), Toy(), {}, tmp_path / "out")
    monkeypatch.setattr(module, "NEEDED_FREE_BYTES", 2**62)
    with pytest.raises(HanlinError, match="MiB are free"):
        execute(room(), Toy(), {}, tmp_path / "other")


def test_lineage_goes_down_to_the_source(room, tmp_path):
    parent = execute(room(), Toy(), {"sources.0": SOURCE}, tmp_path / "parent")
    execute(room(name="child"), Toy(), {"corpus": parent}, tmp_path / "child")
    found = [(depth, name, facts["kind"]) for depth, name, facts in lineage(tmp_path / "child")]
    assert found == [(0, "", "report"), (1, "corpus", "report"), (2, "sources.0", "source")]
