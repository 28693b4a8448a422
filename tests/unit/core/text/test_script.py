"""繁/簡 by characters."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hanlin.core.text import script
from hanlin.core.text.script import ScriptCount, count_script, count_scripts, script_of, simplified_leak_per_1000

TRADITIONAL = "臺灣的軟體與資訊產業，國際聞名。"
SIMPLIFIED = "台湾的软件与信息产业，国际闻名。"


@pytest.mark.parametrize(
    "text, expected",
    [
        (TRADITIONAL, "Hant"),
        (SIMPLIFIED, "Hans"),
        (TRADITIONAL + SIMPLIFIED, "mixed"),
        ("Hello, world", "other"),
        ("大山", "other"),
        ("", "other"),
        (TRADITIONAL * 10 + "他寫道：「国」", "Hant"),
    ],
)
def test_script_of_a_text(text, expected):
    assert script_of(text) == expected


def test_characters_of_both_scripts_tell_nothing():
    shared = "台里后云山人中大的一是"
    assert count_script(shared) == ScriptCount(traditional=0, simplified=0, han=len(shared), total=len(shared))


def test_sets_are_apart_and_hold_what_every_reader_knows():
    assert not script.traditional_only() & script.simplified_only()
    assert set("灣國學體與為臺") <= script.traditional_only()
    assert set("湾国学软为这们") <= script.simplified_only()
    assert len(script.traditional_only()) > 3500 and len(script.simplified_only()) > 2500


def test_counts_of_a_mixed_text():
    count = count_script("國国ab🀄、")
    assert (count.traditional, count.simplified, count.han, count.total) == (1, 1, 2, 6)
    assert count.traditional_share == 0.5


def test_leak_is_per_1000_characters():
    assert simplified_leak_per_1000("国" + "a" * 499) == pytest.approx(2.0)
    assert simplified_leak_per_1000("") == 0


@settings(deadline=None)  # the first count builds the tables
@given(st.text(alphabet=st.characters(), max_size=200), st.text(max_size=200))
def test_counts_add_up(first, second):
    assert count_script(first) + count_script(second) == count_script(first + second)
    count = count_script(first)
    assert count.traditional + count.simplified <= count.han <= count.total == len(first)


def test_a_long_text_is_counted_in_blocks():
    text = "灣国a" * 500_000
    assert count_script(text) == ScriptCount(500_000, 500_000, 1_000_000, 1_500_000)


@given(st.lists(st.text(alphabet="國国山ab \ud800🀄", max_size=20), max_size=9), st.integers(1, 30))
def test_counts_of_many_are_counts_of_each(texts, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(script, "_BLOCK_CHARS", block)
        assert list(count_scripts(texts)) == list(map(count_script, texts))
