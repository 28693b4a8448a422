"""What is found in running text, where, and what is left alone. The numbers are made up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from personal_examples import FOUND, LEFT_ALONE, marked

from hanlin.core.text.personal.folding import fold
from hanlin.core.text.personal.match import KINDS, Match, resolve
from hanlin.core.text.personal.recognise import RECOGNISERS, find, find_all


@pytest.mark.parametrize("kind, text", FOUND)
def test_found_where_it_stands(kind, text):
    text, start, end = marked(text)
    assert [(match.kind, match.start, match.end) for match in find(text)] == [(kind, start, end)]


@pytest.mark.parametrize("text", LEFT_ALONE)
def test_left_alone(text):
    assert not find(text)


def test_every_kind_is_tried_and_has_a_recogniser():
    assert {kind for kind, _ in FOUND} == set(KINDS) - {"ip"}
    assert set().union(*(kinds for kinds, _ in RECOGNISERS.values())) == set(KINDS)


def test_network_addresses_are_found_when_asked_for():
    text = "from 8.8.8.8 and 2001:4860:4860::8888, not 192.168.1.1, v1.2.3.4 or 12:30:45"
    assert not find(text)
    assert [text[match.start : match.end] for match in find(text, ["ip"])] == ["8.8.8.8", "2001:4860:4860::8888"]


def test_a_kind_that_is_not_wanted_still_keeps_its_digits():
    """A card number behind 帳號 is not taken for an account because cards aren't asked for."""
    assert not find("帳號 4111111111111111", ["bank_account"])


def test_a_name_found_once_is_found_everywhere_in_the_same_row():
    texts = ["姓名：王小明", "王小明說他會來", "王小姐"]
    assert [[match.kind for match in found] for found in find_all(texts)] == [["name"]] * 3


def test_a_checksum_stands_before_none_then_the_longer():
    checked, longer, other = Match("card", 2, 8, 0.9, True), Match("mobile", 0, 8, 0.9), Match("name", 8, 10, 0.5)
    assert resolve([longer, other, checked]) == [checked, other]
    assert resolve([Match("name", 0, 2, 0.9), longer]) == [longer]


@given(st.text(st.characters() | st.sampled_from("０９Ａ　－，。王號路")))
def test_folding_keeps_every_place(text):
    folded = fold(text)
    assert len(folded) == len(text) and fold(folded) == folded


_PIECES = [
    "0912345678",
    "A123456789",
    "路",
    "號",
    "段",
    "臺北市",
    "民國",
    "年",
    "生",
    "王",
    "先生",
    "：",
    " ",
    "\n",
    "@",
    ".",
    "-",
    "賴",
    "１２",
    "帳號",
]


@given(st.lists(st.sampled_from(_PIECES) | st.characters(), max_size=30).map("".join))
def test_any_text_gives_ordered_spans_inside_it(text):
    matches = find(text, list(KINDS), 0)
    places = [place for match in matches for place in (match.start, match.end)]
    assert places == sorted(places) and all(0 <= place <= len(text) for place in places)
    assert all(match.start < match.end and match.kind in KINDS and 0 < match.confidence <= 1 for match in matches)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 8), st.booleans()), max_size=12))
def test_what_stands_is_as_if_each_were_compared_with_each(spans):
    matches = [Match("card", start, start + size, 0.9, checked) for start, size, checked in spans]
    standing: list[Match] = []
    for match in sorted(set(matches), key=lambda m: (not m.checked, m.start - m.end, m.start)):
        if all(match.end <= other.start or other.end <= match.start for other in standing):
            standing.append(match)
    assert resolve(matches) == sorted(standing, key=lambda match: match.start)
