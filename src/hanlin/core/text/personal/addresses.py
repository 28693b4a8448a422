"""Addresses (Ministry of the Interior, 門牌編釘): 縣市, 鄉鎮市區, 村里, 鄰, 路街, 段, 巷, 弄, 號, 之, 樓, 室.

Only what leads to a door is one: it ends in a number and 號. The number is found first, then what stands before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from hanlin.core.text.personal.match import Match

COUNTY = (
    "(?:[臺台](?:北|中|南|東)[市縣]|新北市|桃園[市縣]|基隆市|新竹[市縣]|嘉義[市縣]|高雄[市縣]|苗栗縣|彰化縣|南投縣|雲林縣|屏東縣|宜蘭縣"
    "|花蓮縣|澎湖縣|金門縣|連江縣)"
)
_HAN = "[\u4e00-\u9fff]"
_NUMBER = "(?:[0-9]{1,4}|[〇零○一二三四五六七八九十百千]{1,6})"
_PART = "[0-9〇零○一二三四五六七八九十]{1,3}"
_TOWN = f"(?:{_HAN}{{1,3}}?[區鄉鎮市])"
_NOT_ROAD = (
    "(?![在於住到往從向是為位址近及與或號過走沿著對的了我你他她它這那條以行]"
    "|和(?!平)|至(?!善|誠|德|真|聖)|(?<!自)由|經(?!國|貿|建))"
)
"""Begins no road's name in running text: 我住在|忠孝東路."""
_ROAD = f"(?:(?:{_NOT_ROAD}{_HAN}){{1,5}}?(?:大道|(?<![公鐵道線電網馬])路|街)(?![路街]))"
_ANY_ROAD = f"(?:{_HAN}{{1,5}}?(?:大道|(?<![公鐵道線電網馬])路|街)(?![路街]))"
_INSIDE = (
    f"(?: ?{_PART} ?鄰)?(?: ?{_ANY_ROAD})?(?: ?{_PART} ?段)?(?: ?(?:{_NUMBER}|{_HAN}{{2,4}}) ?巷)?(?: ?{_NUMBER} ?弄)?"
    f"(?: ?{_NUMBER} ?衖)?"
)
_DOOR = re.compile(f"(?P<unit>大道|[路街段巷弄衖鄰村里]) ?(?:臨)?(?P<number>{_NUMBER}(?: ?[之-] ?{_PART})?) ?號")
_FLOOR = f"(?:(?:地下 ?)?[Bb]?{_PART}|地下) ?(?:樓|[Ff](?![A-Za-z]))(?: ?[之-] ?{_PART})?"
_TAIL = re.compile(f"(?: ?之 ?{_PART})?(?:[ ,、]?{_FLOOR})?(?:[ ,]?[A-Za-z]?[0-9]{{1,4}}[A-Za-z]? ?室)?")
_WITH_COUNTY = re.compile(
    rf"(?:[(]?[0-9]{{3}}(?:[0-9]{{2,3}})?[)]? ?)?{COUNTY} ?{_TOWN}?(?: ?{_HAN}{{1,3}}?[里村])?{_INSIDE}\Z"
)
_WITH_TOWN = re.compile(rf"(?:{_NOT_ROAD}{_HAN}){{1,3}}?[區鄉鎮市](?: ?{_HAN}{{1,3}}?[里村])?{_INSIDE}\Z")
_ROAD_ALONE = re.compile(rf"{_ROAD}(?: ?{_PART} ?段)?(?: ?{_NUMBER} ?巷)?(?: ?{_NUMBER} ?弄)?\Z")
_PLACE_AND_DOOR = re.compile(
    rf"{COUNTY} ?{_TOWN} ?{_HAN}{{1,3}}?[里村](?: ?{_PART} ?鄰)?(?: ?{_HAN}{{1,4}}?) ?"
    rf"{_NUMBER}(?: ?[之-] ?{_PART})? ?號"
)
_REACH = 44


def addresses(text: str) -> Iterator[Match]:
    """The surest reading of what stands before each door: with a county, a township, or a road alone."""
    for found in _DOOR.finditer(text):
        begin, end = max(0, found.start() - _REACH), found.end("unit")
        for pattern, confidence in ((_WITH_COUNTY, 0.95), (_WITH_TOWN, 0.8), (_ROAD_ALONE, 0.6)):
            if before := pattern.search(text, begin, end):
                yield Match("address", before.start(), _TAIL.match(text, found.end()).end(), confidence)  # type: ignore[union-attr]
                break
    for found in _PLACE_AND_DOOR.finditer(text):
        yield Match("address", found.start(), _TAIL.match(text, found.end()).end(), 0.85)  # type: ignore[union-attr]
