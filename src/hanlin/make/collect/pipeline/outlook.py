"""What has to be known of all shards before any of them is written: looked for as each leaves the last stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hanlin.core.run.artifact import Artifact
from hanlin.core.text.documents import Row
from hanlin.make.collect.config import Collect
from hanlin.make.collect.heldout import Assignment
from hanlin.make.collect.pipeline.ordering import some_keys


def outlook(rows: Sequence[Row], config: Collect, inputs: Mapping[str, Artifact]) -> dict[str, Any]:
    """Of a shard's kept rows, by kind: the first one, their characters, the outermost groups, the size of what is for
    training, and some of the keys its rows will be ordered by. JSON."""
    kinds: dict[str, list[Row]] = {}
    for row in rows:
        kinds.setdefault(row.kind, []).append(row)
    seen: dict[str, Any] = {"first": {}, "characters": {}, "ends": {}, "sizes": {}, "keys": {}}
    for kind, rows in kinds.items():
        assignment = Assignment(config.seed, config.heldout_share)
        assignment.note_groups(rows)
        seen["first"][kind] = rows[0].id
        seen["characters"][kind] = sum(row.characters for row in rows)
        seen["ends"][kind] = assignment.ends
        measured = is_measured(config, inputs)
        orders = config.mix.order != "as_read"
        training = [row for row in rows if assignment.split_of(row) == "train"] if measured or orders else []
        if measured:
            seen["sizes"][kind] = sum(map(_measure(inputs), training))
        if orders:
            seen["keys"][kind] = some_keys(training, config).tolist()
    return seen


def is_measured(config: Collect, inputs: Mapping[str, Artifact]) -> bool:
    """Whether the sources' sizes are wanted: to mix them, or because a tokenizer is there to count with."""
    return config.mix.changes_amounts or "tokenizer" in inputs


def _measure(inputs: Mapping[str, Artifact]) -> Callable[[Row], int]:
    """A row's size: in tokens under the given tokenizer, else in characters."""
    if "tokenizer" not in inputs:
        return lambda row: row.characters
    from hanlin.core.text.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(inputs["tokenizer"].path)
    return lambda row: len(tokenizer.encode(row.content))
