"""Exact duplicates: the first of several rows that say the same stays. Equal is equal sha256; white space counts as one
blank, roles and tool calls count."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from hanlin.core.text.documents import Row
from hanlin.make.collect.steps.step import Context, Findings, StepOptions, Survey


class Exact(StepOptions):
    """Drop rows that say exactly what an earlier row says."""

    step: Literal["exact"] = "exact"


def make(options: Exact, context: Context) -> ExactDuplicates:
    return ExactDuplicates()


class ExactDuplicates(Survey):
    def look(self, rows: list[Row]) -> Findings:
        digests = np.frombuffer(b"".join(map(digest, rows)), dtype="S16") if rows else np.empty(0, "S16")
        return {"digest": digests, "id": np.array([row.id for row in rows], dtype=np.str_)}

    def decide(self, looks: Sequence[Findings]) -> Iterator[Findings]:
        """first: the id of the earlier row that says the same, "" for the first."""
        seen: dict[bytes, str] = {}
        for look in looks:
            digests, ids = look["digest"].tolist(), look["id"].tolist()
            earlier = [seen.setdefault(digest, name) for digest, name in zip(digests, ids)]
            yield {"first": np.array(["" if a == b else a for a, b in zip(earlier, ids)], dtype=np.str_)}

    def apply(self, rows: list[Row], verdict: Findings) -> Iterable[Row]:
        for row, first in zip(rows, verdict["first"].tolist(), strict=True):
            yield replace(row, reason=f"duplicate: {first}") if first else row


def digest(row: Row) -> bytes:
    """16 bytes of the sha256 of all that the row says; white space counts as one blank."""
    parts = [_said(message) for message in (*row.messages, *row.chosen, *row.rejected)] or [row.text]
    if row.chosen or row.rejected:
        parts.append(f"{len(row.messages)} {len(row.chosen)}")
    return hashlib.sha256("\0".join(" ".join(part.split()) for part in parts).encode()).digest()[:16]


def _said(message: dict[str, Any]) -> str:
    more = {name: value for name, value in message.items() if name not in ("role", "content")}
    return f"{message['role']}\0{message['content']}" + (json.dumps(more, sort_keys=True) if more else "")
