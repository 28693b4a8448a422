"""A Git repository as a source: one commit's files, as they are stored."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import silent
from hanlin.core.run.source_address import Address, parse_address
from hanlin.core.run.sources import fetch, source_files


def git(folder: Path, *arguments: str) -> str:
    names = ("AUTHOR", "COMMITTER")
    who = {f"GIT_{n}_{part}": value for n in names for part, value in (("NAME", "test"), ("EMAIL", "test@example.com"))}
    fixed = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_AUTHOR_DATE": "2024-01-01T00:00:00Z"}
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(
        command, env=os.environ | who | fixed, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def repository(tmp_path, monkeypatch):
    monkeypatch.setenv("HANLIN_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "我的 repository"
    (folder / "docs").mkdir(parents=True)
    git(folder, "init", "--quiet", "--initial-branch=main")
    (folder / "docs" / "說明.md").write_text("第一版的說明。")
    (folder / "run.py").write_text("print('你好')\n")
    (folder / "LICENSE").write_text("                     Apache License\n               Version 2.0, January 2004\n")
    (folder / "link.txt").symlink_to("/etc/passwd")
    (folder / ".gitattributes").write_text("*.md export-ignore filter=evil\n")
    git(folder, "add", "-A")
    git(folder, "commit", "--quiet", "-m", "first")
    git(folder, "tag", "v1.0")
    (folder / "docs" / "說明.md").write_text("第二版的說明。")
    git(folder, "commit", "--quiet", "-am", "second")
    (folder / "docs" / "說明.md").write_text("沒有提交的說明。")
    (folder / "untracked.txt").write_text("x")
    return folder


def test_a_commits_files(repository):
    events = []
    source = fetch(f"git:{repository}", lambda name, **facts: events.append(name))
    head = git(repository, "rev-parse", "HEAD")
    assert source.id == head and source.address == f"git:{repository}@{head}" and source.licence == "Apache-2.0"
    names = [path.relative_to(source.path).as_posix() for path in source_files(source.path)]
    assert names == ["LICENSE", "docs/說明.md", "run.py"]
    assert (source.path / "docs" / "說明.md").read_text() == "第二版的說明。"
    assert fetch(source.address, lambda name, **facts: events.append(name)).path == source.path
    assert events == ["download"]


def test_a_revision_and_a_folder(repository):
    source = fetch(f"git:{repository}@v1.0!docs", silent)
    assert [path.name for path in source_files(source.path)] == ["說明.md"]
    assert (source.path / "說明.md").read_text() == "第一版的說明。"
    assert source.licence == "Apache-2.0" and source.id != fetch(f"git:{repository}@v1.0", silent).id


def test_what_is_not_there_is_said(repository, tmp_path):
    for text, why in (
        (f"git:{tmp_path}/nowhere", "is no folder"),
        (f"git:{tmp_path}", "not a git repository"),
        (f"git:{repository}@v9", "Needed a single revision"),
        (f"git:{repository}!nothing", "has no nothing"),
        ("git:https://example.com/x.git", "is not on this machine"),
        ("git:git@example.com:x/y.git", "is not on this machine"),
        (f"git:{repository}@--output=x", "is not an address"),
        (f"git:{repository}!../x", "is not an address"),
    ):
        with pytest.raises(HanlinError, match=why):
            fetch(text, silent)


def test_a_path_that_climbs_out_is_refused(repository):
    blob = git(repository, "rev-parse", "HEAD:run.py")
    tree = subprocess.run(
        ["git", "-C", repository, "mktree"], input=f"100644 blob {blob}\t..\n".encode(), capture_output=True, check=True
    ).stdout.decode()
    commit = git(repository, "commit-tree", tree.strip(), "-m", "evil")
    with pytest.raises(HanlinError, match="unsafe path"):
        fetch(f"git:{repository}@{commit}", silent)


def test_addresses_read_back():
    for text, address in (
        ("git:a/b c@v1.0~2!docs/x", Address("git", "a/b c", "v1.0~2", "docs/x")),
        ("git:.", Address("git", ".")),
        ("git:/a@b/c@HEAD", Address("git", "/a@b/c", "HEAD")),
    ):
        assert parse_address(text) == address and str(address) == text
