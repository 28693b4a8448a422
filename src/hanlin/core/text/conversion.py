"""Text of the other side, in characters and in wording: mainland → Taiwan, and back.

Simplified characters become those of Taiwan by OpenCC's phrases (https://github.com/BYVoid/OpenCC, Apache-2.0) and,
where these are wrong or not what Taiwan writes, by ours (characters.txt); then the words become Taiwan's (wording.txt).
Text that is Traditional already changes in its words alone: a 后 or 里 in it is meant.

The characters follow what is written every day and in laws today: 台 (not 臺), 裡, 群, 著, 污, 公布, 計畫, 週末, 占.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from hanlin.core.text.characters import to_traditional
from hanlin.core.text.phrases import Replace, opencc_replacer, replacer
from hanlin.core.text.protected import JOINT, hide, show
from hanlin.core.text.script import count_script, script_of, simplified_only
from hanlin.core.text.wording import When, is_about_computing, terms_said

Route = tuple[bool, bool]
"""How a line is converted: (is it Simplified, is it about computing)."""


def to_taiwan(text: str) -> str:
    """Taiwan's characters and words, of a text that is Simplified: 软件 → 軟體. Code, addresses and paths stay."""
    return TaiwanConverter(quotations=False, simplified=True).convert([text])[0]


def to_mainland(text: str) -> str:
    """Simplified characters, and the mainland's words: 軟體 → 软件."""
    return _mainland()(text)


class TaiwanConverter:
    """Converts many texts at once, which is faster: about 20 MB a second.

    keep_names: strings that stay as they are, wherever they stand
    quotations: leave alone what stands in 「」, 『』 or “”
    words: also the mainland's words; False: characters alone
    simplified: the texts are known to be Simplified; else characters tell it (里面 alone has none that tells)
    """

    def __init__(
        self, keep_names: Iterable[str] = (), *, quotations: bool = True, words: bool = True, simplified: bool = False
    ):
        self._names = tuple(dict.fromkeys(name for name in keep_names if name))
        self._quotations = quotations
        self._words = words
        self._simplified = simplified

    def convert(self, texts: Sequence[str]) -> list[str]:
        hidden = [hide(text, quotations=self._quotations, names=self._names) for text in texts]
        skeletons = self._convert_skeletons([skeleton for skeleton, _ in hidden])
        return [show(skeleton, spans) for skeleton, (_, spans) in zip(skeletons, hidden, strict=True)]

    def _convert_skeletons(self, texts: list[str]) -> list[str]:
        """Texts are sorted into routes, whole or line by line; those of one route are converted together."""
        lines = [self._routed(text, computing) for text, computing in zip(texts, is_about_computing(texts))]
        routes: dict[Route, list[str]] = {}
        for parts in lines:
            for route, line in parts:
                routes.setdefault(route, []).append(line)
        converted = {
            route: iter(self._convert_along(route, JOINT.join(parts)).split(JOINT)) for route, parts in routes.items()
        }
        return ["\n".join(next(converted[route]) for route, _ in parts) for parts in lines]

    def _routed(self, text: str, computing: bool) -> list[tuple[Route, str]]:
        """The text as one part, or by lines where they differ: some Simplified among others, some about computing."""
        count = count_script(text)
        simplified = self._simplified or count.script == "Hans"
        whole = simplified or not count.simplified
        if whole and not (computing and self._words):
            return [((simplified, False), text)]
        parts = text.split("\n")
        about = is_about_computing(parts) if computing and self._words else [False] * len(parts)
        if whole:
            return [((simplified, topic), part) for topic, part in zip(about, parts)]
        return [
            ((script_of(part) == "Hans", topic), part if script_of(part) == "Hans" else _mended(part))
            for topic, part in zip(about, parts)
        ]

    def _convert_along(self, route: Route, text: str) -> str:
        simplified, computing = route
        if simplified:
            text = to_traditional(text)
        return _terms(simplified, computing)(text) if self._words else text


def _mended(line: str) -> str:
    """A Traditional line with each character that only Simplified Chinese uses replaced, and no other."""
    converted = to_traditional(line)
    if len(converted) != len(line):
        return line
    only = simplified_only()
    return "".join(after if before in only else before for before, after in zip(line, converted))


@lru_cache
def _terms(simplified: bool, computing: bool) -> Replace:
    when: list[When] = ["always"]
    if simplified:
        when.append("simplified")
    if computing:
        when.append("beside")
    return replacer(terms_said(when))


@lru_cache(maxsize=1)
def _mainland() -> Replace:
    return opencc_replacer("tw2sp")
