"""A conversation that grows and is taken back; commands read from a line; files that `hanlin show chat` reads too."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanlin.conversation.commands import HELP, help_lines, parse, question_of
from hanlin.conversation.dialogue import Dialogue, Refusal, text_of
from hanlin.conversation.files import load_dialogue, read_conversation, save_dialogue
from hanlin.conversation.lines import Lines
from hanlin.conversation.options import Chat
from hanlin.conversation.screen import Screen
from hanlin.conversation.talk import Talk
from hanlin.conversation.writers import Replying, Writer, Written, message_of
from hanlin.core.run.errors import HanlinError
from hanlin.core.text.messages import Message
from hanlin.curves import PLAIN

THREE = [
    {"role": "system", "content": "簡短回答。"},
    {"role": "user", "content": "甲？"},
    {"role": "assistant", "content": "甲。"},
    {"role": "user", "content": "乙？"},
    {"role": "assistant", "content": "乙。", "reasoning_content": "想"},
]


def test_going_back() -> None:
    dialogue = Dialogue(THREE)
    assert (dialogue.question(), dialogue.question(1)) == ("乙？", "甲？")
    dialogue.take_back_reply()
    assert [text_of(m) for m in dialogue.messages] == ["簡短回答。", "甲？", "甲。", "乙？"]
    dialogue.take_back(1)
    assert dialogue.messages == THREE[:1]
    for act in (dialogue.question, dialogue.take_back, dialogue.take_back_reply):
        with pytest.raises(Refusal, match="還沒有"):
            act()
    with pytest.raises(Refusal, match="只有 2 問"):
        Dialogue(THREE).question(3)


def test_the_system_message() -> None:
    dialogue = Dialogue(THREE)
    dialogue.set_system("用台語。")
    assert dialogue.messages[0] == {"role": "system", "content": "用台語。"} and len(dialogue.messages) == 5
    dialogue.set_system("")
    assert dialogue.messages == THREE[1:]


def test_what_stands_behind_a_slash() -> None:
    assert parse("/edit 2  新的 ") == ("edit", "2  新的")
    assert parse("/undo") == ("undo", "")
    assert parse("//etc 是什麼？") is None and question_of("//etc 是什麼？") == "/etc 是什麼？"
    assert parse("是 / 嗎") is None and question_of("是 / 嗎") == "是 / 嗎"
    with pytest.raises(Refusal, match="/save"):
        parse("/sav x")
    with pytest.raises(Refusal, match="/help"):
        parse("/xyzzy")


@given(st.text())
def test_any_line_is_a_command_a_question_or_refused(line: str) -> None:
    try:
        said = parse(line)
    except Refusal:
        return
    assert said is None or said.name in HELP
    assert said is not None or question_of(line) in (line, line[1:])


class Echo:
    """Answers with the question and how often it was asked; "誰" is refused, "靜" is met with silence."""

    title, has_probabilities, always_same, spent = "回聲。", False, False, ""

    def reply(self, dialogue: Dialogue, attempt: int, probabilities: bool) -> Replying:
        question = dialogue.question()
        if question == "誰":
            raise HanlinError("No.", "a question", "ask", "docs/chat.md")
        if question == "停":
            yield Written("text", "前半")
            raise KeyboardInterrupt
        if question != "靜":
            yield Written("text", f"{question}{attempt}")

    def message(self, text: str, thought: str) -> Message:
        return message_of(text, thought)

    def close(self) -> None:
        pass


class Typed(Lines):
    """Lines that were typed beforehand; what stood there to be changed is noted."""

    def __init__(self, lines: list[str]):
        super().__init__()
        self.left, self.offered = lines, list[str]()

    def ask(self, text: str = "") -> str:
        self.offered += [text] if text else []
        return self.left.pop(0) if self.left else ""


def talk(*lines: str, writer: Writer | None = None, chat: Chat | None = None) -> tuple[Talk, str, Typed]:
    shown: list[str] = []
    typed = Typed(list(lines))
    made = Talk(writer or Echo(), Dialogue(), typed, Screen(PLAIN, shown.append), chat or Chat())
    made.run()
    return made, "".join(shown), typed


def texts(made: Talk) -> list[str]:
    return [text_of(message) for message in made.dialogue.messages]


def test_every_command_is_explained() -> None:
    made, shown, _ = talk("/help")
    assert made.commands.keys() == HELP.keys()
    assert all(line in shown for line in help_lines())


def test_again_edit_and_undo() -> None:
    made, _, typed = talk("甲", "/again", "/again", "乙", "/edit 1", "丙", "丁", "/edit 丁二")
    assert texts(made) == ["丙", "丙0", "丁二", "丁二0"] and typed.offered == ["甲"]
    assert texts(talk("甲", "/again", "/again")[0]) == ["甲", "甲2"]
    made, shown, _ = talk("甲", "乙", "/undo", "/undo", "/undo", "/again")
    assert texts(made) == [] and shown.count("還沒有問過問題") == 2


def test_what_fails_leaves_the_conversation_as_it_was() -> None:
    made, shown, _ = talk("甲", "誰", "靜", "/edit 1 誰", "/edit", "")
    assert texts(made) == ["甲", "甲0"]
    assert shown.count("error: No.") == 2 and shown.count("沒有回答") == 1 and "沒有改" in shown


def test_a_stopped_reply_is_kept() -> None:
    made, shown, _ = talk("停", "乙")
    assert texts(made) == ["停", "前半", "乙", "乙0"] and "停在這裡" in shown


def test_saved_and_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made, shown, _ = talk("/system 短", "甲", "/save a.json", "乙", "/save a.json", "/load a.json", "/load b.json")
    assert read_conversation(Path("a.json"))["messages"] == made.dialogue.messages
    assert texts(made) == ["短", "甲", "甲0", "乙", "乙0"] and "b.json is not a readable" in shown
    made, shown, _ = talk("丙", "/save a.json", "/save", "/save a.json/b", "/show")
    assert "已經有了" in shown and "要寫檔名" in shown and "error: " in shown and "› 丙\n丙0" in shown
    assert len(load_dialogue(Path("a.json")).questions) == 2


def test_tools_of_a_loaded_conversation_are_kept(tmp_path: Path) -> None:
    dialogue = Dialogue(THREE, [{"type": "function", "function": {"name": "天氣"}}])
    save_dialogue(tmp_path / "新" / "a.json", dialogue)
    again = load_dialogue(tmp_path / "新" / "a.json")
    assert (again.messages, again.tools) == (dialogue.messages, dialogue.tools)


@pytest.mark.parametrize("content", ["{", "[]", '["a"]', '{"messages": [{"role": "who", "content": "a"}]}', "3"])
def test_a_file_that_is_no_conversation(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(HanlinError):
        load_dialogue(tmp_path / "a.json")


def test_no_probabilities_from_elsewhere() -> None:
    assert "不提供機率" in talk("/probs")[1]


def test_what_was_asked_is_kept_only_where_wanted(tmp_path: Path) -> None:
    lines = Lines(tmp_path / "new" / "history")
    for question in ("甲\n乙", "丙"):
        lines.keep(question)
    assert (tmp_path / "new" / "history").read_text(encoding="utf-8") == '"甲\\n乙"\n"丙"\n'
    assert (tmp_path / "new" / "history").stat().st_mode & 0o077 == 0
    (tmp_path / "other").write_text("no json")
    with pytest.raises(HanlinError, match="not readable as a history"):
        Lines(tmp_path / "other")
