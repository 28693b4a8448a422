"""Cleaning, judging, cutting, holding out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import assistant, user

from hanlin.core.text.documents import Row
from hanlin.make.collect.heldout import Assignment, assign, cut_single_group, place, split_before_end
from hanlin.make.collect.intake import clean_text, take_in
from hanlin.make.collect.reading.passages import cut

texts = st.text(st.sampled_from("字句。！？\n .ab") | st.characters(), max_size=400)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("一\r\n二\r三", "一\n二\n三"),
        ("\ufeff  字\x00\x07\x9f  ", "字"),
        ("e\u0301", "é"),
        ("半\ud83d字", "半字"),
        ("全形１２３，ＡＢＣ　空白", "全形１２３，ＡＢＣ　空白"),
        ("縮排\n\tx", "縮排\n\tx"),
    ],
)
def test_cleaning_keeps_what_is_said(text, expected):
    assert clean_text(text) == expected


@given(st.text(st.characters()))
def test_cleaning_twice_changes_nothing_and_fits_utf8(text):
    once = clean_text(text)
    assert clean_text(once) == once
    once.encode("utf-8")


def test_reasons():
    first = (user("問"), assistant("答"))
    rows = [
        Row("1", text=" \n "),
        Row("2", text="太短"),
        Row("3", text="這份文件 有十個字以上。"),
        Row("4", text="讀取時就被拒絕了的文件。", reason="broken"),
        Row("5", messages=first),
        Row("6", messages=(user("問"),)),
        Row("7", messages=(user("問"), assistant(" "))),
        Row("8", messages=(user("問"),), chosen=(assistant("好"),), rejected=(assistant("壞"),)),
        Row("9", chosen=(assistant("好"),)),
    ]
    reasons = ["empty", "too short: 2 characters", "", "broken", "", "no reply", "empty message", "", "no prompt"]
    assert [take_in(row, 10).reason for row in rows] == reasons
    assert take_in(rows[2], 10).group
    broken = take_in(Row("10", text="這份文件\x00有\ud83d兩個不該有的字元。", notes={"facts": 1}), 10)
    assert broken.text == "這份文件有兩個不該有的字元。"
    assert broken.notes == {"facts": 1, "intake": {"invisible characters": 2}}


@given(texts, st.integers(10, 120))
def test_passages_are_the_text_again(text, size):
    passages = cut(text, size)
    assert "".join(passages) == text
    assert all(0 < len(passage) <= size + size // 4 for passage in passages)


def test_passages_end_where_a_reader_pauses():
    assert cut("一二三四五。六七八九十。" * 2, 12) == ["一二三四五。六七八九十。"] * 2
    assert cut("第一段。\n第一段。\n\n第二段。\n第二段。", 12) == ["第一段。\n第一段。\n\n", "第二段。\n第二段。"]
    assert cut("沒有標點" * 5, 10) == ["沒有標點沒有標點沒有", "標點沒有標點沒有標點"]


groups = st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=30)


@given(groups, st.integers(0, 9), st.sampled_from([0.0, 0.02, 0.3, 0.5]))
def test_splitting_is_a_partition_by_group(names, seed, share):
    rows = [Row(str(i), text="x", group=name) for i, name in enumerate(names)]
    placed = assign(rows, Assignment(seed, share))
    assert [row for row, _ in placed] == rows
    splits = {name: {split for row, split in placed if row.group == name} for name in names}
    assert all(len(found) == 1 for found in splits.values())
    if share and len(set(names)) > 1:
        assert {split for _, split in placed} == {"train", "heldout"}
    if not share:
        assert {split for _, split in placed} == {"train"}


@given(groups, groups, st.integers(0, 9))
def test_rows_added_later_never_move_the_others(names, more, seed):
    def splits(chosen):
        assignment = Assignment(seed, 0.3)
        return {name: assignment.split_of(Row("", group=name)) for name in chosen}

    assert splits(names).items() <= splits(names + more).items()


def test_places_are_uniform():
    places = [place(f"釋字第{number}號", 0) for number in range(2000)]
    assert 0.015 < sum(p < 0.02 for p in places) / 2000 < 0.026
    assert all(0 <= p < 1 for p in places)


def test_a_single_document_is_cut_and_a_single_conversation_is_not():
    document = Row("book.txt", text="一句話而已。" * 500, group="g")
    pieces = list(cut_single_group([document]))
    assert len({piece.group for piece in pieces}) == len(pieces) >= 8
    assert "".join(piece.text for piece in pieces) == document.text
    conversation = Row("c", messages=(user("問" * 500), assistant("答" * 500)), group="g")
    assert list(cut_single_group([conversation])) == [conversation]
    assert list(cut_single_group([Row("short", text="短文。", group="g")])) == [Row("short", text="短文。", group="g")]


@given(st.lists(st.text("甲乙 ", max_size=30), min_size=1, max_size=8), st.sampled_from([0.0, 0.1, 0.5]))
def test_the_end_of_all_text_is_held_out_to_the_character(texts, share):
    rows = [Row(str(i), text=text, group=str(i)) for i, text in enumerate(texts)]
    whole = "".join(texts)
    placed = list(split_before_end(rows, len(whole), share))
    held = round(len(whole) * share)
    for split, expected in (("train", whole[: len(whole) - held]), ("heldout", whole[len(whole) - held :])):
        assert "".join(row.text for row, side in placed if side == split) == expected
    groups_of = [{row.group for row, side in placed if side == split} for split in ("train", "heldout")]
    assert not groups_of[0] & groups_of[1]


def test_conversations_and_groups_at_the_border_are_trained_on():
    talk = Row("c", messages=(user("問" * 6), assistant("答" * 6)), group="c")
    same, last = Row("e", text="在訓練裡已有的", group="a"), Row("z", text="在界線之後的文", group="z")
    rows = [Row("a", text="很短", group="a"), talk, same, last]
    placed = list(split_before_end(rows, sum(row.characters for row in rows), 0.5))
    assert [split for _, split in placed] == ["train", "train", "train", "heldout"]
