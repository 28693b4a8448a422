"""Keys: printed once, kept as hashes, refused when they should be."""

from __future__ import annotations

import json
import stat
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hanlin.core.run.config import build
from hanlin.core.run.errors import HanlinError
from hanlin.use.serve.access.keys import Key, KeyFile, KeyLimits, add_key, read_keys, remove_key


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def test_a_key_is_found_and_nothing_near_it(path: Path):
    text = add_key(path, "reading-room", KeyLimits())
    file = KeyFile(path)
    found = file.find(text)
    assert found is not None and found.name == "reading-room"
    id, secret = text.split("-")[1:]
    for wrong in (
        "",
        "hanlin",
        id,
        secret,
        text[:-1],
        text + "0",
        f"hanlin-00000000-{secret}",
        f"hanlin-{id}-",
        text.upper(),
    ):
        assert file.find(wrong) is None, wrong


def test_the_file_doesnt_hold_the_key(path: Path):
    text = add_key(path, "reading-room", KeyLimits())
    held = path.read_text()
    assert text not in held and text.split("-")[2] not in held
    assert len(json.loads(held)["keys"][0]["hash"]) == 64


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no modes")
def test_only_its_owner_may_read_the_file(path: Path):
    add_key(path, "reading-room", KeyLimits())
    add_key(path, "web", KeyLimits())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["keys.json"], "nothing half-written stays"


def test_the_same_limits_come_back(path: Path):
    limits = KeyLimits(
        requests_per_minute=3, tokens_per_day=5, streams=2, models=("a", "b"), expires=datetime(2099, 1, 31)
    )
    add_key(path, "web", limits)
    (key,) = read_keys(path)
    assert key.model_dump(include=set(KeyLimits.model_fields)) == limits.model_dump()
    assert key.expires == datetime(2099, 1, 31, tzinfo=UTC)
    assert key.may_use("a") and not key.may_use("c")


def test_a_date_on_the_command_line():
    assert build(KeyLimits, {"expires": "2099-01-31"}, "keys add").expires == datetime(2099, 1, 31, tzinfo=UTC)
    with pytest.raises(HanlinError, match="did you mean"):
        build(KeyLimits, {"token_per_day": 3}, "keys add")


def test_names_are_unique_and_plain(path: Path):
    add_key(path, "web", KeyLimits())
    with pytest.raises(HanlinError, match="already"):
        add_key(path, "web", KeyLimits())
    for name in ("", "two words", "a\nb", "x" * 65):
        with pytest.raises(HanlinError, match="name of a key"):
            add_key(path, name, KeyLimits())


def test_a_key_that_would_be_expired_is_not_made(path: Path):
    with pytest.raises(HanlinError, match="is over"):
        add_key(path, "web", KeyLimits(expires=datetime(2020, 1, 1)))
    assert not path.exists()


def test_expiry(path: Path):
    add_key(path, "web", KeyLimits(expires=datetime.now(UTC) + timedelta(hours=1)))
    (key,) = read_keys(path)
    assert not key.has_expired(datetime.now(UTC))
    assert key.has_expired(datetime.now(UTC) + timedelta(hours=1))


def test_a_running_server_sees_what_changes(path: Path):
    first = add_key(path, "web", KeyLimits())
    file = KeyFile(path)
    second = add_key(path, "scanner", KeyLimits())
    assert isinstance(file.find(second), Key)
    remove_key(path, "web")
    assert file.find(first) is None and file.find(second) is not None


def test_a_broken_file_keeps_the_keys_of_before_and_a_missing_one_none(path: Path, caplog: pytest.LogCaptureFixture):
    text = add_key(path, "web", KeyLimits())
    file, good = KeyFile(path), path.read_text()
    path.write_text("{")
    assert file.find(text) is not None
    assert "stay in use" in caplog.text
    path.write_text(good)
    assert file.find(text) is not None
    path.unlink()
    assert file.find(text) is None


def test_removing_what_isnt_there(path: Path):
    add_key(path, "reading-room", KeyLimits())
    with pytest.raises(HanlinError, match='did you mean "reading-room"'):
        remove_key(path, "reading-rom")


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": 2, "keys": []}', '{"format": 1, "keys": [{}]}', '{"format": 1}']
)
def test_a_file_that_is_none_of_ours(path: Path, text: str):
    path.write_text(text)
    with pytest.raises(HanlinError, match=r"keys\.json"):
        read_keys(path)


def test_no_file(path: Path):
    with pytest.raises(HanlinError, match="hanlin keys add"):
        KeyFile(path)
