"""How `hanlin show` looks: columns stand below each other whatever the characters, with and without colours."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from toy import Answer, command

from hanlin.columns import display_width
from hanlin.core.generate.sampling import Sampling
from hanlin.core.probe.caching import Asked, LayerKind
from hanlin.core.probe.choosing import Choice, Step
from hanlin.core.probe.speculation import Pass
from hanlin.core.text.tokenizer import IM_END, Tokenizer
from hanlin.curves import PLAIN, Ink
from hanlin.shows.cache import asked_lines, layer_lines
from hanlin.shows.prompt import shown
from hanlin.shows.sampling import bar, percent, table
from hanlin.shows.speculate import pass_lines

__all__ = ["command"]

COLOURS = Ink(colours=True)
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def ids_of(tokenizer: Tokenizer, *texts: str) -> list[int]:
    return [token for text in texts for token in tokenizer.encode(text)]


def columns_of(line: str, text: str) -> int:
    return display_width(line[: line.index(text)])


@pytest.mark.parametrize(("token", "expected"), [(" a", "␣a"), ("\n", "⏎"), ("法", "法"), ("é", "é"), ("\x1b", "�")])
def test_a_token_to_look_at(tiny_tokenizer: Tokenizer, token: str, expected: str) -> None:
    pieces = [shown(tokenizer, i) for tokenizer in [tiny_tokenizer] for i in tiny_tokenizer.encode(token)]
    whole = "".join(pieces)
    assert whole == expected or re.fullmatch("(<[0-9A-F]{2}>)+", whole)


def test_special_and_unused_ids_are_named(tiny_tokenizer: Tokenizer) -> None:
    assert shown(tiny_tokenizer, tiny_tokenizer.id_of(IM_END)) == IM_END
    assert shown(tiny_tokenizer, 9999) == "<9999>"
    half = next(i for i in range(4, 260) if tiny_tokenizer.token_bytes[i] == b"\xe5")
    assert shown(tiny_tokenizer, half) == "<E5>"


# speculate


def test_guesses_stand_in_columns(tiny_tokenizer: Tokenizer) -> None:
    wide, narrow = ids_of(tiny_tokenizer, "憲法"), ids_of(tiny_tokenizer, "ab")
    passes = [Pass([], [narrow[0]]), Pass(wide, [*wide, narrow[0]]), Pass([*wide, narrow[0]], [wide[0], narrow[1]])]
    plain, painted = pass_lines(passes, tiny_tokenizer, PLAIN), pass_lines(passes, tiny_tokenizer, COLOURS)
    assert plain[0].split() == ["pass", "guessed", "the", "model's", "own"]
    own = columns_of(plain[0], "the model's own")
    for line, wrote in zip(plain[1:], (narrow[0], narrow[0], narrow[1])):
        assert line.endswith(shown(tiny_tokenizer, wrote)) and columns_of(line, line[-1]) == own
    assert plain[2].count("【") == len(wide) and plain[3].count("【") == 1
    bare = [ESCAPES.sub("", line) for line in painted]
    assert not any("【" in line for line in bare)
    own = columns_of(bare[0], "the model's own")
    assert all(columns_of(line, line[-1]) == own for line in bare[1:])
    assert "\x1b[1;32m" in painted[2] and "\x1b[31m" not in painted[2] and "\x1b[31m" in painted[3]


def test_without_unicode_bars_are_plain(tiny_tokenizer: Tokenizer) -> None:
    guessed = ids_of(tiny_tokenizer, "ab")
    assert "│" not in "".join(pass_lines([Pass(guessed, guessed)], tiny_tokenizer, Ink(unicode=False)))


# cache


def test_layers_and_their_bytes() -> None:
    kinds = [LayerKind("attention, window 512", 15, 15_360, 0), LayerKind("recurrent state", 3, 0, 999)]
    _, *rows = layer_lines(kinds, 10)
    assert [row.split()[-1] for row in rows] == ["153,600", "999", "154,599"]
    assert "× 18" in rows[2] and "15,360" in rows[2] and len({display_width(row) for row in rows}) == 1


@pytest.mark.parametrize("recurrent", [False, True])
def test_what_was_asked_in_a_table(recurrent: bool) -> None:
    asked = {"this prompt": Asked(2000, 0, 63, 1.5), "the same again": Asked(2000, 1984, 63, 0.1)}
    lines = asked_lines(asked, 32, recurrent)
    assert "1,500 ms" in lines[1] and "1,984" in lines[2] and "16" in lines[2].split()
    assert ("blocks" in lines[0]) is not recurrent and ("block" in lines[-1]) is not recurrent


# sampling


def choice_of(*shares: list[float], token: int) -> Choice:
    names = ("", "temperature", "top_k")
    return Choice([Step(name, torch.tensor(p)) for name, p in zip(names, shares)], token)


def test_a_table_of_the_likeliest(tiny_tokenizer: Tokenizer) -> None:
    choice = choice_of([0.5, 0.3, 0.15, 0.05], [0.7, 0.2, 0.08, 0.02], [0.78, 0.22, 0, 0], token=1)
    sampling = Sampling(temperature=0.5, top_k=2)
    head, *rows = table(choice, sampling, tiny_tokenizer, 3, PLAIN)
    assert head.split() == ["token", "model", "temperature", "0.5", "top-k", "2"]
    assert [row.split()[-1][0] for row in rows[:2]] == ["█", "█"]
    assert rows[1].startswith("▸") and not rows[0].startswith("▸")
    assert "·" in rows[2] and "15.0%" in rows[2]
    assert rows[-2].split() == ["tokens", "left", "4", "4", "2"]
    assert rows[-1].split()[0] == "bits"
    assert "\x1b[1;32m" in table(choice, sampling, tiny_tokenizer, 3, COLOURS)[2]


def test_full_width_tokens_keep_the_columns(tiny_tokenizer: Tokenizer) -> None:
    wide, narrow = ids_of(tiny_tokenizer, "憲法")[0], ids_of(tiny_tokenizer, "a")[0]
    p_V = torch.zeros(500)
    p_V[wide], p_V[narrow] = 0.75, 0.25
    _, first, second, *_ = table(Choice([Step("", p_V)], wide), Sampling(), tiny_tokenizer, 2, PLAIN)
    assert columns_of(first, "75.0%") == columns_of(second, "25.0%")


def test_a_drawn_token_that_is_unlikely_is_shown_too(tiny_tokenizer: Tokenizer) -> None:
    p_V = torch.arange(500.0) / torch.arange(500.0).sum()
    rows = table(Choice([Step("", p_V)], 3), Sampling(), tiny_tokenizer, 4, PLAIN)
    assert sum(row.startswith("▸") for row in rows) == 1


@pytest.mark.parametrize(
    ("share", "shown"), [(0, "·"), (0.0001, "<0.1%"), (0.0005, "0.1%"), (0.123, "12.3%"), (1, "100.0%")]
)
def test_shares(share: float, shown: str) -> None:
    assert percent(share) == shown


def test_bars() -> None:
    assert (bar(1, PLAIN), bar(0, PLAIN)) == ("█" * 24, "")
    assert bar(0.5, Ink(unicode=False)) == "#" * 12
    lengths = [len(bar(share / 100, PLAIN)) for share in range(101)]
    assert lengths == sorted(lengths)


# The commands themselves.


@pytest.mark.parametrize("word", ["speculate", "cache", "sampling"])
@pytest.mark.parametrize("chat", [False, True])
def test_each_command_prints_its_page(tiny_model_folder: Path, command, word: str, chat: bool) -> None:
    words = ["--chat"] if chat else []
    answer: Answer = command(
        "show", word, tiny_model_folder, "憲法保障人民之自由。憲法保障人民", "max_tokens=8", *words
    )
    assert (answer.code, answer.err) == (0, "")
    assert "「憲法保障人民之自由。憲法保障人民」" in answer.out.splitlines()[0]
    expected = {"speculate": "passes saved", "cache": "known already", "sampling": "tokens left"}
    assert expected[word] in answer.out and "\x1b" not in answer.out


def test_a_draft_is_shown_when_it_is_named(tiny_model_folder: Path, command) -> None:
    words = (f"engine.draft={tiny_model_folder}", "max_tokens=8", "engine.num_draft=2")
    out = command("show", "speculate", tiny_model_folder, "憲法", *words).out
    assert [line.split(":")[0] for line in out.splitlines() if line.startswith("engine.speculate")] == [
        "engine.speculate=lookup",
        "engine.speculate=early",
        "engine.speculate=draft",
    ]
    assert out.count("the same text") == 3


def test_one_way_of_guessing_alone(tiny_model_folder: Path, command) -> None:
    out = command("show", "speculate", tiny_model_folder, "憲法", "engine.speculate=early", "max_tokens=4").out
    assert out.count("engine.speculate=") == 1


def test_a_second_prompt_of_ones_own(tiny_model_folder: Path, command) -> None:
    words = ("--second", "憲法保障人民之權利", "engine.block_tokens=4")
    out = command("show", "cache", tiny_model_folder, "憲法保障人民之自由", *words).out
    assert "the second" in out and "its first half" not in out


def test_a_misspelt_option_is_answered(tiny_model_folder: Path, command) -> None:
    answer = command("show", "sampling", tiny_model_folder, "憲法", "temprature=1")
    assert answer.code == 2 and 'did you mean "temperature"?' in answer.err.lower()
