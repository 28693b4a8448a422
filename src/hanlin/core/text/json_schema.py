"""JSON schemas as llguidance takes them, and how the JSON of a reply is spaced."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

JSON_OPTIONS = {"whitespace_flexible": False, "item_separator": ", ?", "key_separator": ": ?"}
"""One space may follow a comma or a colon, and no other blank stands between values. Where any whitespace is allowed a
small model can go on writing it for ever, each blank making the next one likelier. Without that one space, `": "` and
`, `, which models have read everywhere and most vocabularies have as tokens, would be forbidden."""

URI_MARKS = "!#$%&'()*+,/:;=?@[]~"


def with_ascii_refs(part: Any) -> Any:
    """llguidance takes a `$ref` as a URI by the letter, where 城市 is %E5%9F%8E…; validators take either."""
    if isinstance(part, list):
        return [with_ascii_refs(inner) for inner in part]
    if not isinstance(part, dict):
        return part
    return {
        key: quote(value, safe=URI_MARKS) if key == "$ref" and isinstance(value, str) else with_ascii_refs(value)
        for key, value in part.items()
    }
