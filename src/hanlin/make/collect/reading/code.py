"""Source code: one file, one document of the type "code", with its programming language in its notes.

A file's language goes by its suffix alone, as GitHub's Linguist names it for the common ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from hanlin.core.text.documents import Row
from hanlin.make.collect.reading.reader import Reading

LANGUAGES = {
    ".py": "Python",
    ".pyi": "Python",
    ".js": "JavaScript",
    ".mjs": "JavaScript",
    ".jsx": "JavaScript",
    ".ts": "TypeScript",
    ".tsx": "TypeScript",
    ".c": "C",
    ".h": "C",
    ".cc": "C++",
    ".cpp": "C++",
    ".cxx": "C++",
    ".hpp": "C++",
    ".cu": "CUDA",
    ".rs": "Rust",
    ".go": "Go",
    ".java": "Java",
    ".kt": "Kotlin",
    ".scala": "Scala",
    ".swift": "Swift",
    ".cs": "C#",
    ".rb": "Ruby",
    ".php": "PHP",
    ".pl": "Perl",
    ".lua": "Lua",
    ".r": "R",
    ".jl": "Julia",
    ".hs": "Haskell",
    ".ml": "OCaml",
    ".ex": "Elixir",
    ".erl": "Erlang",
    ".clj": "Clojure",
    ".sh": "Shell",
    ".ps1": "PowerShell",
    ".sql": "SQL",
    ".vue": "Vue",
    ".dart": "Dart",
    ".zig": "Zig",
    ".tex": "TeX",
}
SUFFIXES = tuple(LANGUAGES)

MAX_BYTES = 2**20
"""Nobody writes a file of a MiB by hand: what is larger was generated."""


def read(path: Path, name: str, reading: Reading) -> Iterator[Row]:
    """The file as it is, cut where it is long. Binary files under such a name are rejected."""
    from hanlin.make.collect.reading import plain

    with path.open("rb") as file:
        head = file.read(8000)
    if b"\0" in head and not head.startswith((b"\xff\xfe", b"\xfe\xff")):
        yield reading.unreadable(name, "a binary file")
    elif path.stat().st_size > MAX_BYTES:
        yield reading.unreadable(name, f"over {MAX_BYTES // 2**20} MiB of code: generated")
    else:
        language = LANGUAGES[max((suffix for suffix in LANGUAGES if name.lower().endswith(suffix)), key=len)]
        for row in plain.read(path, name, reading):
            yield row if row.reason else replace(row, type="code", notes={**row.notes, "code": language})
