"""wording=zh-TW: OpenCC on a stream is OpenCC on the whole, whatever the pieces; what is quoted stays."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import opencc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import EMOJI, SENTENCES

from hanlin.core.generate.constrain.wording import LONGEST_HELD, LONGEST_PHRASE, Wording, in_phrases

S2TWP, T2S = opencc.OpenCC("s2twp"), opencc.OpenCC("t2s")
WORDS = [
    *[
        "软件",
        "默认",
        "内存",
        "干净",
        "干部",
        "皇后",
        "后面",
        "里长",
        "哪里",
        "头发",
        "发财",
        "系统",
        "联系",
        "鼠标",
        "数据库",
        "SQL注入",
    ],
    *[
        "B超",
        "U盘",
        "三国演义",
        "朱丽叶·比诺什",
        "为",
        "什",
        "么",
        "台",
        "网",
        "络",
        "信",
        "息",
        "程",
        "序",
        "面",
        "干",
        "复",
        "了",
        "〇",
    ],
    *["干\ufe00净", "⿰亻为", "𬞟", "abc", "Python", " ", "，", "。", "！", "\n", "3", "😀", "-", "·"],
]
UNQUOTED = [T2S.convert(sentence) for sentence in SENTENCES if "「" not in sentence]
SIMPLIFIED = st.lists(st.sampled_from(WORDS) | st.sampled_from(UNQUOTED), max_size=12)


def in_pieces(text: str, sizes: list[int]) -> list[str]:
    pieces, sizes = [], [*sizes, max(1, len(text))]
    for size in sizes:
        pieces.append(text[:size])
        text = text[size:]
    return pieces


def streamed(text: str, sizes: list[int] | None = None) -> str:
    wording = Wording()
    return "".join([wording.push(piece) for piece in in_pieces(text, sizes or [])]) + wording.finish()


@given(SIMPLIFIED, st.lists(st.integers(1, 5), max_size=60))
def test_a_stream_is_the_whole_text_by_opencc(parts: list[str], sizes: list[int]) -> None:
    text = "这" + "".join(parts)
    assert streamed(text, sizes) == S2TWP.convert(text)


@given(
    st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('软件軟體里`「」『』“”"\n '), max_size=80),
    st.data(),
)
def test_no_cut_makes_a_difference(text: str, data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(1, 6), max_size=40))
    assert streamed(text, sizes) == streamed(text)


@given(st.lists(st.sampled_from([word for word in WORDS if all(map(in_phrases, word))]), min_size=30, max_size=80))
def test_a_long_text_without_punctuation_too(words: list[str]) -> None:
    text = "这" + "".join(words)
    assert streamed(text) == S2TWP.convert(text)


def test_a_long_text_without_punctuation_is_not_held() -> None:
    text = "这个软件的默认设置可以在菜单里修改数据会保存在电脑内存里面后来的干部信息" * 20
    wording, shown = Wording(), ""
    for place, character in enumerate(text):
        shown += wording.push(character)
        assert len(shown) >= place - 1.2 * LONGEST_HELD
    assert shown + wording.finish() == S2TWP.convert(text)


def test_little_is_held() -> None:
    """What was said before the comma is shown with it."""
    wording = Wording()
    assert wording.push("这个软件") == ""
    assert wording.push("，") == "這個軟體，"
    assert wording.push(" v2 的默") == " v2 "
    assert wording.push("认值。") == "的預設值。"


@pytest.mark.parametrize(
    "text", [*SENTENCES, *EMOJI, "里長說岳飛和范先生在鄰里的台北聽余先生說話。", "皇后、干擾、面向、乾隆、周杰倫"]
)
def test_what_taiwan_wrote_keeps_its_characters(text: str) -> None:
    assert streamed("說：" + text) == "說：" + text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("這套軟件的默認設置，信息存在內存裏。", "這套軟體的預設設定，資訊存在記憶體裡。"),
        ("里長說這個軟件，里長的鼠標", "里長說這個軟體，里長的滑鼠"),
        ("哪里，说里面", "哪裡，說裡面"),
        ("臺灣說了，哪里，国内，里面", "臺灣說了，哪里，國內，里面"),
        ("台湾说了，哪里，國內，里面", "臺灣說了，哪裡，國內，裡面"),
    ],
)
def test_the_script_is_that_of_the_clause_else_of_the_text_so_far(text: str, expected: str) -> None:
    assert streamed(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("软件「软件」软件", "軟體「软件」軟體"),
        ("软件『软件「软件」软件』软件", "軟體『软件「软件」软件』軟體"),
        ("软件「软件「软件」软件」软件", "軟體「软件「软件」软件」軟體"),
        ('软件“软件”软件"软件"软件', '軟體“软件”軟體"软件"軟體'),
        ("软件`软件`软件``软件`软件``软件", "軟體`软件`軟體``软件`软件``軟體"),
        ("软件\n```py\n软件「\n```\n软件", "軟體\n```py\n软件「\n```\n軟體"),
        ("  ```\n软件\n``\n软件\n  ````\n软件", "  ```\n软件\n``\n软件\n  ````\n軟體"),
        ("软件```软件```软件", "軟體```软件```軟體"),
        ("```软件```软件", "```软件```軟體"),
        ('27"软件，27"软件', '27"軟體，27"軟體'),
        # never closed: the line, the paragraph, the rest
        ("软件`软件\n软件", "軟體`软件\n軟體"),
        ('软件"软件\n软件', '軟體"软件\n軟體'),
        ("软件「软件\n软件\n \n软件", "軟體「软件\n软件\n \n軟體"),
        ("软件\n````\n软件\n```\n软件", "軟體\n````\n软件\n```\n软件"),
        ("软件」软件”软件", "軟體」軟體”軟體"),
    ],
)
def test_what_is_quoted_stays(text: str, expected: str) -> None:
    assert streamed(text) == expected == streamed(text, [1] * len(text))


QUOTED = ["「软件」", "『默认「内存」』", "“信息”", '"数据"', "`内存`", "``a`默认``", "\n```\n默认「\n```\n"]


@given(st.lists(st.tuples(st.sampled_from(QUOTED), SIMPLIFIED), max_size=5), st.lists(st.integers(1, 7), max_size=40))
def test_quotes_stay_and_the_text_around_is_that_of_opencc(parts: list, sizes: list[int]) -> None:
    prose = ["这，" + "".join(words) + "。" for _, words in parts]
    text = "".join(quoted + words for (quoted, _), words in zip(parts, prose))
    expected = "".join(quoted + S2TWP.convert(words) for (quoted, _), words in zip(parts, prose))
    assert streamed(text, sizes) == expected


def test_a_nul_ends_no_text() -> None:
    assert streamed("软件\0软件") == "軟體\0軟體"


def test_no_phrase_holds_what_a_clause_ends_at(tmp_path: Path) -> None:
    """By OpenCC's own tables."""
    package = Path(opencc.__file__).parent
    program = next(package.rglob("opencc_dict*"), None)
    if program is None or sys.platform == "win32":
        pytest.skip("this OpenCC comes without opencc_dict")
    for name in ("STPhrases", "STPhrases_GeneratedFromRegionalPhrases", "STCharacters", "TWPhrases", "TWVariants"):
        table, text = next(package.rglob(f"{name}.ocd2")), tmp_path / f"{name}.txt"
        subprocess.run([program, "-i", table, "-o", text, "-f", "ocd2", "-t", "text"], check=True, capture_output=True)
        keys = [line.split("\t")[0] for line in text.read_text(encoding="utf-8").splitlines()]
        assert len(keys) > 30 and max(map(len, keys)) < LONGEST_PHRASE
        assert all(map(in_phrases, "".join(keys)))
