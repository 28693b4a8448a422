"""What a person sees: probabilities as colours or marks, thoughts apart, no orders to the terminal."""

from __future__ import annotations

import math

import pytest

from hanlin.conversation.screen import LEVELS, Screen, visible
from hanlin.conversation.writers import Written
from hanlin.curves import PLAIN, Ink


def shown(ink: Ink, *written: Written, stopped: bool = False) -> str:
    parts: list[str] = []
    screen = Screen(ink, parts.append)
    for one in written:
        screen.write(one)
    screen.end(stopped)
    return "".join(parts)


@pytest.mark.parametrize(
    ("probability", "colour"),
    [(1, "32"), (0.9, "32"), (0.89, "36"), (0.5, "36"), (0.3, "33"), (0.1, "35"), (0, "1;31")],
)
def test_each_token_has_the_colour_of_its_probability(probability: float, colour: str) -> None:
    logprob = math.log(probability) if probability else -math.inf
    # exp(log(p)) may be a bit less than p: a bit more is asked about.
    out = shown(Ink(colours=True), Written("text", "山", logprob + 1e-9, 1))
    assert out.startswith(f"\x1b[{colour}m山\x1b[0m")


def test_without_colours_the_improbable_is_marked() -> None:
    out = shown(PLAIN, Written("text", "玉", math.log(0.8), 1), Written("text", "山", math.log(0.25), 2))
    assert out == "玉⟨山 25%⟩\n（3 個詞元，平均對數機率 -0.54，即 58%。）\n"


def test_the_legend_names_every_level() -> None:
    parts: list[str] = []
    Screen(Ink(colours=True), parts.append).legend()
    Screen(PLAIN, parts.append).legend()
    assert all(f"\x1b[{level.colour}m" in parts[0] for level in LEVELS) and "90% 以上" in parts[0]
    assert parts[1] == "機率不到 50% 的字寫成 ⟨字 31%⟩。\n"


def test_thoughts_stand_apart() -> None:
    written = Written("thought", "想想"), Written("text", "玉山"), Written("text", "。")
    assert shown(Ink(colours=True), *written) == "\x1b[2m想想\x1b[0m\n玉山。\n"
    assert shown(PLAIN, *written, stopped=True) == "〔思考〕\n想想\n〔回答〕\n玉山。\n（停在這裡。）\n"


def test_a_model_gives_the_terminal_no_orders() -> None:
    assert visible("a\x1b[2Jb\x07\x9b1m\r\n\t　c") == "a�[2Jb��1m�\n\t　c"
    assert "\x1b" not in shown(PLAIN, Written("text", "\x1b]0;title\x07"))
