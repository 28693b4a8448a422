"""Web archives: which records become documents, and what happens to the rest."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import pytest

from hanlin.make.collect.config import Collect
from hanlin.make.collect.reading import unpacking
from hanlin.make.collect.reading.reader import Reading

PAGE = (
    "<html><head><title>玉山</title></head><body><nav>首頁 | 關於</nav><article><h1>玉山</h1>"
    + "<p>玉山是臺灣最高的山，海拔三千九百五十二公尺，位於南投縣、高雄市與嘉義縣的交界。</p>" * 3
    + "</article></body></html>"
)
URL = "https://example.com/yushan"


def record(kind: str, data: bytes, url: str = URL, content_type: str = "application/http", v: str = "1.1") -> bytes:
    """One WARC record as the standard writes it."""
    head = f"WARC/{v}\r\nWARC-Type: {kind}\r\nWARC-Record-ID: <urn:uuid:1>\r\nWARC-Date: 2019-05-01T00:00:00Z\r\n"
    head += f"WARC-Target-URI: {url}\r\nContent-Type: {content_type}\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data + b"\r\n\r\n"


def fetched(data: bytes, kind: str = "text/html", status: str = "200 OK", url: str = URL, coding: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n" + (f"Content-Encoding: {coding}\r\n" if coding else "")
    return record("response", head.encode() + b"\r\n" + data, url)


def archive(gzipped: bool = True) -> bytes:
    records = [
        record("warcinfo", b"software: test\r\n", content_type="application/warc-fields"),
        fetched(PAGE.encode(), "text/html; charset=utf-8"),
        fetched(PAGE.encode("cp950"), "text/html; charset=Big5", url=URL + "/2"),
        fetched(gzip.compress(PAGE.encode()), url=URL + "/3", coding="gzip"),
        fetched(PAGE.encode(), url=URL + "/4", coding="br"),
        fetched(b"not here", status="404 Not Found"),
        fetched(b"\x89PNG", "image/png"),
        fetched("純文字。".encode() * 5, "text/plain", url=URL + "/5"),
    ]
    return b"".join(map(gzip.compress, records) if gzipped else records)


def read(path: Path):
    heard = Reading(Collect(), scratch=path.parent / "scratch")
    return list(heard.file(path, path.name)), heard


@pytest.mark.parametrize("name", ["a.warc", "a.warc.gz", "whole.warc.gz"])
def test_pages_become_documents(tmp_path, name, capsys):
    path = tmp_path / name
    # A whole WARC in one gzip member is against the standard, and common.
    path.write_bytes(gzip.compress(archive(False)) if name.startswith("whole") else archive(name.endswith("gz")))
    rows, heard = read(path)
    assert [row.source for row in rows] == [URL, URL + "/2", URL + "/3", URL + "/5"]
    assert [row.id for row in rows] == [f"{name}:{number}" for number in (2, 3, 4, 8)]
    assert {(row.year, row.type) for row in rows} == {(2019, "page")} and not any(row.reason for row in rows)
    assert all("海拔三千九百五十二公尺" in row.text and "<p>" not in row.text for row in rows[:3])
    assert rows[3].text == "純文字。" * 5
    assert heard.notes == [f"{path}: left out 1 × page in br, 1 × status 404, 1 × image/png."]
    assert capsys.readouterr() == ("", "")


def test_common_crawls_text_records(tmp_path):
    data = record("conversion", "一段文字。".encode(), content_type="text/plain", v="1.0")
    (tmp_path / "a.warc.wet.gz").write_bytes(gzip.compress(data))
    [row] = read(tmp_path / "a.warc.wet.gz")[0]
    assert (row.text, row.source) == ("一段文字。", URL)


@pytest.mark.parametrize("gzipped", [False, True])
def test_a_cut_archive_gives_its_pages_up_to_there(tmp_path, gzipped):
    whole = archive(gzipped)
    path = tmp_path / ("a.warc.gz" if gzipped else "a.warc")
    for share in (0.35, 0.6, 0.9):
        path.write_bytes(whole[: int(len(whole) * share)])
        rows, _ = read(path)
        assert rows[-1].reason.startswith("unreadable: ") and rows[-1].id == path.name
        assert all(not row.reason for row in rows[:-1])
    assert len(rows) > 2


def test_what_is_no_web_archive(tmp_path, monkeypatch):
    monkeypatch.setattr("hanlin.make.collect.reading.warc.MAX_HEADER_BYTES", 2**18)
    for data in (b"", b"no warc", b"x" * 2**20, b"WARC/1.0\r\n\r\n", b"WARC/1.0\r\nWARC-Type: response\r\n\r\nHTTP"):
        (tmp_path / "a.warc").write_bytes(data)
        [row] = read(tmp_path / "a.warc")[0]
        assert row.reason.startswith("unreadable: ") and not row.text
    (tmp_path / "a.warc.gz").write_bytes(gzip.compress(gzip.compress(archive(False))))
    assert "compressed twice" in read(tmp_path / "a.warc.gz")[0][0].reason


def test_a_page_that_is_a_bomb_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr("hanlin.make.collect.reading.warc.MAX_PAGE_BYTES", 2**20)
    monkeypatch.setattr(unpacking, "FREE_BYTES", 2**21)
    data = fetched(gzip.compress(b"0" * 2**24), coding="gzip")
    (tmp_path / "a.warc.gz").write_bytes(gzip.compress(data))
    rows, heard = read(tmp_path / "a.warc.gz")
    assert rows[-1].reason == "unreadable: the archive holds no page" and "page over 1 MiB" in heard.notes[0]


def test_damaged_web_archives_never_raise_anything_else(tmp_path):
    chance = random.Random(0)
    plain = archive(False)
    for name, whole in (("a.warc", plain), ("a.warc.gz", archive(True)), ("a.warc.gz", gzip.compress(plain))):
        for _ in range(25):
            data = bytearray(whole)
            for _ in range(chance.randint(1, 8)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            (tmp_path / name).write_bytes(data[: chance.choice([len(data), chance.randrange(len(data))])])
            read(tmp_path / name)
