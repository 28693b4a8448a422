"""Requests whose form is being worked out. The first form of a large vocabulary takes seconds, and so may a large
schema: in a thread of its own neither keeps the engine from writing."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from hanlin.core.generate.requests import constraint
from hanlin.core.generate.text import Constraint, Ticket
from hanlin.core.model.pretrained import Pretrained

PATIENCE_SECONDS = 0.02
"""How long a step waits that has nothing else to do: so soon it sees what else is asked of the engine."""


@dataclass(frozen=True, eq=False)
class Pending:
    ticket: Ticket
    form: Future[Constraint | None]


class Forming:
    """In no order: each goes on when its own form is ready. known: by the adapters' names, whose stop tokens differ."""

    def __init__(self, known: Mapping[str, Pretrained]):
        self._known = known
        self._pending: list[Pending] = []
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hanlin-forms")

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, ticket: Ticket) -> None:
        loaded = self._known[ticket.adapter]
        self._pending.append(Pending(ticket, self._thread.submit(constraint, ticket.sampling, loaded)))

    def take_ready(self) -> list[Ticket]:
        """Those that may go on, with their constraints. One whose form can't be read has ended with the reason."""
        ready = [pending for pending in self._pending if pending.form.done()]
        self._pending = [pending for pending in self._pending if pending not in ready]
        for pending in ready:
            try:
                pending.ticket.constraint = pending.form.result()
            except Exception as error:
                pending.ticket.end(error)
        return [pending.ticket for pending in ready if not pending.ticket.done]

    def remove(self, ticket: Ticket) -> bool:
        """Forget one; False when it isn't here."""
        before = len(self._pending)
        for pending in self._pending:
            if pending.ticket is ticket:
                pending.form.cancel()
        self._pending = [pending for pending in self._pending if pending.ticket is not ticket]
        return len(self._pending) < before

    def wait(self) -> None:
        """A moment, or until one is ready."""
        wait([pending.form for pending in self._pending], PATIENCE_SECONDS, FIRST_COMPLETED)

    def close(self) -> None:
        for pending in list(self._pending):
            self.remove(pending.ticket)
            pending.ticket.end()
        self._thread.shutdown(wait=False)
