"""What a builder is: a module of this folder that makes conversations or preferences from rows that hold the answer.

    TAKES: tuple[str, ...]                                      the types of rows it can use (Row.type)
    def build(source: Source) -> Iterator[Row]                  rows made of one; raises Nothing with the reason

No reply is invented: every word of it stands in the source. Questions come from templates; which one is a pure function
of (seed, builder, row), so that equal inputs make equal rows in any process. A builder that calls a model is one as
well: rows in, rows out.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any, TypeVar

from hanlin.core.text.documents import Row

Choice = TypeVar("Choice")


class Nothing(Exception):
    """Why nothing can be built of a row."""


@dataclass(frozen=True)
class Source:
    """One row to build from. name: of the builder. before: another row of the same type, where there was one."""

    name: str
    row: Row
    seed: int
    before: Row | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """What the reader knows of the row. Raises Nothing where the row comes from another reader."""
        facts = self.row.notes.get("facts")
        if not isinstance(facts, dict):
            raise Nothing("its parts are not known")
        return facts

    def number(self, most: int, purpose: str = "") -> int:
        """A number from 0 to most − 1, always the same for this builder, row and purpose."""
        digest = hashlib.sha256(f"{self.seed}\0{self.name}\0{self.row.id}\0{purpose}".encode()).digest()
        return int.from_bytes(digest[:8], "big") % most

    def pick(self, choices: Sequence[Choice], purpose: str = "") -> Choice:
        return choices[self.number(len(choices), purpose)]

    def chat(self, question: str, reply: str, part: str = "") -> Row:
        """A conversation made of the row. part: names it, where several are made of one row."""
        return self._built(part, messages=(_said("user", question), _said("assistant", reply)))

    def preference(self, question: str, chosen: str, rejected: str, part: str = "") -> Row:
        return self._built(
            part,
            messages=(_said("user", question),),
            chosen=(_said("assistant", chosen),),
            rejected=(_said("assistant", rejected),),
        )

    def _built(self, part: str, **conversation: Any) -> Row:
        row_id = f"{self.row.id}/{self.name}" + (f"-{part}" if part else "")
        notes = {"build": {"from": self.row.id}}
        return replace(self.row, id=row_id, text="", type=self.name, notes=notes, **conversation)


def builder(name: str) -> ModuleType:
    return importlib.import_module(f"{__package__}.{name}")


def _said(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}
