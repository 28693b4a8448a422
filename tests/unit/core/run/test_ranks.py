"""Which process this is, from what torchrun puts into the environment."""

from __future__ import annotations

import pytest

from hanlin.core.run.ranks import is_first, launch, rank, world_size

NAMES = ("RANK", "WORLD_SIZE", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "MASTER_ADDR", "MASTER_PORT")


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def test_without_torchrun_it_is_the_only_one() -> None:
    assert (rank(), world_size(), is_first()) == (0, 1, True)


@pytest.mark.parametrize("number", [0, 1, 3])
def test_torchrun_numbers_its_processes(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setenv("RANK", str(number))
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert (rank(), world_size(), is_first()) == (number, 4, number == 0)


def test_a_launch_has_a_name_of_its_own_which_its_processes_share(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"TORCHELASTIC_RUN_ID": "none", "TORCHELASTIC_RESTART_COUNT": "0"}
    values |= {"MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}

    def name(number: int, **changed: str) -> str:
        for key, value in {**values, "RANK": str(number), "WORLD_SIZE": "2", **changed}.items():
            monkeypatch.setenv(key, value)
        return launch()

    assert name(0) == name(1)
    changes = [{}, {"TORCHELASTIC_RESTART_COUNT": "1"}, {"MASTER_PORT": "29501"}, {"TORCHELASTIC_RUN_ID": "b"}]
    assert len({name(0, **change) for change in changes}) == len(changes)
