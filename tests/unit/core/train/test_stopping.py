"""Ctrl-C lets a step end; of several processes, those that are left say why they stop."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist

from hanlin.core.run.errors import HanlinError
from hanlin.core.train import stopping as module
from hanlin.core.train.stopping import interruptible, telling_why


def handlers() -> list[Any]:
    return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


def be(monkeypatch: pytest.MonkeyPatch, rank: int, world: int = 2, port: int = 29500) -> None:
    monkeypatch.setenv("RANK", str(rank))
    monkeypatch.setenv("WORLD_SIZE", str(world))
    monkeypatch.setenv("MASTER_PORT", str(port))


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# Ctrl-C.


def test_the_first_ctrl_c_asks_and_the_second_stops() -> None:
    before = handlers()
    with pytest.raises(KeyboardInterrupt), interruptible() as asked:
        assert not asked.is_set()
        signal.raise_signal(signal.SIGINT)
        assert asked.is_set()
        signal.raise_signal(signal.SIGINT)
    assert handlers() == before


@pytest.mark.parametrize("world", [1, 2])
def test_handlers_are_as_before_afterwards(monkeypatch: pytest.MonkeyPatch, world: int) -> None:
    be(monkeypatch, 0, world)
    before = handlers()
    with interruptible():
        assert (handlers()[1] is before[1]) == (world == 1)
    assert handlers() == before


def test_one_of_several_outlives_torchruns_signal_to_say_why(monkeypatch: pytest.MonkeyPatch) -> None:
    be(monkeypatch, 1)
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(RuntimeError, match="peer"), interruptible():
            signal.raise_signal(signal.SIGTERM)
            raise RuntimeError("Connection closed by peer")
        signal.raise_signal(signal.SIGTERM)  # still: the reason is printed after the loop
    finally:
        signal.signal(signal.SIGTERM, before)


def test_another_thread_leaves_signals_alone() -> None:
    before, seen = handlers(), []

    def work() -> None:
        with interruptible() as asked:
            seen.append((handlers() == before, asked.is_set()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(True, False)]


# Several processes.


@pytest.mark.parametrize("error", [ValueError("x"), RuntimeError("closed by peer"), KeyboardInterrupt()])
def test_one_process_alone_leaves_and_looks_for_nothing(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)) as raised, telling_why(tmp_path):
        raise error
    assert raised.value is error and left_in(tmp_path) == []


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (HanlinError("The loss is nan at step 3.", "b", "c"), "The loss is nan at step 3."),
        (MemoryError("no memory\nat all"), "MemoryError: no memory"),
        (RuntimeError("shapes differ"), "RuntimeError: shapes differ"),
    ],
)
@pytest.mark.parametrize("lost", [RuntimeError("[gloo] Connection closed by peer"), dist.DistNetworkError("gone")])
def test_the_others_stop_with_the_reason_of_the_one_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str, lost: Exception
) -> None:
    be(monkeypatch, 1)
    with pytest.raises(type(error)) as own, telling_why(tmp_path):
        raise error
    assert own.value is error
    be(monkeypatch, 0)
    with pytest.raises(HanlinError) as raised, telling_why(tmp_path):
        raise lost
    assert raised.value.what == f"Process 1 of 2 stopped: {reason}"
    assert "goes on from the last checkpoint" in raised.value.do


def test_one_that_vanished_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LAST_WORDS_SECONDS", 0.05)
    be(monkeypatch, 1)
    with pytest.raises(HanlinError, match="vanished without a word") as raised, telling_why(tmp_path):
        raise RuntimeError("Connection reset by peer\nException raised from recvBytes")
    assert "Connection reset by peer" in raised.value.what and "recvBytes" not in raised.value.what


def test_a_reason_that_comes_late_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    be(monkeypatch, 0)
    slow = threading.Timer(0.2, module._reason_file(tmp_path, 1).write_text, ["no disk space left"])
    slow.start()
    with pytest.raises(HanlinError, match="Process 1 of 2 stopped: no disk space left"), telling_why(tmp_path):
        raise RuntimeError("Broken pipe")
    slow.join()


def test_ctrl_c_is_no_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    be(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt), telling_why(tmp_path):
        raise KeyboardInterrupt
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("world", [1, 2])
def test_what_an_earlier_launch_left_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, world: int) -> None:
    """Also by a process that goes on alone: the folder will be sealed, and an old reason would mislead."""
    be(monkeypatch, 1)
    with pytest.raises(ValueError), telling_why(tmp_path):
        raise ValueError("broken row")
    assert len(left_in(tmp_path)) == 1
    be(monkeypatch, 0, world, port=29501)
    with telling_why(tmp_path):
        assert left_in(tmp_path) == []
