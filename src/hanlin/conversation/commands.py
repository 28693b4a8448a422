"""What may stand behind a slash."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import NamedTuple

from hanlin.columns import aligned
from hanlin.conversation.dialogue import Refusal

SLASH = "/"


class Said(NamedTuple):
    """A command's name and what stands behind it."""

    name: str
    argument: str


class Help(NamedTuple):
    takes: str
    does: str


HELP: Mapping[str, Help] = {
    "again": Help("", "換一個亂數種子，重寫上一個回答"),
    "edit": Help("[第幾問] [新的問題]", "改寫一個問題，從那裡接著談；不寫數字就是上一問"),
    "undo": Help("", "收回上一問和它的回答"),
    "system": Help("[文字]", "設定系統訊息；不寫文字就拿掉"),
    "probs": Help("", "顯示每個詞元的機率，再打一次就不顯示"),
    "show": Help("", "從頭列出這段對話"),
    "save": Help("檔案", "把對話存成 JSON"),
    "load": Help("檔案", "讀進存下的對話，接著談"),
    "help": Help("", "列出這些指令"),
}


def parse(line: str) -> Said | None:
    """The command in a line, None for a question. Raises Refusal for one that isn't known."""
    if not line.startswith(SLASH) or line.startswith(SLASH * 2):
        return None
    name, _, argument = line[1:].partition(" ")
    if name in HELP:
        return Said(name, argument.strip())
    near = difflib.get_close_matches(name, HELP, n=1, cutoff=0.5)
    advice = f"是不是 /{near[0]}？" if near else "/help 列出所有指令。"
    raise Refusal(f"沒有 /{name} 這個指令，{advice}（要問以 / 開頭的話，請打兩個 /。）")


def question_of(line: str) -> str:
    """A question that begins with a slash is typed with two."""
    return line.removeprefix(SLASH) if line.startswith(SLASH * 2) else line


def help_lines() -> list[str]:
    rows = [(f"/{name}", takes, does) for name, (takes, does) in HELP.items()]
    return [
        *aligned(rows),
        '好幾行的問題以 """ 起頭、以 """ 結尾。Ctrl-C 停下回答，空白行結束對話。',
    ]
