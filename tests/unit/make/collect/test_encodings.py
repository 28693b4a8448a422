"""Encodings: what is read, what is refused with its place, and that nothing is taken for what it is not."""

from __future__ import annotations

import contextlib
import random

import opencc
import pytest

from hanlin.core.run.errors import HanlinError
from hanlin.make.collect.config import Collect
from hanlin.make.collect.reading import encoding, plain
from hanlin.make.collect.reading.encoding import decode, encoding_of, lines_of
from hanlin.make.collect.reading.reader import Reading

LAW = (
    "中華民國國民大會受全體國民之付託，依據孫中山先生創立中華民國之遺教，為鞏固國權，保障民權，奠定社會安寧，增進人民福利，制定本憲法，頒行全國，永矢咸遵。\n"
    "中華民國基於三民主義，為民有民治民享之民主共和國。中華民國之主權屬於國民全體。具有中華民國國籍者為中華民國國民。\n"
    "人民身體之自由應予保障。除現行犯之逮捕由法律另定外，非經司法或警察機關依法定程序，不得逮捕拘禁。非由法院依法定程序，不得審問處罰。\n"
    "明天下午三點在臺北車站的咖啡店見面好嗎？如果您沒有空，請打電話給我，我們可以改到星期六。謝謝！\n"
)
MAINLAND = opencc.OpenCC("t2s").convert(LAW)
CANTONESE = "佢哋喺香港嘅街市買嘢，啲嘢好平，唔使驚。嗰個係咪你嘅細佬？\n"
JAPANESE = "日本国民は、正当に選挙された国会における代表者を通じて行動し、諸国民との協和による成果を確保する。"
KOREAN = "모든 국민은 인간으로서의 존엄과 가치를 가지며, 행복을 추구할 권리를 가진다."
RUSSIAN = "Все люди рождаются свободными и равными в своем достоинстве и правах."

FAMILIES = {"cp950": LAW, "big5hkscs": CANTONESE, "gb18030": MAINLAND, "utf-16-le": LAW, "utf-16-be": LAW}


@pytest.mark.parametrize(
    "text, encoding",
    [(LAW, name) for name in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp950", "gb18030")]
    + [(MAINLAND, name) for name in ("utf-8", "gb2312", "gbk", "gb18030", "utf-16")]
    + [(CANTONESE, "big5hkscs"), (JAPANESE, "euc_jp"), (JAPANESE, "cp932"), (KOREAN, "cp949"), (RUSSIAN, "utf-8")]
    + [("Plain English, no more.", "utf-16-le"), ("Plain English, no more.", "ascii"), ("café, für Müller", "utf-8")],
)
def test_encodings(tmp_path, text, encoding):
    path = tmp_path / "a.txt"
    path.write_bytes(text.encode(encoding))
    heard = Reading(Collect())
    [row] = plain.read(path, "a.txt", heard)
    assert row.text == text and not row.reason
    assert bool(heard.notes) == (encoding not in ("utf-8", "utf-8-sig", "ascii"))


@pytest.mark.parametrize("length, least_right", [(8, 0.75), (16, 0.95), (40, 0.99)])
@pytest.mark.parametrize("encoding", FAMILIES)
def test_short_text_is_read_right_or_refused_but_never_wrong(encoding, length, least_right):
    text, chance, right = FAMILIES[encoding], random.Random(0), 0
    text *= 1 + length // len(text) * 2
    for _ in range(200):
        start = chance.randrange(max(1, len(text) - length))
        part = text[start : start + length]
        try:
            found = decode(part.encode(encoding), "a.txt")
        except HanlinError:
            continue
        assert found.text == part, found
        right += 1
    assert right >= 200 * least_right


@pytest.mark.parametrize("encoding", ["koi8-r", "cp1251", "euc_kr"])
def test_encodings_that_are_not_known_are_refused(encoding):
    with pytest.raises(HanlinError, match="no other encoding makes likely text"):
        decode(RUSSIAN.encode(encoding), "a.txt")


def refused(data: bytes) -> str:
    with pytest.raises(HanlinError) as caught:
        decode(data, "a.txt")
    return caught.value.what


def test_a_few_broken_lines_are_left_out_and_named(tmp_path):
    line = "臺灣最高的山是玉山，海拔三千九百五十二公尺。\n"
    path = tmp_path / "a.txt"
    path.write_bytes((line * 99).encode() + line.encode("cp950") + line.encode())
    heard = Reading(Collect())
    [row] = plain.read(path, "a.txt", heard)
    assert row.text.strip() == (line * 100).strip()
    assert row.notes["read"] == "left out line 100, byte 6633 (0xbb): not UTF-8"
    assert heard.notes == ["a.txt: left out line 100, byte 6633 (0xbb): not UTF-8."]
    broken = (line * 99).encode("cp950") + b"\xff\xff\n"
    assert decode(broken, "a.txt").remark.endswith("left out line 100, byte 4455 (0xff): not Big5 (cp950)")
    assert decode((line * 99).encode()[:-2], "a.txt").broken[0].line == 99


def test_a_file_of_two_encodings_is_refused_with_the_lines():
    line = "臺灣最高的山是玉山，海拔三千九百五十二公尺。\n"
    what = refused((line * 20).encode() + (line * 25).encode("cp950"))
    assert what.startswith("a.txt: mostly UTF-8, but 25 of 46 lines are not, which read as Big5 (cp950): line 21, byte")
    assert "and 22 more lines" in what


def test_bytes_that_are_no_text_are_named_by_line_and_byte(tmp_path):
    assert "mostly UTF-8, but 1 of 2 lines are not: line 2, byte 10 (0xff)" in refused(
        "第一行\n".encode() + b"\xff\xff"
    )
    assert "byte 0 (0x00)" in refused(b"\x00" * 1000)
    assert "is not UTF-16" in refused(b"\xff\xfe\x00")
    assert "is not" in refused(random.Random(0).randbytes(5000))
    (tmp_path / "a.txt").write_bytes(b"\xff\xff")
    [row] = plain.read(tmp_path / "a.txt", "a.txt", Reading(Collect()))
    assert (
        row.reason == "unreadable: line 1, byte 0 (0xff) is not UTF-8, and no other encoding makes likely text of it."
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp950", "gb18030"])
def test_lines_of_a_large_file(tmp_path, encoding):
    path = tmp_path / "a.csv"
    path.write_bytes((LAW * 2000).encode(encoding))
    wrong: list[str] = []
    heard = lambda error, number: wrong.append(error.what)  # noqa: E731
    assert "".join(lines_of(path, "a.csv", encoding_of(path, "a.csv"), heard)) == LAW * 2000 and not wrong
    if encoding in ("cp950", "utf-8"):
        path.write_bytes(path.read_bytes() + b"\xff\n")
        assert "".join(lines_of(path, "a.csv", encoding_of(path, "a.csv"), heard)) == LAW * 2000
        assert wrong[0].startswith("a.csv, line 8001, byte ") and "(0xff) is not" in wrong[0]


def test_damaged_files_are_text_or_refused():
    chance = random.Random(0)
    for _ in range(300):
        encoding = chance.choice([*FAMILIES, "utf-8", "utf-16", "utf-8-sig"])
        data = bytearray((FAMILIES.get(encoding) or LAW).encode(encoding))
        for _ in range(chance.randrange(1, 40)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        with contextlib.suppress(HanlinError):
            decode(bytes(data[: chance.randrange(len(data))]), "a.txt").text.encode("utf-8")


def test_a_large_file_is_read_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(plain, "WHOLE_BYTES", 1000)
    monkeypatch.setattr(plain, "_BLOCK_CHARS", 2000)
    path = tmp_path / "a.txt"
    path.write_bytes((LAW * 100).encode("cp950") + b"\xff\n" + LAW.encode("cp950"))
    heard = Reading(Collect(passage_chars=500))
    rows = list(plain.read(path, "a.txt", heard))
    assert "".join(row.text for row in rows) == LAW * 101
    assert [row.id for row in rows] == [f"a.txt#{number}" for number in range(1, len(rows) + 1)]
    assert max(len(row.text) for row in rows) < 800
    assert heard.notes[0] == "a.txt: read as Big5 (cp950), not UTF-8." and heard.num_notes == 2
    assert heard.notes[1].startswith("left out a.txt, line 401, byte ")
    monkeypatch.setattr(encoding, "MAX_LINE_BYTES", 50)
    assert "in one line" in list(plain.read(path, "a.txt", heard))[-1].reason


@pytest.mark.parametrize(
    "text",
    [
        "NO\u00a0BREAK",
        "a\u00a0\u00a0b",
        "a·b",
        "©\u00a02024",
        "café",
        "10 µm ± 5 µm",
        "naïve façade, São Paulo",
        "§ 12",
        "«\u00a0oui\u00a0»",
    ],
)
@pytest.mark.parametrize("before", ["", "def f():\n    return 1\n"])
def test_a_few_signs_and_accents_in_english_are_utf8(text, before):
    assert decode(f"{before}{text}\n".encode(), "a.txt").encoding == "utf-8"
