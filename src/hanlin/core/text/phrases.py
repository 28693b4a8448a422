"""OpenCC with dictionaries of our own beside its own: longest match from the left, in C++.

OpenCC (https://github.com/BYVoid/OpenCC, Apache-2.0) reads a configuration file; ours is written for the moment of
loading it. Of two dictionaries that know a phrase, the one named first decides; a longer phrase beats both.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

Replace = Callable[[str], str]


def replacer(own: Mapping[str, str], opencc_dictionaries: Iterable[str] = ()) -> Replace:
    """Replaces the phrases of `own`, and of OpenCC's dictionaries of these names (STPhrases, STCharacters, …)."""
    shelf = _shelf()
    dictionaries = [{"type": "ocd2", "file": str(shelf / f"{name}.ocd2")} for name in opencc_dictionaries]
    # The first entry keeps a dictionary without phrases valid; it replaces nothing.
    entries = {"\u0001": "\u0001", **{phrase: other for phrase, other in own.items() if phrase and other}}
    group = {"type": "group", "match_policy": "union", "dicts": [{"type": "inline", "entries": entries}, *dictionaries]}
    return _load({"name": "hanlin", "conversion_chain": [{"dict": group}]})


def opencc_replacer(conversion: str) -> Replace:
    """One of OpenCC's own conversions: s2t, t2tw, tw2sp, …"""
    import opencc

    return opencc.OpenCC(conversion).convert  # type: ignore[no-any-return]


def _load(configuration: object) -> Replace:
    import opencc

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hanlin.json"
        path.write_text(json.dumps(configuration, ensure_ascii=False), encoding="utf-8")
        return opencc.OpenCC(str(path)).convert  # type: ignore[no-any-return]


def _shelf() -> Path:
    import opencc

    return Path(opencc.__file__).parent / "clib" / "share" / "opencc"
