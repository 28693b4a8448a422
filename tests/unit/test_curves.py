"""Curves in the terminal: whatever the numbers, the picture keeps its size and its shape."""

from __future__ import annotations

import math
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanlin.columns import display_width
from hanlin.curves import DOTS, Ink, draw
from hanlin.report.plotting import Axis, Bin, Curve, bins, labels, num_bins, short, ticks, x_axis_of, y_axis_of

ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
INKS = [Ink(), Ink(colours=True), Ink(unicode=False), Ink(colours=True, unicode=False)]

anything = st.floats(allow_nan=True, allow_infinity=True)
points = st.lists(st.tuples(anything, anything), max_size=60).map(tuple)
curves = st.builds(
    Curve, st.just("x"), points, points, st.lists(st.tuples(anything, st.just("nan")), max_size=3).map(tuple)
)


def bare(lines: list[str]) -> list[str]:
    return [ESCAPE.sub("", line) for line in lines]


def dot_rows(lines: list[str], columns_left: int) -> dict[int, list[int]]:
    """{dot column: dot rows} of a braille picture: title above, axis and numbers below."""
    rows: dict[int, list[int]] = {}
    for y, line in enumerate(lines[1:-2]):
        for x, character in enumerate(line[columns_left:]):
            mask = ord(character) - 0x2800
            for dot_y, bits in enumerate(DOTS):
                for dot_x, bit in enumerate(bits):
                    if 0 < mask < 256 and mask & bit:
                        rows.setdefault(2 * x + dot_x, []).append(4 * y + dot_y)
    return rows


@given(st.lists(curves, max_size=3), st.integers(20, 130), st.integers(5, 40), st.sampled_from(INKS))
def test_a_picture_keeps_its_size(drawn: list[Curve], width: int, height: int, ink: Ink) -> None:
    lines = draw(drawn, width, height, "標題 of the picture", ink)
    assert len(lines) == height
    assert max(map(display_width, bare(lines))) <= width
    assert ink.colours or lines == bare(lines)
    if not ink.unicode:
        assert all(line.isascii() for line in lines[1:])


@given(st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=600), st.booleans())
def test_a_falling_curve_is_drawn_falling(values: list[float], rising: bool) -> None:
    """In every column of dots the line stands no higher than in the one before (or no lower)."""
    ordered = sorted(values, reverse=not rising)
    curve = Curve("", tuple((float(x), y) for x, y in enumerate(ordered, start=1)))
    # Two curves: without the shade. The second is a point outside the columns that are read.
    rows = dot_rows(bare(draw([curve, Curve("")], 80, 20, ink=Ink(colours=True))), 7)
    means = [sum(rows[x]) / len(rows[x]) for x in sorted(rows)]
    assert all((after <= before) if rising else (after >= before) for before, after in pairwise(means))


def test_a_straight_line_is_a_diagonal() -> None:
    curve = Curve("", tuple((float(x), float(x)) for x in range(31)))
    assert draw([curve], 40, 13, "y over x") == DIAGONAL


DIAGONAL = [
    "      y over x",
    "   30 ┤                               ⢀⠔",
    "      │                           ⢀⠤⠔⠉⠁",
    "      │                        ⡠⠤⠊⠁",
    "   20 ┤                    ⢀⠤⠊⠉",
    "      │                 ⡠⠔⠉⠁",
    "      │             ⡠⠤⠒⠉",
    "   10 ┤         ⢀⡠⠔⠉",
    "      │      ⡠⠔⠉⠁",
    "      │  ⡠⠤⠒⠉",
    "    0 ┤⠔⠉",
    "      └─────────────────────────────────",
    "       0                    20",
]


def test_letters_and_capitals_where_there_are_no_colours() -> None:
    first = Curve("first", ((1.0, 4.0), (2.0, 3.0)), ((2.0, 3.5),))
    second = Curve("second", ((1.0, 2.0), (2.0, 1.0)), ((2.0, 1.5),))
    text = "\n".join(draw([first, second], 60, 16))
    assert {"a", "b", "A", "B"} <= set(text)
    coloured = draw([first, second], 60, 16, ink=Ink(colours=True))
    assert "\x1b[36m" in "\n".join(coloured) and "\x1b[35m" in "\n".join(coloured)


def test_an_alert_stands_on_the_axis() -> None:
    curve = Curve("", tuple((float(x), 3.0) for x in range(101)), marks=((50.0, "spike"), (math.nan, "nan")))
    axis = draw([curve], 80, 12)[-2]
    assert axis.count("!") == 1 and abs(axis.index("!") - (7 + 73 // 2)) <= 1


def test_an_empty_picture_has_an_axis() -> None:
    assert draw([], 40, 8) == draw([Curve("")], 40, 8)


def test_a_wild_step_does_not_press_the_curve_flat() -> None:
    quiet = [(float(x), 3 + 0.001 * (x % 7)) for x in range(600)]
    wild = [(x, 900.0 if x == 300 else y) for x, y in quiet]
    axis = y_axis_of([], [bins(wild, Axis(0, 600), num_bins(600, 146))])
    assert axis.high < 4


@pytest.mark.parametrize(
    ("low", "high", "log"), [(1.0, 9.9, False), (1.0, 11.0, True), (-1.0, 100.0, False), (0.0, 9.0, False)]
)
def test_a_span_of_ten_and_more_is_logarithmic(low: float, high: float, log: bool) -> None:
    axis = y_axis_of([Curve("", dots=((0.0, low), (1.0, high)))], [])
    assert axis.log is log
    assert not y_axis_of([Curve("", dots=((0.0, 5e-324), (1.0, high)))], []).log, "too small to divide by"
    assert axis.share(low) < 0.1 and axis.share(high) > 0.9 and 0 <= axis.share(-1e99) <= axis.share(1e99) <= 1


def test_bins_know_their_median_least_and_greatest() -> None:
    found = bins([(0.0, 1.0), (1.0, 5.0), (2.0, 2.0), (9.0, 7.0), (10.0, math.nan)], Axis(0, 10), 2)
    assert found == [Bin(0, 1.0, 2.0, 1.0, 5.0), Bin(1, 9.0, 7.0, 7.0, 7.0)]


@given(st.integers(0, 10_000), st.integers(20, 300))
def test_long_runs_have_several_points_a_bin_and_short_ones_one(count: int, most: int) -> None:
    number = num_bins(count, most)
    assert 1 <= number <= most
    assert number == most or count / number >= 1


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(2, 8), st.booleans())
def test_ticks_lie_on_the_axis_and_are_written_differently(low: float, span: float, about: int, log: bool) -> None:
    axis = Axis(abs(low) + 1e-3, (abs(low) + 1e-3) * (10 + span), True) if log else Axis(low, low + span)
    values = axis.ticks(about)
    slack = 1e-6 * max(abs(axis.low), abs(axis.high))
    assert values == sorted(values) and all(axis.low - slack <= value <= axis.high + slack for value in values)
    assert len(values) <= 2 * about + 3
    if span > 1e-3 * abs(low):
        assert len(set(labels(values))) == len(values)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, "0"),
        (0.25, "0.25"),
        (812, "812"),
        (999.7, "1k"),
        (1500, "1.5k"),
        (3_210_000, "3.21M"),
        (999_999, "1M"),
        (5.4e9, "5.4G"),
    ],
)
def test_numbers_are_short(number: float, expected: str) -> None:
    assert short(number) == expected


def test_the_axis_reaches_from_the_start_to_the_farthest_point() -> None:
    axis = x_axis_of([Curve("", ((5.0, 1.0),)), Curve("", ((9.0, 1.0),), ((12.0, 1.0), (math.inf, 1.0)))])
    assert (axis.low, axis.high) == (0.0, 12.0)
    assert ticks(axis.low, axis.high, 4) == [0, 5, 10]
