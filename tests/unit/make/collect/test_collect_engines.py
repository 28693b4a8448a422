"""Every engine makes the same corpus, and a killed run goes on without losing or doubling a row."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import silent
from hanlin.core.run.sources import fetch
from hanlin.core.text.documents import SPLITS, read_rows
from hanlin.make.collect.config import Collect
from hanlin.make.collect.pipeline import shards, stages
from hanlin.make.collect.reading import walk
from hanlin.make.collect.run import run

STEPS = ["normalise", "exact"]
WORDS = ("山", "水", "臺灣", "鐵路", "日出", "，", "。\n", "夜市", "捷運", "圖書館", "書", "雨")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Fifteen files with forty rows each; some rows come twice, some nearly."""
    source = tmp_path_factory.mktemp("source")
    chance = random.Random(1)
    texts: list[str] = []
    for number in range(15):
        lines = []
        for _ in range(40):
            text = "".join(chance.choices(WORDS, k=120))
            if texts and chance.random() < 0.2:
                text = chance.choice(texts)
            elif texts and chance.random() < 0.2:
                text = chance.choice(texts)[:-4] + "結尾不同"
            texts.append(text)
            lines.append(json.dumps({"text": text}, ensure_ascii=False))
        (source / f"{number:02}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return source


def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Units and shards small enough that a little corpus has many."""
    monkeypatch.setattr(walk, "UNIT_BYTES", 20_000)
    monkeypatch.setattr(shards, "SHARD_CHARS", 3_000)


def collect(out: Path, folder: Path, **options) -> dict[str, list[str]]:
    out.mkdir(exist_ok=True)
    run(
        Collect(steps=STEPS, mix={"order": "shuffled"}, **options),
        {"sources.0": fetch(str(folder), silent)},
        out,
        silent,
    )
    return contents(out)


def contents(out: Path) -> dict[str, list[str]]:
    return {split: [repr(row) for row in read_rows(out, split)] for split in SPLITS}


def test_nothing_is_lost_between_small_pieces(tmp_path, folder, monkeypatch):
    whole = collect(tmp_path / "whole", folder, engine="one")
    assert sum(map(len, whole.values())) == 15 * 40
    small_pieces(monkeypatch)
    assert collect(tmp_path / "pieces", folder, engine="one") == whole
    assert len(list((tmp_path / "pieces").glob("train-*.parquet"))) > 5
    assert not (tmp_path / "pieces" / "work").exists()


@pytest.mark.parametrize("engine", ["one", "pool"])
def test_an_error_comes_back_whole(tmp_path, folder, engine):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a.jsonl").write_text('{"text": "十個字以上的一份文件。"}\n{"texxt": 1}\n', encoding="utf-8")
    with pytest.raises(HanlinError, match=r"a\.jsonl, line 2") as caught:
        collect(tmp_path / "out", tmp_path / "source", engine=engine, workers=2)
    assert len(str(caught.value).splitlines()) == 4


def test_what_is_finished_is_not_done_again(tmp_path, folder, monkeypatch):
    """A run that is stopped half-way passes no shard twice but those of the unit it was reading."""
    small_pieces(monkeypatch)
    passed: list[str] = []
    most = [1_000_000]
    real = stages._pass

    def counting(job, stage, rows, target, verdict):
        if len(passed) == most[0]:
            raise KeyboardInterrupt
        passed.append(f"{stage.number}/{target.name}")
        return real(job, stage, rows, target, verdict)

    monkeypatch.setattr(stages, "_pass", counting)
    collect(tmp_path / "alone", folder, engine="one")
    alone = list(passed)
    passed.clear()
    most[0] = len(alone) // 3
    with pytest.raises(KeyboardInterrupt):
        collect(tmp_path / "out", folder, engine="one")
    most[0] = 1_000_000
    collect(tmp_path / "out", folder, engine="one")
    assert set(passed) == set(alone)
    twice = {name for name in passed if passed.count(name) == 2}
    assert len({name.rpartition("-")[0] for name in twice}) <= 1


def test_a_script_without_a_guard_may_use_the_pool(tmp_path, folder):
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, hanlin\nprint('once')\n"
        "hanlin.make('collect', sys.argv[2], sources=sys.argv[1], engine='pool', workers=2)\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, script, folder, tmp_path / "out"], capture_output=True, text=True, timeout=100
    )
    assert (done.returncode, done.stdout.count("once")) == (0, 1), done.stderr
    assert sum(map(len, contents(tmp_path / "out").values())) == 15 * 40


SCRIPT = """
import sys
from pathlib import Path
from hanlin.core.run.events import silent
from hanlin.core.run.sources import fetch
from hanlin.make.collect.config import Collect
from hanlin.make.collect.pipeline import shards
from hanlin.make.collect.reading import walk
from hanlin.make.collect.run import run

if __name__ == "__main__":
    walk.UNIT_BYTES, shards.SHARD_CHARS = 20_000, 3_000
    folder, out, engine = sys.argv[1:]
    Path(out).mkdir(exist_ok=True)
    print("begun", flush=True)
    config = Collect(steps=STEPS, mix={"order": "shuffled"}, engine=engine, workers=2)
    run(config, {"sources.0": fetch(folder, silent)}, Path(out), silent)
""".replace("STEPS", repr(STEPS))


@contextmanager
def in_a_process(tmp_path: Path, folder: Path, engine: str) -> Iterator[subprocess.Popen[str]]:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    command = [sys.executable, script, folder, tmp_path / engine, engine]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "begun\n"
        yield process


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["pool", "ray"])
def test_engines_are_equal(tmp_path, folder, engine, monkeypatch):
    if engine == "ray":
        pytest.importorskip("ray")
    with in_a_process(tmp_path, folder, engine) as process:
        assert process.wait() == 0
    monkeypatch.setattr(walk, "UNIT_BYTES", 20_000)
    one = collect(tmp_path / "one", folder, engine="one")
    assert contents(tmp_path / engine) == one


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["one", "pool"])
def test_killed_at_random_moments_it_goes_on(tmp_path, folder, monkeypatch, engine):
    """kill −9 again and again until a run comes through: the corpus is that of a run left alone."""
    chance, kills, ended = random.Random(2), 0, False
    while not ended:
        with in_a_process(tmp_path, folder, engine) as process:
            try:
                assert process.wait(timeout=chance.uniform(0.1, 0.6) * 1.4**kills) == 0
                ended = True
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                kills += 1
    assert kills
    small_pieces(monkeypatch)
    assert contents(tmp_path / engine) == collect(tmp_path / "alone", folder, engine="one")
