"""Strings of programs in English and in Taiwan's Chinese, as `pip:homeassistant` keeps them (Apache-2.0): 18,468 pairs.

    homeassistant/components/axis/translations/en.json, zh-Hant.json    {"config": {"step": {"user": {"host": "Host"}}}}

A string is named by its path; those that both files have are a pair. Placeholders ({host}) are kept, and a pair that
lacks one on either side bears that reason. A pair that an earlier file has is left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from hanlin.core.text.documents import Row
from hanlin.make.collect.reading.reader import Reading

LEAST_PAIRS = 20
"""A folder with fewer translated files may be anything: it is read by suffixes, unless it holds nothing else."""

MAX_FILE_BYTES = 2**24
MAX_DEPTH = 40

_ENGLISH = "en.json"
_CHINESE = ("zh-Hant.json", "zh_Hant.json", "zh-TW.json", "zh_TW.json", "zh-hant.json", "zh-tw.json")
_PLACEHOLDER = re.compile(r"\{[^{}]*\}|%\w|%\(\w+\)\w")
_HAN = re.compile("[\u3400-\u9fff]")


def recognises(files: Mapping[str, Path]) -> set[str]:
    """The files of both languages that lie beside each other."""
    known = {name for pair in _pairs(files) for name in pair}
    return known if len(known) >= 2 * LEAST_PAIRS or known == set(files) else set()


def read(files: Mapping[str, Path], reading: Reading) -> Iterator[tuple[str, Row]]:
    """(the Chinese file's name, row) of every pair of strings that no earlier one equals."""
    seen: set[tuple[str, str]] = set()
    asked: set[str] = set()
    for english_name, chinese_name in _pairs(files):
        tables = _table(files[english_name]), _table(files[chinese_name])
        if broken := [
            (name, table) for name, table in zip((english_name, chinese_name), tables) if isinstance(table, str)
        ]:
            yield chinese_name, reading.unreadable(*broken[0])
            continue
        for path, english, chinese in _strings(*tables):
            if (english, chinese) in seen:
                continue
            seen.add((english, chinese))
            # One string may have several translations: a question has one reply, the first.
            facts = {"en": english, "zh": chinese, "ask_en": english not in asked, "ask_zh": chinese not in asked}
            asked |= {english, chinese}
            yield chinese_name, _row(f"{chinese_name}#{path}", facts)


def _row(row_id: str, facts: dict[str, Any]) -> Row:
    english, chinese = facts["en"], facts["zh"]
    reason = ""
    if not _HAN.search(chinese):
        reason = "not translated"
    elif sorted(_PLACEHOLDER.findall(english)) != sorted(_PLACEHOLDER.findall(chinese)):
        reason = "placeholders differ"
    group = " ".join(english.lower().split())
    return Row(row_id, f"{english}\n{chinese}", type="interface", group=group, reason=reason, notes={"facts": facts})


def _pairs(files: Mapping[str, Path]) -> Iterator[tuple[str, str]]:
    for name in files:
        folder = PurePosixPath(name)
        if folder.name == _ENGLISH:
            beside = (folder.with_name(other).as_posix() for other in _CHINESE)
            if found := next((other for other in beside if other in files), None):
                yield name, found


def _table(path: Path) -> dict[str, Any] | str:
    """The file's strings, or why it can't be read."""
    if path.stat().st_size > MAX_FILE_BYTES:
        return f"more than {MAX_FILE_BYTES / 2**20:.0f} MiB"
    try:
        table = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        return f"not JSON ({error})"
    return table if isinstance(table, dict) else "not a table of strings"


def _strings(english: Any, chinese: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, str, str]]:
    """(path, English, Chinese) of each string that both tables have at the same path."""
    if isinstance(english, dict) and isinstance(chinese, dict) and depth < MAX_DEPTH:
        for key, part in english.items():
            if key in chinese:
                yield from _strings(part, chinese[key], f"{path}.{key}".lstrip("."), depth + 1)
    elif isinstance(english, str) and isinstance(chinese, str) and english.strip() and chinese.strip():
        yield path, english.strip(), chinese.strip()
