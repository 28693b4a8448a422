"""`hanlin chat` in a real terminal: typed, edited, written again, saved and loaded, stopped; with a model here and one
behind a server."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from serving import Script, running, scripted
from terminal import Terminal, plain, terminal
from toy import Answer, small_decoder

from hanlin.core.model.families import qwen3
from hanlin.core.model.pretrained import save
from hanlin.core.text.tokenizer import Tokenizer

ASK = "› "
END = "空白行結束對話，/help 列出指令。"
UP, CTRL_C, CTRL_U = "\x1b[A", "\x03", "\x15"
LONG = 3000
"""Tokens: a reply that is still being written when it is stopped."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer: Tokenizer) -> Path:
    folder = tmp_path_factory.mktemp("models") / "toy"
    folder.mkdir()
    decoder = small_decoder(vocab_size=tiny_tokenizer.vocab_size, max_positions=LONG + 200, num_layers=1)
    save(folder, decoder, qwen3, tiny_tokenizer)
    return folder


@contextmanager
def chatting(folder: Path, model: Path | str, *options: str, **environment: str) -> Iterator[Terminal]:
    command = [sys.executable, "-m", "hanlin.cli", "chat", str(model), *options]
    with terminal(command, folder, **environment) as there:
        there.wait_for(END)
        there.wait_for(ASK)
        yield there
        there.type("\n")


def ask(there: Terminal, line: str) -> str:
    """What is shown between a line and the next prompt, without colours."""
    there.type(f"{line}\n")
    there.wait_for("\n")
    return plain(there.wait_for(f"\n{ASK}")).removesuffix(f"\n{ASK}")


def test_a_conversation(model: Path, tmp_path: Path, command: object) -> None:
    options = ("max_tokens=12", "temperature=1", "seed=1", "history=asked")
    with chatting(tmp_path, model, *options) as there:
        first = ask(there, "台灣最高的山？")
        again = ask(there, "/again")
        assert first and again and first != again
        there.type('"""雨天要帶\n')
        there.wait_for("… ")
        second = ask(there, '什麼？"""')
        ask(there, "/save 一.json")
        there.type("/edit 1\n")
        there.wait_for("台灣最高的山？")
        there.type(f"{CTRL_U}怎麼去左營？\n")
        there.wait_for("\n")
        edited = plain(there.wait_for(f"\n{ASK}"))
        ask(there, "/save 二.json")
        assert ask(there, "/load 一.json").splitlines()[0] == "› 台灣最高的山？"
        there.type(UP * 3)
        there.wait_for("怎麼去左營？")
        there.type(CTRL_U)
        assert "收回了：雨天要帶\n什麼？" in ask(there, "/undo")
        ask(there, "/save 三.json")
    saved = {name: json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8"))["messages"] for name in "一二三"}
    assert [m["content"] for m in saved["一"][:3]] == ["台灣最高的山？", again, "雨天要帶\n什麼？"]
    assert saved["一"][3]["content"] == second
    assert [m["content"] for m in saved["二"]] == ["怎麼去左營？", edited.removesuffix(f"\n{ASK}")]
    assert saved["三"] == saved["一"][:2]
    asked = [json.loads(line) for line in (tmp_path / "asked").read_text(encoding="utf-8").splitlines()]
    assert asked == ["台灣最高的山？", "雨天要帶\n什麼？", "怎麼去左營？"]
    shown: Answer = command("show", "chat", model, tmp_path / "一.json", "--plain")  # type: ignore[operator]
    assert shown.code == 0 and "雨天要帶" in shown.out


def test_what_was_asked_last_time(model: Path, tmp_path: Path) -> None:
    (tmp_path / "asked").write_text('"昨天問的"\n', encoding="utf-8")
    with chatting(tmp_path, model, "history=asked") as there:
        there.type(UP)
        there.wait_for("昨天問的")
        there.type(CTRL_U)


def test_ctrl_c_stops_a_reply_and_keeps_it(model: Path, tmp_path: Path) -> None:
    with chatting(tmp_path, model, f"max_tokens={LONG}", "temperature=1", "seed=3") as there:
        there.type("台灣最高的山？\n")
        there.wait_for("\n")
        while len(there.seen) < 200:
            there.look()
        there.type(CTRL_C)
        there.wait_for("（停在這裡。）")
        there.wait_for(ASK)
        ask(there, "/save a.json")
        there.type(f"沒有問完{CTRL_C}")
        there.wait_for(ASK)
        there.type("/undo\n")
        there.wait_for("收回了：台灣最高的山？")
        there.wait_for(ASK)
    reply = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["messages"][1]["content"]
    assert reply


def test_probabilities_in_colour_and_without(model: Path, tmp_path: Path) -> None:
    options = ("max_tokens=8", "seed=1")
    with chatting(tmp_path, model, *options) as there:
        there.type("/probs\n")
        assert "\x1b[32m90% 以上\x1b[0m" in there.wait_for("不到 5%")
        there.wait_for(ASK)
        there.type("台灣？\n")
        shown = there.wait_for("（8 個詞元，平均對數機率 -")
        assert any(f"\x1b[{code}m" in shown for code in ("32", "36", "33", "35", "1;31"))
        there.wait_for(ASK)
    with chatting(tmp_path, model, *options, "probs=true", NO_COLOR="1") as there:
        assert "機率不到 50% 的字寫成" in there.seen
        assert "%⟩" in ask(there, "台灣？") and "\x1b[3" not in there.seen


def test_thoughts_are_dim(tmp_path: Path, tiny_tokenizer: Tokenizer) -> None:
    loaded = scripted(tiny_tokenizer, Script(text="<think>想一想</think>玉山。"), tmp_path)
    with running(loaded) as server, chatting(tmp_path, f"{server.url}/v1#tiny", "system=簡短") as there:
        there.type("台灣最高的山？\n")
        there.wait_for("\x1b[2m想")
        assert plain(there.wait_for(f"\n{ASK}")) == f"一想\n玉山。\n{ASK}"


def test_a_model_elsewhere(tmp_path: Path, tiny_tokenizer: Tokenizer) -> None:
    script = Script()
    with running(scripted(tiny_tokenizer, script, tmp_path)) as server:
        with chatting(tmp_path, f"{server.url}/v1#tiny", "max_tokens=100") as there:
            assert ask(there, "人民有集會之自由？") == script.text
            assert ask(there, "/again") == script.text
            assert "不提供機率" in ask(there, "/probs")
            ask(there, "/save a.json")
            script.seconds_per_token = 0.05
            there.type("再說\n")
            there.wait_for("\n")
            there.wait_for(script.text[:4])
            there.type(CTRL_C)
            there.wait_for("（停在這裡。）")
            there.wait_for(ASK)
            ask(there, "/save b.json")
            there.type("\n")
            there.wait_for("用量：")
        assert server.wait_until_idle()
    whole, stopped = (
        [m["content"] for m in json.loads((tmp_path / name).read_text(encoding="utf-8"))["messages"]]
        for name in ("a.json", "b.json")
    )
    assert whole == ["人民有集會之自由？", script.text] and stopped[:3] == [*whole, "再說"]
    assert script.text.startswith(stopped[3]) and stopped[3] != script.text
