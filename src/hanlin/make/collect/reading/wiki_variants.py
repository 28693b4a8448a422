"""MediaWiki's language conversion markup, resolved to what a reader in Taiwan sees.

    -{zh-tw:資訊;zh-cn:信息}-      one of several          -{原文}-                 shown as it is
    -{A|zh-tw:資訊;zh-cn:信息}-    the same, and a rule for the whole page; H alone: only the rule
    {{NoteTA|1=zh-tw:資訊;zh-cn:信息}}                      rules for the whole page

https://www.mediawiki.org/wiki/Writing_systems/Syntax
"""

from __future__ import annotations

import re
from collections.abc import Iterable

TAIWAN = ("zh-tw", "zh-hant", "zh-hk", "zh-mo", "zh")
"""MediaWiki's own order of what stands in for zh-tw. After these comes whatever there is."""

MAX_DEPTH = 10
MAX_RULES = 1000

KEEP, END = "\ue000", "\ue001"
"""Around what the page's rules must not touch. Of the private use area; taken out of the text first."""

_TOKEN = re.compile(
    r"-\{(?!\{)|\}-|<(math|nowiki|pre|syntaxhighlight)\b[^>]*>.*?</\1>|<!--.*?-->", re.DOTALL | re.IGNORECASE
)
_BETWEEN = re.compile(r";(?=\s*(?:[^;:=]*=>\s*)?zh(?:-[a-z]+)?\s*:)", re.IGNORECASE)
_RULE = re.compile(
    r"\s*(?:(?P<only>[^=]*)=>)?\s*(?P<variant>zh(?:-[a-z]+)?)\s*:\s*(?P<value>.*?)[\s;]*", re.DOTALL | re.I
)
_FLAGS = re.compile(r"\s*(?:[ATRDHN+-]|zh(?:-[a-z]+)?)(?:\s*;\s*(?:[ATRDHN+-]|zh(?:-[a-z]+)?))*\s*;?\s*", re.IGNORECASE)

Rules = dict[str, str]


def resolve(text: str) -> tuple[str, Rules]:
    """The text without the markup, with KEEP and END around what it showed; and the rules for the whole page, from
    other wordings to Taiwan's. Unclosed markup stays as it is."""
    rules: Rules = {}
    open_parts: list[list[str]] = [[]]
    place = 0
    text = text.replace(KEEP, "").replace(END, "")
    for token in _TOKEN.finditer(text):
        open_parts[-1].append(text[place : token.start()])
        place = token.end()
        if token[0] == "-{" and len(open_parts) <= MAX_DEPTH:
            open_parts.append([])
        elif token[0] == "}-" and len(open_parts) > 1:
            shown = _shown("".join(open_parts.pop()), rules)
            open_parts[-1].append(shown if len(open_parts) > 1 else f"{KEEP}{shown}{END}" if shown else "")
        else:
            open_parts[-1].append(token[0])
    rest = text[place:]
    while len(open_parts) > 1:
        rest = f"-{{{''.join(open_parts.pop())}{rest}"
    return "".join(open_parts[0]) + rest, rules


def rules_of(text: str) -> Rules:
    """{other wording: Taiwan's} of rules as NoteTA and -{H|…}- write them."""
    values, one_way = _values(text)
    taiwan = values.get("zh-tw") or values.get("zh-hant")
    rules = {value: taiwan for value in values.values() if taiwan and value and value != taiwan}
    return rules | one_way


def apply(text: str, rules: Rules) -> tuple[str, int]:
    """The text in Taiwan's wording outside KEEP … END, whose marks go; and how many places were changed. Longer
    wordings go first, nothing is changed twice, and what is Taiwan's already stays."""
    rules = dict(list(rules.items())[:MAX_RULES])
    changed = 0

    def better(match: re.Match[str]) -> str:
        nonlocal changed
        if match["word"] is None:
            return match["settled"] or match["kept"] or ""
        changed += 1
        return rules[match["word"]]

    parts = f"{KEEP}(?P<kept>[^{END}]*){END}|(?P<settled>{_any(rules.values())})|(?P<word>{_any(rules)})"
    return re.sub(parts, better, text), changed


def _any(words: Iterable[str]) -> str:
    """A pattern for any of the words, the longest first; for none, one that never matches."""
    return "|".join(map(re.escape, sorted({word for word in words if word}, key=lambda w: (-len(w), w)))) or "(?!)"


def _shown(content: str, rules: Rules) -> str:
    flags, bar, body = content.partition("|")
    if not bar or not _FLAGS.fullmatch(flags):
        flags, body = "", content
    said = {flag.strip().upper() for flag in flags.split(";")}
    if said & {"A", "H", "+"}:
        rules.update(rules_of(body))
    if said & {"H", "T", "-", "N"}:
        return ""
    if "R" in said:
        return body
    values, _ = _values(body)
    if not values:
        return body
    return next((values[variant] for variant in TAIWAN if variant in values), next(iter(values.values())))


def _values(text: str) -> tuple[dict[str, str], Rules]:
    """({variant: wording}, {wording: Taiwan's} of the rules that go one way); nothing where the text is no rule."""
    values: dict[str, str] = {}
    one_way: Rules = {}
    for part in _BETWEEN.split(text):
        match = _RULE.fullmatch(part)
        if match is None:
            return {}, {}
        variant, value = match["variant"].lower(), match["value"]
        if match["only"] is None:
            values[variant] = value
        elif variant in ("zh-tw", "zh-hant") and match["only"].strip():
            one_way[match["only"].strip()] = value
    return values, one_way
