"""Addresses, and what is refused before anything is written."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanlin.core.run import source_packages, sources
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import silent
from hanlin.core.run.sources import Address, fetch, parse_address

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,10}", fullmatch=True)
scoped = st.builds(lambda scope, name: f"@{scope}/{name}", names, names)
members = st.lists(st.from_regex(r"[A-Za-z0-9_\u4e00-\u4e10-][A-Za-z0-9_.-]{0,8}", fullmatch=True), max_size=3).map(
    "/".join
)
pins = st.just("") | st.binary(max_size=8).map(lambda data: hashlib.sha256(data).hexdigest())
packages = st.one_of(
    st.builds(Address, st.just("pip"), names, names, members, pins),
    st.builds(Address, st.just("npm"), names | scoped, names, members, pins),
    st.builds(
        Address, st.just("hf"), st.builds(lambda a, b: f"{a}/{b}", names, names), st.just("") | names, members, pins
    ),
    st.builds(Address, st.just("file"), st.lists(names, min_size=1).map("/".join), sha256=pins),
)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("HANLIN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def wheel(cache: Path, files: dict[str, str], name: str = "demo", version: str = "1.0") -> Path:
    """A package already in the cache, so that nothing is downloaded."""
    path = cache / "pip" / f"{name}-{version}" / f"{name}-{version}-py3-none-any.whl"
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
    return path


def tarball(cache: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    path = cache / "npm" / "demo-1.0" / "demo-1.0.tgz"
    path.parent.mkdir(parents=True)
    with tarfile.open(path, "w:gz") as archive:
        for info, data in members:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@given(packages)
def test_an_address_reads_back_as_written(address):
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    "text, expected",
    [
        ("my_folder/", Address("file", "my_folder/")),
        ("file:a b.txt", Address("file", "a b.txt")),
        ("C:\\texts", Address("file", "C:\\texts")),
        ("pip:a-b==1.8.3!data/x.json#sha256=ab", Address("pip", "a-b", "1.8.3", "data/x.json", "ab")),
        ("npm:@scope/name@2.0!dist/", Address("npm", "@scope/name", "2.0", "dist/")),
        ("hf:org/name", Address("hf", "org/name")),
    ],
)
def test_addresses(text, expected):
    assert parse_address(text) == expected


@pytest.mark.parametrize("text", ["pip:demo", "npm:@scope/name", "npm:demo!x"])
def test_a_package_needs_a_version(text):
    with pytest.raises(HanlinError, match="names no version"):
        parse_address(text)


def test_an_unknown_scheme_is_answered():
    with pytest.raises(HanlinError, match=r'did you mean "pip"'):
        parse_address("pipi:demo==1")


@pytest.mark.parametrize(
    "text",
    [
        "pip:--index-url=x==1",
        "npm:-x@1",
        "pip:demo==1!../../etc/passwd",
        "pip:demo==1!/etc/passwd",
        "pip:a==../../b",
        "pip:a==1!b\\..\\c",
    ],
)
def test_options_and_climbing_members_are_refused(text):
    with pytest.raises(HanlinError, match="is not an address"):
        parse_address(text)


def test_a_cached_package_is_read_as_data(cache):
    path = wheel(
        cache, {"demo/data/x.json": "[]", "demo-1.0.dist-info/METADATA": "Name: demo\nLicense-Expression: MIT\n"}
    )
    source = fetch("pip:demo==1.0!demo/data", silent)
    assert [file.name for file in sources.source_files(source.path)] == ["x.json"]
    assert source.licence == "MIT" and source.kind == "source"
    assert source.address == f"pip:demo==1.0!demo/data#sha256={sha256(path)}"
    assert fetch(source.address, silent).id == source.id
    assert fetch("pip:demo==1.0", silent).id != source.id


def test_another_hash_than_the_pin_is_refused_and_removed(cache):
    path = wheel(cache, {"x.json": "[]"})
    with pytest.raises(HanlinError, match="the pin says aaaa"):
        fetch("pip:demo==1.0#sha256=aaaa", silent)
    assert not path.exists()


def test_a_missing_member_is_answered(cache):
    wheel(cache, {"demo/data/old_cases.json": "[]"})
    with pytest.raises(HanlinError, match=r'did you mean "demo/data/old_cases\.json"'):
        fetch("pip:demo==1.0!demo/data/old_case.json", silent)


@pytest.mark.parametrize("name", ["../evil.txt", "/evil.txt", "a/../../evil.txt", "C:/evil.txt"])
def test_a_wheel_that_climbs_out_is_refused(cache, name):
    wheel(cache, {name: "x"})
    with pytest.raises(HanlinError, match="unsafe path"):
        fetch("pip:demo==1.0", silent)
    assert not list(cache.rglob("evil.txt"))


def test_an_archive_that_unpacks_too_large_is_refused(cache, monkeypatch):
    wheel(cache, {"x.txt": "x" * 1000})
    monkeypatch.setattr(source_packages, "MAX_UNPACKED_BYTES", 999)
    with pytest.raises(HanlinError, match="would unpack to"):
        fetch("pip:demo==1.0", silent)
    assert not list(cache.rglob("x.txt"))


def test_an_archive_that_is_none_is_refused(cache):
    wheel(cache, {}).write_bytes(b"not a zip")
    with pytest.raises(HanlinError, match="not a readable archive"):
        fetch("pip:demo==1.0", silent)


def test_a_package_of_npm(cache):
    tarball(
        cache,
        (tarfile.TarInfo("package/dist/a.json"), b"{}"),
        (tarfile.TarInfo("package/package.json"), b'{"license": "MIT"}'),
    )
    source = fetch("npm:demo@1.0!dist/a.json", silent)
    assert source.path.read_text() == "{}" and source.licence == "MIT"


def test_links_in_a_tarball_are_refused(cache):
    link = tarfile.TarInfo("package/link")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    tarball(cache, (link, b""))
    with pytest.raises(HanlinError, match="links or devices"):
        fetch("npm:demo@1.0", silent)


def test_a_failed_download_says_why(monkeypatch):
    def fail(command, **options):
        assert "--no-deps" in command and "--only-binary=:all:" in command
        assert "--ignore-requires-python" in command
        return subprocess.CompletedProcess(command, 1, "", "WARNING: x\nERROR: No matching distribution found\n")

    monkeypatch.setattr(subprocess, "run", fail)
    with pytest.raises(HanlinError, match="could not be downloaded: ERROR: No matching distribution found"):
        fetch("pip:demo==9.9", silent)


def test_a_folder_is_known_by_names_and_contents(tmp_path):
    folder = tmp_path / "texts"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a.txt").write_text("一")
    first = fetch(f"file:{folder}", silent)
    (folder / ".hidden").write_text("不算")
    assert fetch(str(folder), silent).id == first.id
    (folder / "sub" / "a.txt").write_text("二")
    changed = fetch(str(folder), silent).id
    (folder / "sub" / "a.txt").rename(folder / "sub" / "b.txt")
    renamed = fetch(str(folder), silent).id
    assert len({first.id, changed, renamed}) == 3


def test_a_pinned_file(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("一")
    assert fetch(f"file:{file}#sha256={sha256(file)}", silent).path == file
    with pytest.raises(HanlinError, match="does not have the pinned sha256"):
        fetch(f"file:{file}#sha256={'0' * 64}", silent)


def test_a_missing_file_is_answered(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(HanlinError, match=r'did you mean "notes\.txt"'):
        fetch(str(tmp_path / "note.txt"), silent)


def test_the_cache_folder(tmp_path, monkeypatch):
    assert sources.cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("HANLIN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert sources.cache_folder() == tmp_path / "hanlin"
