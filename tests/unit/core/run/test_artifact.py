"""Manifests: whole, hashed, of the kind asked for."""

from __future__ import annotations

import json

import pytest

from hanlin.core.run.artifact import Manifest, content_id, hash_files, open_artifact, write_atomic, write_manifest
from hanlin.core.run.errors import HanlinError


@pytest.fixture
def artifact(tmp_path):
    folder = tmp_path / "base"
    folder.mkdir()
    (folder / "model.bin").write_bytes(b"weights")
    write_manifest(folder, Manifest("model", "pretrain", "", {}, [], hash_files(folder), {}, 1, "abc"))
    return folder


def test_a_whole_artifact_opens(artifact):
    opened = open_artifact(artifact, ("model", "adapter"))
    assert (opened.kind, opened.id, opened.file("model.bin")) == ("model", "abc", artifact / "model.bin")


@pytest.mark.parametrize("damage", [b"other", None])
def test_a_changed_or_missing_file_is_named(artifact, damage):
    if damage is None:
        (artifact / "model.bin").unlink()
    else:
        (artifact / "model.bin").write_bytes(damage)
    with pytest.raises(HanlinError, match=r"model\.bin is not the file that pretrain wrote"):
        open_artifact(artifact)


def test_the_log_may_grow(artifact):
    (artifact / "events.jsonl").write_text('{"event": "x"}\n')
    open_artifact(artifact)


def test_the_kind_is_checked(artifact):
    with pytest.raises(HanlinError, match=r"is a model \(made by pretrain\)"):
        open_artifact(artifact, ("corpus",))


@pytest.mark.parametrize("text", ["", "[]", '{"kind": "model"}', "{"])
def test_a_broken_manifest_is_refused(artifact, text):
    (artifact / "manifest.json").write_text(text)
    with pytest.raises(HanlinError, match=r"no readable manifest\.json"):
        open_artifact(artifact)


def test_another_format_is_refused(artifact):
    facts = json.loads((artifact / "manifest.json").read_text())
    (artifact / "manifest.json").write_text(json.dumps({**facts, "format": 99}))
    with pytest.raises(HanlinError, match="format 99"):
        open_artifact(artifact)


def test_a_missing_artifact(tmp_path):
    with pytest.raises(HanlinError, match="does not exist"):
        open_artifact(tmp_path / "nothing")


def test_writing_is_all_or_nothing(tmp_path):
    write_atomic(tmp_path / "a.txt", "一")
    write_atomic(tmp_path / "a.txt", b"2")
    assert (tmp_path / "a.txt").read_bytes() == b"2"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_the_id_does_not_depend_on_order():
    assert content_id("r", 1, {"a": 1, "b": 2}, {}) == content_id("r", 1, {"b": 2, "a": 1}, {})
