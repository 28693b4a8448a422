"""Exact duplicates: the first of several rows that say the same stays. Equal is equal sha256; white space counts as one
blank, roles and tool calls count.

Memory: about 150 bytes a row while it decides; 16 bytes a row of `against`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hanlin.core.run.events import Emit
from hanlin.core.text.documents import Row
from hanlin.make.collect.options.repetition import Exact
from hanlin.make.collect.steps.matching import others
from hanlin.make.collect.steps.matching.names import names_of
from hanlin.make.collect.steps.step import Context, Findings, Survey


def make(options: Exact, context: Context) -> ExactDuplicates:
    return ExactDuplicates(context.work)


def prepare(options: Exact, context: Context, emit: Emit) -> None:
    """The digests of the rows of `against`, sorted, and their ids."""
    if not others.has(context, "against"):
        return
    digests, ids = [], []
    for row in others.rows_of(context, "against"):
        digests.append(digest(row))
        ids.append(row.id.encode())
    order = np.argsort(found := np.frombuffer(b"".join(digests), "S16"), kind="stable")
    np.save(context.work / "digests.npy", found[order])
    np.save(context.work / "ids.npy", np.array(ids, dtype=np.bytes_)[order])
    emit("note", text=f"exact: compared with {len(ids)} rows of the input against.")


class ExactDuplicates(Survey):
    def __init__(self, work: Path):
        self.work = work

    def look(self, rows: list[Row]) -> Findings:
        digests = np.frombuffer(b"".join(map(digest, rows)), dtype="S16") if rows else np.empty(0, "S16")
        return {"digest": digests, "id": np.array([row.id for row in rows], dtype=np.str_)}

    def decide(self, looks: Sequence[Findings]) -> Iterator[Findings]:
        """first: the id of the row of `against`, else of the earlier row, that says the same; "" for the first."""
        known, names = self._against()
        earlier = _first_alike(np.concatenate([look["digest"] for look in looks] or [np.empty(0, "S16")]))
        repeated = np.flatnonzero(earlier != np.arange(len(earlier)))
        ids = names_of(looks, np.unique(earlier[repeated]))
        place = 0
        for look in looks:
            end = place + len(look["digest"])
            first = [""] * (end - place)
            for i in repeated[np.searchsorted(repeated, place) : np.searchsorted(repeated, end)].tolist():
                first[i - place] = ids[int(earlier[i])]
            if len(known):
                places = np.minimum(np.searchsorted(known, look["digest"]), len(known) - 1)
                for i in np.flatnonzero(known[places] == look["digest"]).tolist():
                    first[i] = names[places[i]].decode()
            place = end
            yield {"first": np.array(first, dtype=np.str_)}

    def _against(self) -> tuple[np.ndarray, np.ndarray]:
        """Digests in rising order, and the ids that belong to them, both left on the disk."""
        if not (self.work / "ids.npy").exists():
            return np.empty(0, "S16"), np.empty(0, np.bytes_)
        return np.load(self.work / "digests.npy", mmap_mode="r"), np.load(self.work / "ids.npy", mmap_mode="r")

    def apply(self, rows: list[Row], verdict: Findings) -> Iterable[Row]:
        for row, first in zip(rows, verdict["first"].tolist(), strict=True):
            yield replace(row, reason=f"duplicate: {first}") if first else row


def _first_alike(digests: np.ndarray) -> np.ndarray:
    """For each row the place of the first one with its digest; 40 bytes a row meanwhile."""
    order = np.argsort(digests, kind="stable")
    ordered = digests[order]
    begins = np.ones(len(order), bool)
    begins[1:] = ordered[1:] != ordered[:-1]
    first = np.empty(len(order), np.int64)
    first[order] = order[np.maximum.accumulate(np.where(begins, np.arange(len(order)), 0))]
    return first


def digest(row: Row) -> bytes:
    """16 bytes of the sha256 of all that the row says; white space counts as one blank."""
    parts = [_said(message) for message in row.all_messages] if row.kind != "text" else [row.text]
    if row.chosen or row.rejected:
        parts.append(f"{len(row.messages)} {len(row.chosen)}")
    return hashlib.sha256("\0".join(" ".join(part.split()) for part in parts).encode()).digest()[:16]


def _said(message: dict[str, Any]) -> str:
    more = {name: value for name, value in message.items() if name not in ("role", "content")}
    return f"{message['role']}\0{message['content']}" + (json.dumps(more, sort_keys=True) if more else "")
