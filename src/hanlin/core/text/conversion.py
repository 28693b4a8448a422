"""Text of the other side, in characters and in wording: mainland → Taiwan, and back.

Simplified characters become those of Taiwan by OpenCC's phrases (https://github.com/BYVoid/OpenCC, Apache-2.0) and,
where these are wrong or not what Taiwan writes, by ours (characters.txt); then the words become Taiwan's (wording.txt).
Text that is Traditional already changes in its words alone: a 后 or 里 in it is meant.

The characters follow what is written every day and in laws today: 台 (not 臺), 裡, 群, 著, 污, 公布, 計畫, 週末, 占.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Literal

from hanlin.core.text.characters import to_traditional
from hanlin.core.text.phrases import Replace, opencc_replacer, replacer
from hanlin.core.text.protected import JOINT, hide, show
from hanlin.core.text.script import count_script, script_of, simplified_only
from hanlin.core.text.wording import When, is_about_computing, terms_said

Route = Literal["as it is", "words", "Simplified", "Simplified, on computing"]
"""What is done to a sentence."""

_SENTENCE = re.compile(r"[^。！？\n]*[。！？\n]+|[^。！？\n]+")
_KANA = re.compile(r"[\u3041-\u30fa]")


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
        """Texts are sorted into routes, whole or by sentences; those of one route are converted together."""
        computing = is_about_computing(texts) if self._words else [False] * len(texts)
        parts = [self._routed(text, topic) for text, topic in zip(texts, computing, strict=True)]
        routes: dict[Route, list[str]] = {}
        for route, part in itertools.chain.from_iterable(parts):
            routes.setdefault(route, []).append(part)
        converted = {
            route: iter(self._convert_along(route, JOINT.join(several)).split(JOINT))
            for route, several in routes.items()
        }
        return ["".join(next(converted[route]) for route, _ in several) for several in parts]

    def _routed(self, text: str, computing: bool) -> list[tuple[Route, str]]:
        """The text as one part, or by sentences where they differ: Simplified among others, on computing, Japanese."""
        count = count_script(text)
        simplified = self._simplified or count.script == "Hans"
        if not simplified and not count.simplified:
            return [("words", text)]
        if simplified and not computing and not _KANA.search(text):
            return [("Simplified", text)]
        sentences = _SENTENCE.findall(text)
        about = is_about_computing(sentences) if simplified and computing else [False] * len(sentences)
        return [self._sentence(sentence, simplified, topic) for sentence, topic in zip(sentences, about)]

    def _sentence(self, sentence: str, simplified: bool, computing: bool) -> tuple[Route, str]:
        if _KANA.search(sentence):
            return "as it is", sentence
        if simplified or script_of(sentence) == "Hans":
            return ("Simplified, on computing" if computing else "Simplified"), sentence
        return "words", _mended(sentence)

    def _convert_along(self, route: Route, text: str) -> str:
        if route == "as it is":
            return text
        if route != "words":
            text = to_traditional(text)
        return _terms(route)(text) if self._words else text


def _mended(sentence: str) -> str:
    """A Traditional sentence with each character that only Simplified Chinese uses replaced, and no other."""
    if not count_script(sentence).simplified:
        return sentence
    only = simplified_only()
    return "".join(
        after if before in only else before for before, after in zip(sentence, to_traditional(sentence), strict=True)
    )


@lru_cache
def _terms(route: Route) -> Replace:
    when: dict[Route, tuple[When, ...]] = {
        "words": ("always",),
        "Simplified": ("always", "simplified"),
        "Simplified, on computing": ("always", "simplified", "beside"),
    }
    return replacer(terms_said(when[route]))


@lru_cache(maxsize=1)
def _mainland() -> Replace:
    return opencc_replacer("tw2sp")
