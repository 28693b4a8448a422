"""What the ledger says of generated text, by hand and by property."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanlin.trust.evaluate.measures import REPEATED_CHARACTERS, Reply, repetition_rate, simplified_leak, stop_rate

REPLIES = st.lists(
    st.builds(Reply, st.text(st.sampled_from("台灣軟體国"), max_size=60), st.sampled_from(["stop", "length"]))
)


def reply(text: str) -> Reply:
    return Reply(text, "stop")


def test_stop_rate() -> None:
    assert stop_rate([Reply("", "stop"), Reply("", "length"), Reply("", "stop"), Reply("", "length")]) == 0.5
    assert stop_rate([]) == 0


def test_repetition_by_hand() -> None:
    eight = "一二三四五六七八"
    assert repetition_rate([reply(eight)]) == 0
    assert repetition_rate([reply(eight * 2)]) == pytest.approx(1 / 9)  # of nine spans the last stood there before
    assert repetition_rate([reply("哈" * 20)]) == pytest.approx(12 / 13)
    assert repetition_rate([reply("短"), reply("")]) == 0


def test_repetition_is_counted_inside_a_reply_not_between_replies() -> None:
    eight = "一二三四五六七八"
    assert repetition_rate([reply(eight), reply(eight)]) == 0


def test_a_long_reply_weighs_more_than_a_short_one() -> None:
    spans = 40 - REPEATED_CHARACTERS + 1
    assert repetition_rate([reply("哈" * 40), reply("一二三四五六七八")]) == pytest.approx((spans - 1) / (spans + 1))


def test_simplified_leak_per_thousand_characters() -> None:
    assert simplified_leak([reply("台灣的軟體")]) == 0
    assert simplified_leak([reply("国" * 2 + "台" * 98), reply("灣" * 100)]) == pytest.approx(10)
    assert simplified_leak([]) == 0


@given(REPLIES)
def test_all_are_shares(replies: list[Reply]) -> None:
    assert 0 <= stop_rate(replies) <= 1
    assert 0 <= repetition_rate(replies) < 1
    assert 0 <= simplified_leak(replies) <= 1000


@given(REPLIES, REPLIES)
def test_order_does_not_matter(first: list[Reply], second: list[Reply]) -> None:
    for measure in (stop_rate, repetition_rate, simplified_leak):
        assert measure(first + second) == pytest.approx(measure(second + first))
