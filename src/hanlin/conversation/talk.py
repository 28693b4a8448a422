"""The conversation itself: lines in, replies and what commands do out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from hanlin.conversation.commands import help_lines, parse, question_of
from hanlin.conversation.dialogue import Dialogue, Refusal
from hanlin.conversation.files import load_dialogue, save_dialogue
from hanlin.conversation.lines import Lines
from hanlin.conversation.options import Chat
from hanlin.conversation.screen import Screen, print_at_once
from hanlin.conversation.writers import Writer, open_writer
from hanlin.core.run.config import build
from hanlin.core.run.errors import HanlinError, explain_os_error
from hanlin.core.text.messages import Message
from hanlin.output import terminal_ink


def converse(model: str, options: Mapping[str, Any]) -> None:
    """Talk with a model until an empty line. options: those of Chat, of writing, and engine.…

    Raises HanlinError for a model that can't answer, and for options that are wrong.
    """
    own = {name: value for name, value in options.items() if name in Chat.model_fields}
    chat = build(Chat, own, "chat")
    lines = Lines(Path(chat.history).expanduser() if chat.history else None)
    dialogue = load_dialogue(Path(chat.load)) if chat.load else Dialogue()
    if chat.system:
        dialogue.set_system(chat.system)
    writer = open_writer(model, {name: value for name, value in options.items() if name not in own})
    with closing(writer):
        Talk(writer, dialogue, lines, Screen(terminal_ink(), print_at_once), chat).run()


class Talk:
    """One conversation. dialogue: as far as it has come."""

    def __init__(self, writer: Writer, dialogue: Dialogue, lines: Lines, screen: Screen, chat: Chat):
        self._writer, self.dialogue, self._lines, self._screen = writer, dialogue, lines, screen
        self._probabilities = False
        self._begins_with = chat
        self._attempt = 0
        self._own_files = {Path(chat.load).resolve()} if chat.load else set[Path]()
        self.commands: Mapping[str, Callable[[str], None]] = {
            "again": self._again,
            "edit": self._edit,
            "undo": self._undo,
            "system": self._system,
            "probs": self._probs,
            "show": lambda _: self._screen.show(self.dialogue),
            "save": self._save,
            "load": self._load,
            "help": lambda _: self._screen.say(*help_lines()),
        }

    def run(self) -> None:
        self._screen.say(f"{self._writer.title}空白行結束對話，/help 列出指令。")
        self._screen.show(self.dialogue)
        if self._begins_with.probs:
            self._take("/probs")
        while line := self._lines.ask():
            self._take(line)
        if self._writer.spent:
            self._screen.note(self._writer.spent)

    def _take(self, line: str) -> None:
        """What goes wrong is read, and the conversation goes on."""
        try:
            said = parse(line)
            if said is None:
                self._ask(question_of(line), list(self.dialogue.messages))
            else:
                self.commands[said.name](said.argument)
        except Refusal as refusal:
            self._screen.say(str(refusal))
        except HanlinError as error:
            self._screen.say(f"error: {error}")
        except OSError as error:
            self._screen.say(f"error: {explain_os_error(error, 'writing a conversation')}")

    def _ask(self, question: str, before: list[Message]) -> None:
        self._lines.keep(question)
        self.dialogue.ask(question)
        self._attempt = 0
        self._reply(before)

    def _reply(self, before: list[Message]) -> None:
        """Let the model answer. Where nothing comes of it, the conversation is what it was before."""
        texts: dict[str, list[str]] = {"text": [], "thought": []}
        stopped = answered = False
        try:
            with closing(self._writer.reply(self.dialogue, self._attempt, self._probabilities)) as reply:
                for written in reply:
                    texts[written.kind].append(written.text)
                    self._screen.write(written)
        except KeyboardInterrupt:
            stopped = True
        finally:
            answered = any("".join(parts).strip() for parts in texts.values())
            self._screen.end(stopped)
            if answered:
                self.dialogue.answer(self._writer.message(*("".join(texts[kind]) for kind in ("text", "thought"))))
            else:
                self.dialogue.messages = before
        if not answered:
            self._screen.note("（沒有回答，這一問不算。）")

    def _again(self, _: str) -> None:
        before = list(self.dialogue.messages)
        self.dialogue.take_back_reply()
        self._attempt += 1
        if self._writer.always_same:
            self._screen.note("（temperature=0：每次都是同一個回答。）")
        self._reply(before)

    def _edit(self, argument: str) -> None:
        first, _, rest = argument.partition(" ")
        number, text = (int(first), rest.strip()) if first.isdecimal() else (0, argument)
        question = text or self._lines.ask(self.dialogue.question(number))
        if not question:
            self._screen.say("沒有改。")
            return
        before = list(self.dialogue.messages)
        self.dialogue.take_back(number)
        self._ask(question, before)

    def _undo(self, _: str) -> None:
        question = self.dialogue.question()
        self.dialogue.take_back()
        self._screen.say(f"收回了：{question}")

    def _system(self, text: str) -> None:
        self.dialogue.set_system(text)
        self._screen.say("下一個回答起照這個系統訊息。" if text else "沒有系統訊息了。")

    def _probs(self, _: str) -> None:
        if not self._writer.has_probabilities:
            raise Refusal("遠端模型不提供機率。")
        self._probabilities = not self._probabilities
        if self._probabilities:
            self._screen.legend()
        else:
            self._screen.say("不再顯示機率。")

    def _save(self, name: str) -> None:
        path = _path(name)
        if path.exists() and path.resolve() not in self._own_files:
            raise Refusal(f"{path} 已經有了，請換個檔名。")
        save_dialogue(path, self.dialogue)
        self._own_files.add(path.resolve())
        self._screen.say(f"存到 {path}：{len(self.dialogue.questions)} 問。")

    def _load(self, name: str) -> None:
        path = _path(name)
        self.dialogue = load_dialogue(path)
        self._own_files.add(path.resolve())
        self._screen.show(self.dialogue)


def _path(name: str) -> Path:
    if not name:
        raise Refusal("要寫檔名，例如 /save 對話.json。")
    return Path(name).expanduser()
