"""Archives and compressed files: their members' rows, and what is refused."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanlin.core.run.errors import HanlinError
from hanlin.make.collect.config import Collect
from hanlin.make.collect.reading import unpacking
from hanlin.make.collect.reading.archive_names import encoding_of, unsafe
from hanlin.make.collect.reading.reader import Reading

TEXT = "玉山是臺灣最高的山，海拔三千九百五十二公尺。"
PACK = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: pa.compress(data, codec="zstd", asbytes=True),
}


def read(path: Path, **options):
    """(rows, the reading) of a file; nothing is left in its scratch folder."""
    heard = Reading(Collect(**options), scratch=path.parent / "scratch")
    rows = list(heard.file(path, path.name))
    assert heard.depth == 0 and heard.allowance is None
    assert not list((path.parent / "scratch").glob("*"))
    return rows, heard


def zipped(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes | str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def tarred(members: list[tuple[str | tarfile.TarInfo, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name) if isinstance(name, str) else name
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def reasons(rows) -> list[str]:
    return [row.reason for row in rows if row.reason]


@pytest.mark.parametrize("suffix", PACK)
def test_a_compressed_file_is_read_by_its_inner_name(tmp_path, suffix):
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(PACK[suffix](TEXT.encode()))
    rows, _ = read(path)
    assert [(row.id, row.text) for row in rows] == [(f"a.txt{suffix}!a.txt", TEXT)]
    lines = tmp_path / f"rows.jsonl{suffix}"
    half = b'{"text": "one"}\n'
    lines.write_bytes(PACK[suffix](half) + PACK[suffix](half))
    assert [row.id for row in read(lines)[0]] == [f"rows.jsonl{suffix}!rows.jsonl:{line}" for line in (1, 2)]


@pytest.mark.parametrize("suffix", PACK)
@pytest.mark.parametrize("damage", [lambda data: data[:-6], lambda data: data[: len(data) // 2], lambda data: b""])
def test_a_cut_compressed_file_is_one_rejected_row(tmp_path, suffix, damage):
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(damage(PACK[suffix]((TEXT * 50).encode())))
    rows, _ = read(path)
    assert len(rows) == 1 and rows[0].reason.startswith("unreadable: ") and not rows[0].text


def test_what_no_reader_knows_is_named(tmp_path):
    (tmp_path / "a.bin.gz").write_bytes(gzip.compress(b"x"))
    assert reasons(read(tmp_path / "a.bin.gz")[0]) == ["unreadable: no reader knows what is inside (a.bin)"]


def test_an_error_inside_names_the_archive_and_not_the_copy(tmp_path):
    path = zipped(tmp_path / "a.zip", ("deep/rows.jsonl", '{"text": "one"}\n{"text": '))
    with pytest.raises(HanlinError, match=r"a\.zip!deep/rows\.jsonl, line 2: broken JSON") as error:
        read(path)
    assert "scratch" not in str(error.value)
    rows, _ = read(path, bad="skip")
    assert [row.id for row in rows] == ["a.zip!deep/rows.jsonl:1", "a.zip!deep/rows.jsonl:2"]
    assert "scratch" not in rows[1].reason and "a.zip!deep/rows.jsonl, line 2" in rows[1].reason
    _, heard = read(zipped(tmp_path / "b.zip", ("舊.txt", TEXT.encode("cp950"))))
    assert "scratch" not in heard.notes[0] and "b.zip!舊.txt" in heard.notes[0]


@pytest.mark.parametrize("suffix", ["", *PACK])
def test_members_of_a_tar(tmp_path, suffix):
    path = tmp_path / f"a.tar{suffix}"
    data = tarred([("x/one.txt", TEXT.encode()), ("x/rows.jsonl", b'{"text": "two"}'), ("x/logo.png", b"...")])
    path.write_bytes(PACK.get(suffix, bytes)(data))
    rows, heard = read(path)
    assert [(row.id, row.text) for row in rows] == [
        (f"a.tar{suffix}!x/one.txt", TEXT),
        (f"a.tar{suffix}!x/rows.jsonl:1", "two"),
    ]
    assert heard.notes == [f"{path}: left out 1 × .png."]


def test_archives_in_archives_to_a_small_depth(tmp_path):
    data = TEXT.encode()
    for depth in range(4):
        inner = io.BytesIO()
        with zipfile.ZipFile(inner, "w") as archive:
            archive.writestr(f"{depth}.zip" if depth else "a.txt", data)
        data = inner.getvalue()
        (tmp_path / f"{depth}.zip").write_bytes(data)
    assert read(tmp_path / "2.zip")[0][0].text == TEXT
    [row] = read(tmp_path / "3.zip")[0]
    assert row.id == "3.zip!3.zip!2.zip!1.zip" and "more than 3 deep" in row.reason


def test_names_in_big5_and_gbk(tmp_path):
    for encoding, name in (("cp950", "玉山國家公園/簡介.txt"), ("gb18030", "玉山国家公园/简介.txt")):
        raw = name.encode(encoding)
        info = zipfile.ZipInfo(raw.decode("cp437"))
        data = bytearray(zipped(tmp_path / "a.zip", (info, TEXT)).read_bytes())
        flagged = raw.decode("cp437").encode("utf-8")
        # zipfile marks every name as UTF-8; a packer of those days wrote the bytes as they were.
        (tmp_path / "a.zip").write_bytes(_unmarked(bytes(data), flagged, raw))
        rows, _ = read(tmp_path / "a.zip")
        assert [row.id for row in rows] == [f"a.zip!{name}"]
        tar = tarfile.TarInfo(name)
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", encoding=encoding, format=tarfile.GNU_FORMAT) as archive:
            tar.size = len(TEXT.encode())
            archive.addfile(tar, io.BytesIO(TEXT.encode()))
        (tmp_path / "a.tar").write_bytes(buffer.getvalue())
        assert [row.id for row in read(tmp_path / "a.tar")[0]] == [f"a.tar!{name}"]


def _unmarked(data: bytes, marked: bytes, raw: bytes) -> bytes:
    """The zip with one member, its name written as raw bytes, without the mark of UTF-8."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(buffer, "w") as target:
        target.writestr("x" * len(raw), source.read(source.infolist()[0]))
    return buffer.getvalue().replace(b"x" * len(raw), raw)


def test_paths_that_climb_out_links_and_devices_are_rejected(tmp_path):
    link = zipfile.ZipInfo("link.txt")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    path = zipped(
        tmp_path / "a.zip",
        ("../evil.txt", "x"),
        ("/etc/passwd.txt", "x"),
        ("a\\..\\..\\b.txt", "x"),
        (link, "/etc"),
        ("a.txt", TEXT),
    )
    rows, _ = read(path)
    assert [row.reason for row in rows] == [
        *["unreadable: a path that leads out of the archive"] * 3,
        "unreadable: a link or a device",
        "",
    ]
    members: list = [("../evil.txt", b"x"), ("ok.txt", TEXT.encode())]
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        info = tarfile.TarInfo("x.txt")
        info.type, info.linkname = kind, "/etc/passwd"
        members.append((info, b""))
    (tmp_path / "a.tar").write_bytes(tarred(members))
    rows, _ = read(tmp_path / "a.tar")
    assert [row.reason.partition(": ")[2][:6] for row in rows] == ["a path", "", *["a link"] * 4]
    assert not list(tmp_path.rglob("evil*")) and len({row.id for row in rows}) == 6


def test_bombs(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "FREE_BYTES", 2**20)
    big = b"0" * 2**22
    zip_path = zipped(tmp_path / "bomb.zip", ("a.txt", TEXT), ("b.txt", big))
    [row] = read(zip_path)[0]
    assert row.id == "bomb.zip" and "unpacks to over" in row.reason
    for suffix, pack in PACK.items():
        (tmp_path / f"bomb.txt{suffix}").write_bytes(pack(big))
        assert "unpacks to over" in read(tmp_path / f"bomb.txt{suffix}")[0][0].reason
        (tmp_path / f"bomb.tar{suffix}").write_bytes(pack(tarred([("a.txt", TEXT.encode()), ("b.txt", big)])))
        rows = read(tmp_path / f"bomb.tar{suffix}")[0]
        assert rows[0].text == TEXT and "unpacks to over" in rows[-1].reason
    # Each is small enough beside its own archive; all of them together aren't beside the outermost.
    inner = zipped(tmp_path / "inner.zip", *((f"{n}.txt", b"0" * 2**18) for n in range(3))).read_bytes()
    nested = zipped(tmp_path / "nested.zip", *((f"{n}.zip", inner) for n in range(8)))
    rows = read(nested)[0]
    assert 0 < len([row for row in rows if row.id.endswith("#1")]) < 24 and "unpacks to over" in rows[-1].reason
    assert rows[-1].id == "nested.zip"


def test_a_zip_that_lies_about_its_sizes(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "FREE_BYTES", 2**20)
    data = zipped(tmp_path / "a.zip", ("b.txt", b"0" * 2**22)).read_bytes()
    (tmp_path / "a.zip").write_bytes(data.replace((2**22).to_bytes(4, "little"), (100).to_bytes(4, "little")))
    [row] = read(tmp_path / "a.zip")[0]
    assert row.reason and len(row.text) <= 100


def test_encrypted_empty_and_broken_archives(tmp_path):
    data = bytearray(zipped(tmp_path / "a.zip", ("b.txt", TEXT)).read_bytes())
    for mark in (b"PK\x03\x04", b"PK\x01\x02"):
        data[data.index(mark) + (6 if mark[2] == 3 else 8)] |= 1
    (tmp_path / "a.zip").write_bytes(data)
    assert reasons(read(tmp_path / "a.zip")[0]) == ["unreadable: encrypted"]
    for name, content in (
        ("b.zip", zipped(tmp_path / "b.zip").read_bytes()),
        ("c.zip", zipped(tmp_path / "c.zip", ("a.png", "x"), (".hidden.txt", "x")).read_bytes()),
        ("d.zip", b""),
        ("e.tar", tarred([])),
        ("f.tar", b""),
        ("g.tar.gz", gzip.compress(b"no tar" * 500)),
        ("h.zip", b"PK no zip"),
    ):
        (tmp_path / name).write_bytes(content)
        [row] = read(tmp_path / name)[0]
        assert row.reason.startswith("unreadable: ") and row.id == name, name


def test_a_cut_tar_is_said(tmp_path):
    data = tarred([("a.txt", TEXT.encode()), ("b.txt", (TEXT * 40).encode())])
    for end in (1024 + 100, 1536 + 600):
        (tmp_path / "a.tar").write_bytes(data[:end])
        rows, _ = read(tmp_path / "a.tar")
        assert rows[0].text == TEXT and rows[-1].id == "a.tar" and "unreadable" in rows[-1].reason
    (tmp_path / "a.tar").write_bytes(data[:1024])
    rows, heard = read(tmp_path / "a.tar")
    assert len(rows) == 1 and "no end mark" in heard.notes[0]
    (tmp_path / "a.tar").write_bytes(data[:1024] + b"garbage." * 64 + data[1536:])
    assert "a broken header" in read(tmp_path / "a.tar")[0][-1].reason


@given(st.text(max_size=20))
def test_a_safe_name_stays_inside(name):
    if not unsafe(name):
        root = Path("/some/where/else")
        assert (root / name).resolve().is_relative_to(root) and not name.startswith("/")


@given(st.lists(st.binary(max_size=20)))
def test_every_name_has_an_encoding(names):
    b"\n".join(names).decode(encoding_of(names))


def test_damaged_archives_never_raise_anything_else(tmp_path):
    chance = random.Random(0)
    members = [
        ("玉山.txt", TEXT.encode()),
        ("x/rows.jsonl", b'{"text": "one"}\n' * 9),
        ("in.txt.gz", gzip.compress(b"x" * 99)),
    ]
    tar = tarred(members)
    samples = {"a.zip": zipped(tmp_path / "a.zip", *members).read_bytes(), "a.tar": tar}
    samples |= {f"a.tar{suffix}": pack(tar) for suffix, pack in PACK.items()}
    for name, whole in samples.items():
        for _ in range(60):
            data = bytearray(whole)
            for _ in range(chance.randint(1, 8)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            (tmp_path / name).write_bytes(data[: chance.choice([len(data), chance.randrange(len(data))])])
            read(tmp_path / name, bad="skip")
