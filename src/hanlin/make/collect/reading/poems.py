"""Tang and Song poems as `npm:chinese-poetry` packs them (dist/quantangshi): 311,855 in Traditional characters.

    poet.tang.0.json … poet.song.254000.json   [{title, author, paragraphs: ["白玉誰家郎，回車渡天津。", …], id}]

The package's other parts (宋詞, 元曲, 詩經, 楚辭, 論語) are Simplified and left out, as are its folders error and rank.
Editors' notes in brackets, signs for lost characters and lists of titles are no poems; such rows bear that reason.
Old and Simplified characters left among the others (爲, 牀, 来) are written as Taiwan writes them (為, 床, 來),
one by one: words stay, since 信息 is no 資訊 in a poem of the Song.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from hanlin.core.run.errors import HanlinError
from hanlin.core.text.characters import to_traditional, to_variants
from hanlin.core.text.documents import Row
from hanlin.core.text.script import simplified_only
from hanlin.make.collect.reading.reader import Reading

FILES_STAND_ALONE = True

MAX_FILE_BYTES = 2**26

DYNASTIES = {"tang": "唐", "song": "宋"}

_NAME = re.compile(r"poet\.(tang|song)\.\d+\.json")
_LOST = re.compile("[□●○]")
_EDITED = re.compile(r"[（）()\[\]〔〕〖〗{}=/…·0-9]|按：|詩題：")
_LINE_END = re.compile("[，。？！；：、]+")
_PRINTED = "臺溼"
"""Poems keep these where everyday writing has 台 and 濕."""

_QUOTATION = re.compile("[「」『』《》〈〉]")
_FORMS = {4: "絕句", 8: "律詩"}
_COUNTS = {3: "三", 4: "四", 5: "五", 6: "六", 7: "七"}


def recognises(files: Mapping[str, Path]) -> set[str]:
    """The Traditional poems among a folder's files (or the single one), by their names."""
    return {
        name
        for name in files
        if _NAME.fullmatch(PurePosixPath(name).name) and not {"error", "rank"} & set(PurePosixPath(name).parts)
    }


def read(files: Mapping[str, Path], reading: Reading) -> Iterator[tuple[str, Row]]:
    """(file name, row) of every poem: title, author and verses, with what is known of it in notes."""
    for name, path in files.items():
        named = _NAME.fullmatch(PurePosixPath(name).name)
        assert named is not None
        poems = _poems(path)
        if isinstance(poems, str):
            yield name, reading.unreadable(name, poems)
            continue
        for place, poem in enumerate(poems, start=1):
            row_id = f"{name}[{place}]"
            if not _is_poem(poem):
                yield name, reading.wrong(_other_layout(f"{path}, object {place}"), row_id)
                continue
            yield name, _row(poem, row_id, DYNASTIES[named.group(1)])


def verses_of(text: str) -> list[str]:
    """The verses of a poem without its punctuation: 白玉誰家郎，回車渡天津。 → [白玉誰家郎, 回車渡天津]."""
    return [verse for verse in _LINE_END.split(_QUOTATION.sub("", "".join(text.split()))) if verse]


def form_of(text: str) -> str:
    """七言絕句, 五言律詩, 五言詩, 雜言詩, by counting alone: an old-style poem of eight verses counts as 律詩."""
    verses = verses_of(text)
    lengths = {len(verse) for verse in verses}
    length = lengths.pop() if len(lengths) == 1 else 0
    if length not in _COUNTS or len(verses) % 2:
        return "雜言詩"
    kind = _FORMS.get(len(verses), "詩") if length in (5, 6, 7) else "詩"
    return f"{_COUNTS[length]}言{kind}"


def _row(poem: Mapping[str, Any], row_id: str, dynasty: str) -> Row:
    forms = _taiwan_forms()
    title, author = (" ".join(poem[key].translate(forms).split()) for key in ("title", "author"))
    body = "\n".join(line.strip() for line in poem["paragraphs"] if line.strip()).translate(forms)
    reason = "not a poem: signs of lost characters" if _LOST.search(body) else ""
    reason = reason or ("not a poem: editors' notes" if _EDITED.search(body) else "")
    notes = {"poem": {"form": form_of(body), "dynasty": dynasty}, "facts": {"title": title, "author": author}}
    text = f"{title}\n{author}\n\n{body}" if body else ""
    return Row(row_id, text, type="poem", group=str(poem.get("id") or row_id), reason=reason, notes=notes)


@lru_cache
def _taiwan_forms() -> dict[int, str]:
    """Characters that Taiwan writes in another way: old forms, and those that only Simplified Chinese uses."""
    simplified = "".join(sorted(simplified_only()))
    forms = dict(zip(map(ord, simplified), to_traditional("\n".join(simplified)).split("\n"), strict=True))
    traditional = "".join(
        chr(code) for code in range(0x3400, 0xA000) if code not in forms and chr(code) not in _PRINTED
    )
    return forms | {ord(old): new for old, new in zip(traditional, to_variants(traditional), strict=True) if old != new}


def _poems(path: Path) -> list[Any] | str:
    """The file's objects, or why it can't be read."""
    if path.stat().st_size > MAX_FILE_BYTES:
        return f"{path.stat().st_size / 2**20:,.0f} MiB, at most {MAX_FILE_BYTES / 2**20:.0f} MiB were expected"
    try:
        poems = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        return f"not JSON ({error})"
    return poems if isinstance(poems, list) else "not a list of poems"


def _is_poem(poem: Any) -> bool:
    return (
        isinstance(poem, dict)
        and all(isinstance(poem.get(key), str) for key in ("title", "author"))
        and isinstance(poem.get("paragraphs"), list)
        and all(isinstance(line, str) for line in poem["paragraphs"])
    )


def _other_layout(place: str) -> HanlinError:
    return HanlinError(
        f"{place}: not laid out as chinese-poetry's poems are.",
        '{"title": …, "author": …, "paragraphs": ["…", …]}',
        "if it is your own file, give it another name",
        "src/hanlin/make/collect/README.md",
    )
