"""The certificate of resume: what it runs, what it proves, and what it says where resume is not exact."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import certified_work as works
import pytest

from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import silent
from hanlin.core.train.certificate import CERTIFICATE_FILE, STEPS, certify, shortened
from hanlin.make.pretrain.config import Pretrain

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX systems")


class Heard(list[dict[str, Any]]):
    def __call__(self, kind: str, **fields: Any) -> None:
        self.append({"event": kind, **fields})


def test_an_exact_run_is_certified(tmp_path: Path) -> None:
    heard = Heard()
    certificate = certify(works.exact, works.config(), {}, tmp_path, heard)
    assert certificate["steps"] == 12 and len(certificate["killed_after_steps"]) == 2
    first, second = certificate["killed_after_steps"]
    assert 1 <= first <= second <= 12
    assert len(certificate["weights_sha256"]) == 64
    assert [event["done"] for event in heard if event["event"] == "progress"] == [0, 1, 2, 3]
    assert heard[-1]["event"] == "certified" and heard[-1]["weights_sha256"] == certificate["weights_sha256"]
    assert [path.name for path in tmp_path.iterdir()] == [CERTIFICATE_FILE]


def test_it_is_made_once(tmp_path: Path) -> None:
    """What interrupts the run after it does not make it again."""
    made = {"steps": 3, "killed_after_steps": [1, 2], "weights_sha256": "ab"}
    (tmp_path / CERTIFICATE_FILE).write_text(json.dumps(made), encoding="utf-8")
    assert certify(works.broken, works.config(), {}, tmp_path, silent) == made


def test_the_step_that_differs_is_named(tmp_path: Path) -> None:
    with pytest.raises(HanlinError, match=r"Resume is not exact on this machine \(step \d+: loss [\d.]+ undisturbed"):
        certify(works.forgetful, works.config(), {}, tmp_path, silent)
    assert not (tmp_path / CERTIFICATE_FILE).exists()


def test_weights_that_differ_are_named(tmp_path: Path) -> None:
    with pytest.raises(HanlinError, match=r"the losses are equal, model\.safetensors is not"):
        certify(works.with_other_weights, works.config(), {}, tmp_path, silent)


def test_a_run_that_ends_too_soon_is_killed_all_the_same(tmp_path: Path) -> None:
    first, second = certify(works.quick, works.config(), {}, tmp_path, silent)["killed_after_steps"]
    assert 1 <= first <= second <= 12


def test_what_the_work_refuses_is_refused_in_its_own_words(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(HanlinError) as raised:
        certify(works.refused, works.config(), {}, tmp_path, silent)
    error = raised.value
    assert [error.what, error.expected, error.do, error.more] == [
        "talk.jsonl:3 is broken.",
        "JSON",
        "mend it",
        "docs/runs.md",
    ]
    assert capfd.readouterr().err == ""


def test_a_run_that_fails_is_told_with_its_last_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(HanlinError, match="ended with code 1: RuntimeError: shapes differ") as raised:
        certify(works.broken, works.config(), {}, tmp_path, silent)
    log = Path(raised.value.do.partition("read ")[2].partition(",")[0])
    assert "Traceback" in log.read_text(encoding="utf-8") and capfd.readouterr().err == ""
    certify(works.exact, works.config(), {}, tmp_path, silent)  # what was left is no hindrance


def test_several_processes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(HanlinError, match="torchrun started 2"):
        certify(works.exact, works.config(), {}, tmp_path, silent)
    assert list(tmp_path.iterdir()) == []


@posix
def test_ctrl_c_ends_the_run_that_certifies(tmp_path: Path) -> None:
    file = tmp_path / "certificate" / "whole" / works.PID_FILE

    def interrupt() -> None:
        wait_for(lambda: file.exists() and file.read_text())
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        certify(works.endless, works.config(), {}, tmp_path, silent)
    thread.join()
    wait_for(lambda: is_gone(int(file.read_text())))


@posix
def test_a_kill_of_the_command_ends_the_run_that_certifies(tmp_path: Path) -> None:
    """Nothing is left that would write into the folder of the next try."""
    code = "import sys; sys.path[:0] = {path!r}; from pathlib import Path; import certified_work as works\n"
    code += "from hanlin.core.train.certificate import certify\n"
    code += "certify(works.endless, works.config(), {{}}, Path({folder!r}), lambda *a, **b: None)"
    code = code.format(path=[str(Path(works.__file__).parent)], folder=str(tmp_path))
    file = tmp_path / "certificate" / "whole" / works.PID_FILE
    with subprocess.Popen([sys.executable, "-c", code]) as command:
        wait_for(lambda: file.exists() and file.read_text())
        command.kill()
    wait_for(lambda: is_gone(int(file.read_text())))


def wait_for(condition: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "State:\tZ" in status.read_text(encoding="utf-8")


def test_the_same_work_for_a_few_steps() -> None:
    """With a checkpoint after each, whatever ends the long run; everything else stays."""
    for end in ({"minutes": 30}, {"steps": 500}, {"tokens": 10**6}):
        config = Pretrain(train={**end, "optimizer": "lion", "batch_rows": 3}, certify=True)
        short = shortened(config)
        assert (short.certify, short.train.steps, short.train.checkpoint_seconds) == (False, STEPS, 0)
        assert (short.train.minutes, short.train.tokens) == (None, None)
        assert (short.train.optimizer, short.train.batch_rows, short.model) == ("lion", 3, config.model)
        assert config.certify
