"""A form that takes long keeps nobody else waiting."""

from __future__ import annotations

from pathlib import Path
from threading import Event

import pytest

from hanlin.core.generate import forming, requests
from hanlin.core.generate.engine import Engine
from hanlin.core.generate.sampling import GREEDY
from hanlin.core.model.pretrained import Pretrained, load
from hanlin.core.run.errors import HanlinError

SHORT = GREEDY.model_copy(update={"max_tokens": 4})
CHOICE = SHORT.model_copy(update={"choices": ("集會",)})


@pytest.fixture(scope="module")
def loaded(tiny_model_folder: Path) -> Pretrained:
    return load(tiny_model_folder)


@pytest.fixture
def may_form(monkeypatch: pytest.MonkeyPatch) -> Event:
    """Forms are worked out once it is set."""
    event = Event()

    def slow(*arguments):
        assert event.wait(30)
        return requests.constraint(*arguments)

    monkeypatch.setattr(forming, "constraint", slow)
    return event


def test_others_are_written_meanwhile(loaded: Pretrained, may_form: Event) -> None:
    engine = Engine(loaded)
    formed, free = engine.submit([5, 6, 7], CHOICE), engine.submit([5, 6], SHORT)
    while not free.done:
        engine.step()
    engine.step()
    assert not formed.done and engine.busy
    may_form.set()
    while engine.busy:
        engine.step()
    assert "".join(piece.text for piece in formed.pieces) == "集會"
    engine.close()


def test_one_that_is_cancelled_is_forgotten(loaded: Pretrained, may_form: Event) -> None:
    engine = Engine(loaded)
    tickets = [engine.submit([5, 6, 7], CHOICE) for _ in range(3)]
    for ticket in tickets:
        engine.cancel(ticket)
    assert not engine.busy
    may_form.set()
    engine.close()


def test_closing_ends_it(loaded: Pretrained, may_form: Event) -> None:
    engine = Engine(loaded)
    ticket = engine.submit([5, 6, 7], CHOICE)
    engine.close()
    assert ticket.done and not engine.busy
    may_form.set()


def test_a_form_that_can_not_be_read_is_its_requests_own_trouble(loaded: Pretrained) -> None:
    engine = Engine(loaded)
    bad, good = engine.submit([5], SHORT.model_copy(update={"regex": "("})), engine.submit([5], SHORT)
    while engine.busy:
        engine.step()
    assert isinstance(bad.error, HanlinError) and good.error is None
    engine.close()
