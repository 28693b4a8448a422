"""Which encoding a file's bytes are in, and their text: UTF-8, UTF-16, Big5 (cp950, with Hong Kong's characters),
GB18030, and the older ones of Japan and Korea.

Valid UTF-8 is UTF-8. Other bytes are read in each encoding, and the text that people are most likely to have written
wins: Σ log P(character), where P knows some 400 frequent characters of Chinese, the first levels of Big5 and GB 2312,
punctuation, kana, frequent Hangul, and that everything else is rare. All readings are of equal bytes, so the sums
compare directly (Bayes with equal priors). Where none is likely, or two are, the file is refused: nothing is ever read
as something it may not be.

Lines that hold a few broken bytes are left out and named; a file in which they are many is refused with the places.
"""

from __future__ import annotations

import codecs
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from hanlin.core.run.errors import HanlinError

MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
NAMES = {
    "utf-8": "UTF-8",
    "utf-8-sig": "UTF-8",
    "utf-16": "UTF-16",
    "utf-32": "UTF-32",
    "utf-16-le": "UTF-16 (little-endian, without a mark)",
    "utf-16-be": "UTF-16 (big-endian, without a mark)",
    "cp950": "Big5 (cp950)",
    "big5hkscs": "Big5-HKSCS",
    "gb18030": "GB18030",
    "cp949": "EUC-KR (cp949)",
    "euc_jp": "EUC-JP",
    "cp932": "Shift JIS (cp932)",
}
MAX_BROKEN_SHARE = 0.02
"""Share of a file's bytes whose lines may be left out."""

MAX_LINE_BYTES = 64 * 2**20
"""Of a file that is read line by line."""

_BY_LINES = ("utf-8", "cp950", "big5hkscs", "gb18030", "cp949", "euc_jp", "cp932")
"""Encodings in which the byte 0x0A is always a line end."""

_SAMPLE_BYTES = 1 << 18
_CLEAR_NATS = 9.0
"""The likeliest encoding must be e⁹ ≈ 8,000 times likelier than the next."""

_LEAST_MEAN_NATS = -9.85
"""Mean log P of the non-ASCII characters: text lies at −7.5 … −9, text in a wrong encoding below −10."""

_NATS_OF_BROKEN_BYTE = -7.0
"""Of every byte in a line that can't be decoded: about what two bytes of a character cost that is not rare."""

_UTF16_NUL_SHARE = 0.1
"""Valid UTF-8 with more NUL bytes than this may be UTF-16: every second byte of English in it is one."""

_FREQUENT = (
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然家种事成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实"
    "日军者意无力它与长把机十民第公此已工使情明性知全三又关点正业外将两高间由问很最重并物手应战向头文体政美相见被利什二等产或新己制身果加西斯月话合回特代内信表化老给世位次度门任常先海通教儿原东声提立及比员"
    "解水名真论处走义各入几口认条平系气题活尔更别打女变四神总何电数安少报才结反受目太量再感建务做接必场件计管期市直德资命山金指克许统区保至队形社便空决治展马科司五基眼书非则听白却界达光放强即像难且权思王象"
    "完设式色路记南品住告类求据程北边死张该交规万取拉格望觉术领共确传师观清今切院让识候带导争运台湾吗吧呢啊请谢您课华佢哋喺嘅啲嘢唔咗嚟冇咁嗰乜咩睇俾"
)
_FREQUENT_HANGUL = (
    "이다는에의고가을지한하로기사도를리인은자대어시해정서그나수있스아니것들보으라만일전부과주제여국상와원게장안공었"
    "구성연동조치세적경신관회화방면내없러유생금민선중교용요학실명우때거말할된되며간행모든"
)
_PUNCTUATION = "，。、；：？！（）「」『』《》〈〉【】…—－　·‧．～“”‘’％─│├┤┼┬┴┌┐└┘"
# What the characters of each kind have of all text, and how many they are.
_SHARES = {
    "ascii": (0.20, 60),
    "frequent": (0.32, 600),
    "punctuation": (0.08, 40),
    "common": (0.17, 6500),
    "kana": (0.05, 180),
    "hangul": (0.02, 2350),
    "frequent hangul": (0.10, 130),
    "letters": (0.01, 500),
    "rare": (0.0099, 25_000),
    "strange": (0.0001, 1_000_000),
}
_NATS = {kind: math.log(share / number) for kind, (share, number) in _SHARES.items()}


@dataclass(frozen=True)
class Broken:
    """A line that is not text in the file's encoding: its number, and the first wrong byte, counted in the file."""

    line: int
    byte: int
    value: int

    def __str__(self) -> str:
        return f"line {self.line}, byte {self.byte} (0x{self.value:02x})"


@dataclass(frozen=True)
class Decoded:
    """encoding: Python's name of it. broken: lines that are left out of the text."""

    text: str
    encoding: str
    broken: tuple[Broken, ...] = ()

    @property
    def remark(self) -> str:
        """What people should know about how the file was read; "" for plain UTF-8."""
        parts = [said] if (said := remark_on(self.encoding)) else []
        if self.broken:
            parts.append(f"left out {_places(self.broken)}: not {NAMES[self.encoding]}")
        return "; ".join(parts)


def decode(data: bytes, place: str) -> Decoded:
    """The text of a whole file. Raises HanlinError with line and byte; `place` names the file there."""
    encoding = detect(data, place)
    if encoding not in _BY_LINES:
        try:
            return Decoded(data.decode(encoding), encoding)
        except UnicodeDecodeError as error:
            raise _refused(place, Broken(1, error.start, data[error.start]), encoding) from None
    try:
        return Decoded(data.decode(encoding), encoding)
    except UnicodeDecodeError:
        return _by_lines(data, encoding, place)


def detect(data: bytes, place: str) -> str:
    """Python's name of the encoding. Raises HanlinError where no encoding, or more than one, is likely."""
    for mark, encoding in MARKS:
        if data.startswith(mark):
            return "utf-8-sig" if encoding == "utf-8-sig" and _is_utf8(data) else encoding.removesuffix("-sig")
    is_utf8 = _is_utf8(data)
    if is_utf8 and data.count(0) < _UTF16_NUL_SHARE * len(data) and not _is_scant(data):
        return "utf-8"
    sample = _sample(data)
    found = sorted((_Reading.of(sample, encoding) for encoding in _candidates(data, is_utf8)), key=lambda r: -r.nats)
    best = found[0]
    if is_utf8 and best.encoding in _BY_LINES and best.mean_nats < _LEAST_MEAN_NATS:
        return "utf-8"
    others = [other for other in found[1:] if not (best.is_big5 and other.is_big5)]
    if best.mean_nats < _LEAST_MEAN_NATS:
        raise _refused(place, _first_broken(data, "utf-8"), "utf-8")
    if others and best.nats - others[0].nats < _CLEAR_NATS:
        raise _ambiguous(place, best.encoding, others[0].encoding)
    return best.encoding


def encoding_of(path: Path, place: str) -> str:
    """The encoding of a large file, by its beginning. Raises HanlinError as `detect` does."""
    with path.open("rb") as file:
        head = file.read(_SAMPLE_BYTES)
    if len(head) == _SAMPLE_BYTES:
        head = head[: head.rfind(b"\n") + 1] or head
    return detect(head, place)


def lines_of(path: Path, place: str, encoding: str, wrong: Callable[[HanlinError, int], None]) -> Iterator[str]:
    """The lines of a large file with their ends, decoded one by one. `wrong` is told of those that are not text in the
    encoding, with their number. Raises HanlinError for a line without end."""
    with path.open("rb") as file:
        if encoding not in _BY_LINES and encoding != "utf-8-sig":
            yield from decode(file.read(), place).text.splitlines(keepends=True)
            return
        offset, number = 0, 0
        while line := file.readline(MAX_LINE_BYTES):
            number += 1
            if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
                raise _endless(place, number)
            try:
                yield line.removeprefix(codecs.BOM_UTF8 if number == 1 else b"").decode(encoding)
            except UnicodeDecodeError as error:
                broken = Broken(number, offset + error.start, line[error.start])
                wrong(_refused(place, broken, encoding, ", as the file's beginning is"), number)
            offset += len(line)


def remark_on(encoding: str) -> str:
    return "" if encoding in ("utf-8", "utf-8-sig") else f"read as {NAMES[encoding]}, not UTF-8"


def not_text(place: str, data: bytes, error: UnicodeDecodeError, expected: str) -> HanlinError:
    """`place` names the file and the line; the byte counts from the beginning of `data`."""
    return HanlinError(
        f"{place}: byte {error.start} (0x{data[error.start]:02x}) is not {error.encoding}.",
        expected,
        "iconv -f GB18030 -t UTF-8 FILE > converted.txt  (with the encoding the file was saved in)",
        "src/hanlin/make/collect/README.md",
    )


def mean_nats(text: str) -> float:
    """Mean log P of the characters beyond ASCII; 0 where there are none."""
    counts = Counter(character for character in text if character >= "\x80")
    return _nats(counts) / total if (total := counts.total()) else 0.0


@dataclass(frozen=True)
class _Reading:
    """A sample, read in one encoding. nats: log P of all bytes; mean_nats: of a character beyond ASCII."""

    encoding: str
    nats: float
    mean_nats: float

    @property
    def is_big5(self) -> bool:
        return self.encoding in ("cp950", "big5hkscs")

    @classmethod
    def of(cls, sample: bytes, encoding: str) -> _Reading:
        good, broken = [], 0
        for line in sample.splitlines(keepends=True) if encoding in _BY_LINES else (sample,):
            try:
                good.append(codecs.getincrementaldecoder(encoding)().decode(line, final=False))
            except UnicodeDecodeError:
                broken += len(line)
        text = "".join(good)
        beyond_ascii = mean_nats(text)
        nats = _nats(Counter(text)) + broken * _NATS_OF_BROKEN_BYTE
        if encoding in ("euc_jp", "cp932") and not any("\u3041" <= character < "\u30ff" for character in text):
            nats = -math.inf  # Japanese has kana; without, it is Chinese misread.
        # What is all ASCII once it is decoded is likely enough, unless nothing could be decoded.
        return cls(encoding, nats, beyond_ascii if text.strip("\x00\n\r ") else -math.inf)


def _candidates(data: bytes, is_utf8: bool) -> tuple[str, ...]:
    if is_utf8 and b"\x00" not in data:
        return ("utf-8", "cp950", "gb18030")
    return (*_BY_LINES, "utf-16-le", "utf-16-be") if len(data) % 2 == 0 else _BY_LINES


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _is_scant(data: bytes) -> bool:
    """Whether so few characters of two bytes stand between ASCII that they may be Chinese in another encoding.

    Not where each stands alone (é in café), and not where all of them are Latin-1's signs (a blank that doesn't break,
    ·, ©): Chinese characters come together, and seldom all from one row of the table.
    """
    runs = re.findall(rb"[\x80-\xff]+", data[:10_000])
    beyond = b"".join(runs)
    is_few = 0 < len(beyond) <= 16 and max(beyond) < 0xE0
    return is_few and max(map(len, runs)) >= 4 and set(beyond[::2]) != {0xC2}


def _sample(data: bytes) -> bytes:
    """The file, or of a large one so much from its lines beyond ASCII that the encoding shows."""
    if len(data) <= _SAMPLE_BYTES:
        return data
    if b"\x00" in data[:4096]:
        return data[:_SAMPLE_BYTES]
    lines, size = [], 0
    for line in data.splitlines(keepends=True):
        if not line.isascii():
            lines.append(line[:_SAMPLE_BYTES])
            size += len(lines[-1])
        if size >= _SAMPLE_BYTES:
            break
    return b"".join(lines)[:_SAMPLE_BYTES]


def _by_lines(data: bytes, encoding: str, place: str) -> Decoded:
    lines, broken, lost, offset = [], [], 0, 0
    for number, line in enumerate(data.split(b"\n"), start=1):
        try:
            lines.append(line.decode(encoding))
        except UnicodeDecodeError as error:
            broken.append(Broken(number, offset + error.start, line[error.start]))
            lost += len(line)
        offset += len(line) + 1
    if lost > 0.75 * len(data):
        raise _refused(place, broken[0], encoding)
    if lost > MAX_BROKEN_SHARE * len(data):
        raise _mixed(place, data, encoding, tuple(broken))
    return Decoded("\n".join(lines).removeprefix("\ufeff"), encoding, tuple(broken))


def _first_broken(data: bytes, encoding: str) -> Broken:
    try:
        data.decode(encoding)
    except UnicodeDecodeError as error:
        return Broken(data.count(b"\n", 0, error.start) + 1, error.start, data[error.start])
    byte = max(0, data.find(b"\x00"))
    return Broken(data.count(b"\n", 0, byte) + 1, byte, data[byte] if data else 0)


def _nats(counts: Counter[str]) -> float:
    nats = _nats_of()
    return sum(number * (nats.get(character) or _unlisted(character)) for character, number in counts.items())


@lru_cache
def _nats_of() -> dict[str, float]:
    """log P of the characters that are listed."""
    import opencc

    level_one = [
        bytes((lead, trail)) for lead in range(0xA4, 0xC7) for trail in (*range(0x40, 0x7F), *range(0xA1, 0xFF))
    ]
    level_one_gb = [bytes((lead, trail)) for lead in range(0xB0, 0xD8) for trail in range(0xA1, 0xFF)]
    table = dict.fromkeys(b"".join(level_one).decode("cp950", "ignore"), _NATS["common"])
    table |= dict.fromkeys(b"".join(level_one_gb).decode("gb2312", "ignore"), _NATS["common"])
    table |= dict.fromkeys((*map(chr, range(0x20, 0x7F)), "\n", "\r", "\t"), _NATS["ascii"])
    table |= dict.fromkeys(_FREQUENT + opencc.OpenCC("s2t").convert(_FREQUENT), _NATS["frequent"])
    table |= dict.fromkeys(_FREQUENT_HANGUL, _NATS["frequent hangul"])
    return table | dict.fromkeys(_PUNCTUATION, _NATS["punctuation"])


def _unlisted(character: str) -> float:
    code = ord(character)
    if 0x4E00 <= code < 0xA000 or 0x3400 <= code < 0x4DC0 or 0x20000 <= code < 0x323B0:
        return _NATS["rare"]
    if 0xAC00 <= code < 0xD7A4:
        return _NATS["hangul"]
    if 0x3041 <= code < 0x30FF:
        return _NATS["kana"]
    # Bopomofo, full-width letters and digits, Greek, Cyrillic, accented Latin, arrows and circled numbers.
    ranges = (
        (0x3105, 0x312F),
        (0xFF01, 0xFF5E),
        (0xA1, 0x180),
        (0x386, 0x460),
        (0x2010, 0x2040),
        (0x2190, 0x2200),
        (0x2460, 0x2600),
    )
    return _NATS["letters"] if any(low <= code <= high for low, high in ranges) else _NATS["strange"]


def _places(broken: tuple[Broken, ...]) -> str:
    more = f" and {len(broken) - 3} more lines" if len(broken) > 3 else ""
    return ", ".join(map(str, broken[:3])) + more


def _mixed(place: str, data: bytes, encoding: str, broken: tuple[Broken, ...]) -> HanlinError:
    lines = data.split(b"\n")
    rest = b"\n".join(lines[b.line - 1] for b in broken)
    try:
        other = detect(rest, place)
    except HanlinError:
        other = ""
    also = f", which read as {NAMES[other]}" if other and other != encoding else ""
    return HanlinError(
        f"{place}: mostly {NAMES[encoding]}, but {len(broken)} of {len(lines)} lines are not{also}: {_places(broken)}.",
        "text in one encoding",
        "save the file again from where it came, or convert its parts one by one with iconv",
        "src/hanlin/make/collect/README.md",
    )


def _refused(
    place: str, broken: Broken, encoding: str, more: str = ", and no other encoding makes likely text of it"
) -> HanlinError:
    return HanlinError(
        f"{place}, {broken} is not {NAMES[encoding]}{more}.",
        "text in UTF-8, UTF-16, Big5 or GB18030",
        "iconv -f ENCODING -t UTF-8 FILE > converted.txt  (with the encoding the file was saved in)",
        "src/hanlin/make/collect/README.md",
    )


def _endless(place: str, line: int) -> HanlinError:
    return HanlinError(
        f"{place}, line {line}: over {MAX_LINE_BYTES // 2**20} MiB in one line.",
        "text in lines, at least one for each paragraph",
        "break it into lines:  fold -s FILE > in_lines.txt",
        "src/hanlin/make/collect/README.md",
    )


def _ambiguous(place: str, one: str, other: str) -> HanlinError:
    return HanlinError(
        f"{place}: too short to tell whether it is {NAMES[one]} or {NAMES[other]}.",
        "text in UTF-8, or enough of it to know the encoding",
        "iconv -f BIG5 -t UTF-8 FILE > converted.txt  (with the encoding the file was saved in)",
        "src/hanlin/make/collect/README.md",
    )
