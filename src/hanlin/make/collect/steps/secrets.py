"""Secrets: keys, tokens, passwords in code, logs and letters are masked, or the row is dropped. See
core/text/personal/credentials.py for what counts. Notes hold counts, never a secret."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from hanlin.core.text.documents import Row
from hanlin.core.text.personal.credentials import find_credentials
from hanlin.make.collect.options.sensitive import Secrets
from hanlin.make.collect.steps.personal import cover, spoken, with_spoken
from hanlin.make.collect.steps.step import Context, RowStep


def make(options: Secrets, context: Context) -> RowStep:
    kinds = frozenset(options.kinds)

    def step(rows: list[Row]) -> Iterable[Row]:
        for row in rows:
            texts = spoken(row)
            found = [[m for m in find_credentials(text, options.min_entropy) if m.kind in kinds] for text in texts]
            counts = Counter(match.kind for matches in found for match in matches)
            if not counts:
                yield row
                continue
            row = replace(row, notes={**row.notes, options.step: dict(sorted(counts.items()))})
            if options.action == "note":
                yield row
                continue
            masked = [cover(text, matches, lambda match, _: f"[{match.kind}]") for text, matches in zip(texts, found)]
            reason = f"secrets: {', '.join(sorted(counts))}" if options.action == "drop" else ""
            yield replace(with_spoken(row, masked), reason=reason)

    return step
