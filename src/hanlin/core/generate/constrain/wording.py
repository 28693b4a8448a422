"""wording=zh-TW: a reply's text put into Taiwan's words by OpenCC while it is being written (软件, 軟件 → 軟體).

OpenCC replaces the longest phrase that begins at a place, so a word can be converted only when it is known that no
longer phrase begins there. No phrase holds punctuation, blanks or small letters: at one of these, everything before it
is converted, and the result is that of the whole text. What is quoted (`quoted.py`) stays as it was written.
"""

from __future__ import annotations

import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

from hanlin.core.generate.constrain.quoted import Quoted
from hanlin.core.run.artifact import write_json
from hanlin.core.run.errors import HanlinError
from hanlin.core.text.script import ScriptCount, count_script

LONGEST_HELD = 64
"""Characters: of so many without punctuation the first are converted without waiting for it."""
LONGEST_PHRASE = 16
"""Characters, at least those of OpenCC's longest phrase (15)."""


class Wording:
    """Pieces of a text in, the same text in Taiwan's words out. Joined, it does not depend on the pieces.

    What is written in Traditional is given Taiwan's words but keeps its characters: OpenCC would read 里長 and 岳飛 as
    Simplified. The characters tell that only one script has, in the clause; where it has none, in the text so far.
    """

    def __init__(self) -> None:
        self._held = ""
        self._so_far = ScriptCount()
        self._quoted = Quoted()

    def push(self, text: str) -> str:
        return "".join(map(self._next, text))

    def finish(self) -> str:
        """The text still owed."""
        return self._release(len(self._held))

    def _next(self, character: str) -> str:
        if self._quoted.push(character) or not in_phrases(character):
            return self._release(len(self._held)) + character
        self._held += character
        return self._release(_cut(self._held)) if len(self._held) == LONGEST_HELD else ""

    def _release(self, length: int) -> str:
        """The first characters held, converted."""
        text, self._held = self._held[:length], self._held[length:]
        if not text:
            return ""
        count = count_script(text)
        self._so_far += count
        if count.simplified or count.traditional:
            traditional = not count.simplified
        else:
            traditional = self._so_far.traditional > self._so_far.simplified
        return _converter("t2twp" if traditional else "s2twp").convert(text)


def in_phrases(character: str) -> bool:
    """Whether a phrase of OpenCC may hold it: Han characters, and what stands in names and terms (SQL注入, B超, ·).

    Also what changes how a Han character is read: variation selectors and ideographic description (⿰亻為).
    """
    return (
        "㐀" <= character <= "\u9fff"
        or character >= "\U00020000"
        or "A" <= character <= "Z"
        or "\uf900" <= character <= "\ufaff"
        or "\ufe00" <= character <= "\ufe0f"
        or "⿰" <= character <= "\u2fff"
        or character in "〇·-"
    )


def _cut(text: str) -> int:
    """Where a long text without punctuation may be cut: no phrase stands across. A place is not too near the ends for
    one to be seen there."""
    convert = _converter("s2twp").convert
    whole = convert(text)
    places = range(len(text) - LONGEST_PHRASE, LONGEST_PHRASE, -1)
    return next((p for p in places if convert(text[:p]) + convert(text[p:]) == whole), places[0])


@lru_cache(maxsize=2)
def _converter(name: str) -> Any:
    """OpenCC's s2twp; or t2twp, which it has no file for: only the last step of s2twp, Taiwan's words and variants."""
    import opencc

    if name == "s2twp":
        return opencc.OpenCC(name)
    tables = ("TWPhrases.ocd2", "TWVariantsPhrases.ocd2", "TWVariants.ocd2")
    found = [next(Path(opencc.__file__).parent.rglob(table), None) for table in tables]
    if None in found:
        raise HanlinError(
            f"OpenCC comes without {tables[found.index(None)]}.",
            "the tables of Taiwan's words beside it",
            "pip install --force-reinstall opencc",
            "docs/constrain.md#wording",
        )
    dicts = [{"type": "ocd2", "file": str(path)} for path in found]
    group = {"type": "group", "match_policy": "short_circuit", "dicts": dicts}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "t2twp.json"
        write_json(file, {"name": name, "conversion_chain": [{"dict": group}]})
        return opencc.OpenCC(str(file))
