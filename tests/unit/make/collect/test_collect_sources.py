"""Collect from repositories, databases, the hub and containers, as one command reads them."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import subprocess
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import silent
from hanlin.core.run.sources import fetch
from hanlin.core.text.documents import read_rows
from hanlin.make.collect.config import Collect
from hanlin.make.collect.reading import walk
from hanlin.make.collect.reading.reader import Reading
from hanlin.workflow import make

TEXT = "玉山是臺灣最高的山，海拔三千九百五十二公尺。"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("HANLIN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def collected(tmp_path: Path, *sources: str, **options):
    """{split: rows} of a collected corpus."""
    made = make("collect", {"sources": list(sources), "heldout_share": 0, **options}, tmp_path / "out")
    return list(read_rows(made.path, "train")), list(read_rows(made.path, "rejected")), made


def test_a_repositorys_text_and_code(tmp_path):
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "README.md").write_text(TEXT)
    (folder / "run.py").write_text("def main():\n    print('你好，世界')\n")
    (folder / "package.json").write_text('{"name": "x", "version": "1.0"}')
    (folder / "binary.py").write_bytes(b"\0\1\2" * 99)
    (folder / "logo.png").write_bytes(b"\x89PNG")
    who = ["-c", "user.name=test", "-c", "user.email=test@example.com"]
    for arguments in (["init", "--quiet"], ["add", "-A"], [*who, "commit", "--quiet", "-m", "x"]):
        subprocess.run(
            ["git", "-C", folder, *arguments], check=True, env=os.environ | {"GIT_CONFIG_GLOBAL": os.devnull}
        )
    kept, rejected, _ = collected(tmp_path, f"git:{folder}")
    assert {(row.type, row.text.split("\n")[0]) for row in kept} == {("document", TEXT), ("code", "def main():")}
    assert [row.notes["code"] for row in kept if row.type == "code"] == ["Python"]
    assert kept[0].source.startswith(f"git:{folder}@")
    assert {row.reason.partition(":")[0] for row in rejected} == {"unreadable"} and len(rejected) == 2


def test_a_databases_rows(tmp_path):
    with sqlite3.connect(tmp_path / "data.db") as connection:
        connection.execute("CREATE TABLE notes (body TEXT, written INTEGER)")
        connection.executemany("INSERT INTO notes VALUES (?, ?)", [(f"{TEXT}第{n}則。", 2000 + n) for n in range(20)])
    connection.close()
    statement = "SELECT body AS text, written AS year FROM notes ORDER BY written"
    kept, _, _ = collected(tmp_path, f"sql:sqlite:///{tmp_path}/data.db#{statement}")
    assert len(kept) == 20 and (kept[3].text, kept[3].year) == (f"{TEXT}第3則。", 2003)
    assert kept[0].source == f"sql:sqlite:///{tmp_path}/data.db#{statement}"


def test_a_password_is_in_no_file_of_a_run(tmp_path):
    secret = "hunter2-geheim"
    with pytest.raises(HanlinError) as error:
        collected(tmp_path, f"sql:postgresql+nodriver://someone:{secret}@localhost:1/x#SELECT 1 AS text")
    assert secret not in str(error.value)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in files if secret.encode() in path.read_bytes()]


def test_containers_in_a_folder(tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.writestr("山/玉山.txt", TEXT)
        archive.writestr("../evil.txt", "x" * 99)
    (folder / "b.tar.gz").write_bytes(b"broken")
    kept, rejected, made = collected(tmp_path, str(folder))
    assert [(row.id, row.text) for row in kept] == [("a.zip!山/玉山.txt", TEXT)]
    assert [row.id for row in rejected] == ["a.zip!../evil.txt", "b.tar.gz"]
    assert not list(made.path.rglob("unpacked-*"))


def test_a_source_that_changes_is_refused(tmp_path, monkeypatch):
    folder = tmp_path / "texts"
    folder.mkdir()
    for name in ("a.txt", "b.txt"):
        (folder / name).write_text(TEXT)
    source = fetch(str(folder), silent)
    (folder / "b.txt").write_text(TEXT * 2)
    with pytest.raises(HanlinError, match=r"b\.txt has changed since its hash was taken"):
        walk.plan([source])
    sources, [unit] = walk.plan([fetch(str(folder), silent)])
    rows = walk.read_unit(unit, sources[0], Reading(Collect()))
    next(rows)
    (folder / "a.txt").write_text("x")
    with pytest.raises(HanlinError, match=r"a\.txt has changed"):
        list(rows)
    (folder / "a.txt").write_text(TEXT)
    sources, [unit] = walk.plan([fetch(str(folder), silent)])
    (folder / "b.txt").unlink()
    with pytest.raises((HanlinError, FileNotFoundError)):
        list(walk.read_unit(unit, sources[0], Reading(Collect())))


# The hub, played by a server on this machine with the endpoints that its client asks for.


class Hub(BaseHTTPRequestHandler):
    files: ClassVar[dict[str, bytes]] = {}
    asked: ClassVar[list[str]] = []
    commit = "a" * 40

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = self.path.partition("?")[0]
        if path.startswith("/api/datasets/org/name/tree/"):
            self._json([self._entry(name, data) for name, data in self.files.items()])
        elif path.startswith("/api/datasets/org/name"):
            self._json(
                {"id": "org/name", "sha": self.commit, "siblings": [], "private": False, "tags": [], "downloads": 0}
            )
        else:
            name = path.partition(f"/resolve/{self.commit}/")[2]
            if name not in self.files:
                self.send_error(404)
                return
            if self.command == "GET":
                self.asked.append(name)
            self._answer(self.files[name], {"X-Repo-Commit": self.commit, "ETag": f'"{sha256(self.files[name])}"'})

    def _entry(self, name, data):
        lfs = {"oid": sha256(data), "size": len(data), "pointerSize": 1}
        return {"type": "file", "path": name, "size": len(data), "oid": "b" * 40, "lfs": lfs}

    def _json(self, value):
        self._answer(json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _answer(self, data, headers):
        self.send_response(200)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def collected_by_command(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess:
    """A process of its own: the hub's client reads its settings when it is imported."""
    words = ["sources=hf:datasets/org/name!data/*.parquet", "heldout_share=0", f"out={tmp_path / 'out'}"]
    command = [sys.executable, "-m", "hanlin.cli", "collect", *words]
    settings = {**os.environ, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}
    return subprocess.run(command, env=settings | environment, capture_output=True, text=True, timeout=120)


def test_a_data_set_is_read_file_by_file(tmp_path, cache):
    for number in range(3):
        table = pa.table({"text": [f"{TEXT}第{number}檔第{row}列。" for row in range(5)]})
        pq.write_table(table, tmp_path / "x.parquet")
        Hub.files[f"data/train-{number}.parquet"] = (tmp_path / "x.parquet").read_bytes()
    Hub.files["README.md"] = b"# card"
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        done = collected_by_command(tmp_path, HF_ENDPOINT=f"http://127.0.0.1:{server.server_address[1]}")
    finally:
        server.shutdown()
        server.server_close()
    assert done.returncode == 0, done.stdout + done.stderr
    kept = list(read_rows(tmp_path / "out", "train"))
    assert len(kept) == 15 and {row.source for row in kept} == {
        f"hf:datasets/org/name@{Hub.commit}!data/*.parquet/data/train-{n}.parquet" for n in range(3)
    }
    assert sorted(Hub.asked) == sorted(name for name in Hub.files if name != "README.md")
    assert not list(tmp_path.rglob("train-*.parquet"))


def test_a_data_set_in_the_hubs_cache_needs_no_connection(tmp_path):
    cached = tmp_path / "hf" / "hub" / "datasets--org--name"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text(Hub.commit)
    (cached / "snapshots" / Hub.commit / "data").mkdir(parents=True)
    pq.write_table(pa.table({"text": [TEXT]}), cached / "snapshots" / Hub.commit / "data" / "a.parquet")
    done = collected_by_command(tmp_path, HF_HUB_OFFLINE="1", HF_ENDPOINT="http://127.0.0.1:1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [row.text for row in read_rows(tmp_path / "out", "train")] == [TEXT]
    (tmp_path / "empty").mkdir()
    failed = collected_by_command(tmp_path / "empty", HF_HUB_OFFLINE="1")
    assert failed.returncode and "could not be had" in failed.stdout + failed.stderr


def test_a_pointer_from_elsewhere_fetches_nothing(tmp_path):
    (tmp_path / "x.parquet.on-the-hub").write_text(json.dumps({"repository": "org/name", "file": "x", "bytes": 1}))
    with pytest.raises(HanlinError, match="does not lie in hanlin's cache"):
        walk.plan([fetch(str(tmp_path / "x.parquet.on-the-hub"), silent)])
