"""`hanlin show data`: rows of a corpus, or of any file that collect reads, as they are and as training counts them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from heapq import nsmallest
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from hanlin.core.run.config import Config, build
from hanlin.core.run.errors import HanlinError, did_you_mean

PAGE = "src/hanlin/make/collect/README.md"

MOST_NAMES = 5000
"""Ids that are compared with a misspelt one."""


class Data(Config):
    """Which rows, and how they are shown."""

    split: Literal["train", "heldout", "rejected"] | None = Field(
        None, description="train, heldout or rejected. Default: train; rejected where reason= is given"
    )
    n: int = Field(5, ge=1, description="rows that are shown")
    start: int | None = Field(None, ge=1, description="the rows from this one on, in their order, instead of a draw")
    seed: int | None = Field(
        None, description="draws other rows. Default: 0; of files that are no corpus yet, the first rows are shown"
    )
    reason: str = Field("", description="rows dropped for this reason, as report.md names it: reason=duplicate")
    id: str = Field("", description="the row with this id, whatever its split")
    tokenizer: str = Field("", description="a tokenizer's folder: what training counts is coloured, tokens are counted")
    model: str = Field("", description="the same with a model's own tokenizer and chat template")
    chars: int = Field(1000, ge=0, description="most characters of each text; 0 shows all of it")


@dataclass(frozen=True)
class Shown:
    """A row with its number among those asked for (0 where nobody has counted)."""

    number: int
    row: Any


@dataclass(frozen=True)
class Picked:
    """rows: to show. among: how many there were to choose from (None: nobody has counted). what: they are, in words."""

    rows: Iterable[Shown]
    among: int | None
    what: str


def show_data(
    path: str, values: Mapping[str, Any], show: Callable[[Iterable[str]], None], width: int, colours: bool
) -> None:
    """Print rows. Raises HanlinError for what holds no rows, and for rows that are not there."""
    from hanlin.shows.rows import Look, lines_of

    asked = build(Data, values, "show data")
    look = Look(width, colours, asked.chars, _tokenizer(asked))
    picked = pick(path, asked)
    number = 0
    for shown in picked.rows:
        show(lines_of(shown.row, f"{shown.number:,}" if shown.number else "", look))
        number += 1
    among = f" of {picked.among:,}:" if picked.among is not None else ""
    show([f"{number:,}{among} {picked.what}"])


def pick(path: str, asked: Data) -> Picked:
    """The rows that are asked for."""
    if asked.reason and asked.split in ("train", "heldout"):
        raise HanlinError(
            f"Rows of {asked.split} were kept: none has a reason.",
            "reason= alone, or with split=rejected",
            f"hanlin show data {path} reason={asked.reason}",
            PAGE,
        )
    files = _corpus_files(path)
    if files is None:
        return _pick_read(path, asked)
    from hanlin.shows.stored import pick_stored

    return pick_stored(path, files, asked)


def _corpus_files(path: str) -> Callable[[str], list[Path]] | None:
    """Finds the Parquet files of a split; None where `path` is no corpus."""
    from hanlin.core.run.artifact import is_artifact, open_artifact
    from hanlin.core.text.documents import SPLITS, split_files

    folder = Path(path)
    if is_artifact(folder):
        open_artifact(folder, ("corpus",), verify=False)
    elif not folder.is_dir() or not _has_our_columns([file for s in SPLITS for file in folder.glob(f"{s}*.parquet")]):
        return None
    return lambda split: split_files(folder, split)  # type: ignore[arg-type]


def _has_our_columns(files: list[Path]) -> bool:
    """Whether these are files of a corpus: data sets of others have a train-00000.parquet too."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return bool(files) and {"id", "text", "messages", "reason"} <= set(pq.read_schema(files[0]).names)
    except (pa.ArrowException, OSError):
        return False


def _pick_read(path: str, asked: Data) -> Picked:
    """Rows of files that are no corpus yet, as collect reads them."""
    if asked.split == "heldout":
        raise HanlinError(
            f"{path} is no corpus: nothing is held out of it yet.",
            "a corpus, as hanlin collect writes it",
            f"hanlin collect sources={path} out=runs/corpus",
            PAGE,
        )
    rows = (Shown(number, row) for number, row in enumerate(_read(path), start=1))
    dropped = bool(asked.reason) or asked.split == "rejected"
    seen: dict[str, None] = {}

    def fits(row: Any) -> bool:
        seen.setdefault(row.id if asked.id else row.reason.partition(":")[0])
        if asked.id:
            return row.id == asked.id
        if asked.split or asked.reason:
            return bool(row.reason) == dropped and row.reason.startswith(asked.reason)
        return True

    fitting = (shown for shown in rows if fits(shown.row))
    if asked.seed is not None:
        from hanlin.make.collect.report.samples import draw_key

        seed = asked.seed
        drawn = nsmallest(asked.n, fitting, key=lambda shown: (draw_key(seed, shown.row.id), shown.number))
        found = sorted(drawn, key=lambda shown: shown.number)
    else:
        found = list(islice(fitting, (asked.start or 1) - 1, (asked.start or 1) - 1 + (1 if asked.id else asked.n)))
    if not found:
        raise nothing_there(path, asked, list(islice(filter(None, seen), MOST_NAMES)))
    rows_or_row = "row" if len(found) == 1 else "rows"
    return Picked(found, None, f"{rows_or_row} of {path}, as collect reads them")


def _read(path: str) -> Iterator[Any]:
    from hanlin.core.run.artifact import Artifact
    from hanlin.core.run.events import silent
    from hanlin.core.run.sources import fetch
    from hanlin.make.collect.config import Collect
    from hanlin.make.collect.intake import take_in
    from hanlin.make.collect.reading.reader import Reading
    from hanlin.make.collect.reading.walk import plan, read_unit

    place = Path(path)
    if place.exists():
        source = Artifact(place, "source", "", address=path)
    elif ":" in path:
        source = fetch(path, silent)
    else:
        raise _missing(place)
    config = Collect(bad="skip")
    sources, units = plan([source])
    for unit in units:
        for row in read_unit(unit, sources[0], Reading(config)):
            yield take_in(row, config.min_chars)


def chosen_places(asked: Data, among: int) -> list[int]:
    """Numbers (from 0) of the rows to show, of so many: from `start` on, or a draw, in their order."""
    if asked.start is not None:
        return list(range(asked.start - 1, min(among, asked.start - 1 + asked.n)))
    return sorted(random.Random(asked.seed or 0).sample(range(among), min(asked.n, among)))


def nothing_there(path: str, asked: Data, known: list[str]) -> HanlinError:
    """known: ids or reasons that there are."""
    if asked.id or asked.reason:
        name, word = ("id", asked.id) if asked.id else ("reason", asked.reason)
        near = did_you_mean(word, known) if known else "a corpus that has some"
        expected = near if len(near) < 300 else "one that report.md names"
        return HanlinError(f'{path} has no row with {name} "{word}".', expected, f"hanlin show data {path}", PAGE)
    where = f" from row {asked.start:,} on" if asked.start else ""
    split = f" of {asked.split}" if asked.split else ""
    return HanlinError(
        f"{path} has no rows{split}{where}.", "at least one row", f"hanlin show data {path} split=train", PAGE
    )


def _missing(place: Path) -> HanlinError:
    try:
        beside = [str(place.parent / other.name) for other in place.parent.iterdir() if not other.name.startswith(".")]
    except OSError:
        beside = []
    near = did_you_mean(str(place), beside) if beside else ""
    return HanlinError(
        f"{place} does not exist.",
        near if near.startswith("did you") else "a corpus, or a file or folder that collect reads",
        "hanlin collect sources=my_folder/ out=runs/corpus",
        PAGE,
    )


def _tokenizer(asked: Data) -> Any:
    if not asked.tokenizer and not asked.model:
        return None
    if asked.tokenizer and asked.model:
        raise HanlinError(
            "Both tokenizer= and model= are given.", "one of them", "leave one out: a model has its tokenizer", PAGE
        )
    from hanlin.core.text.chat import chat_tokenizer
    from hanlin.core.text.tokenizer import load_tokenizer

    if asked.tokenizer:
        return chat_tokenizer(load_tokenizer(Path(asked.tokenizer)))
    from hanlin.core.model.opening import open_source

    return chat_tokenizer(open_source(asked.model).tokenizer)
