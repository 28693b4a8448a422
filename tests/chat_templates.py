"""Every chat template of ours with a tiny tokenizer that has its tokens, and conversations to render."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from conftest import train_tiny_backend
from samples import CONVERSATIONS, assistant, system, user
from tokenizers import AddedToken

from hanlin.core.text.template_files import named_template
from hanlin.core.text.tokenizer import IM_END, PAD, Tokenizer


@dataclass(frozen=True)
class Case:
    """special, others: tokens added to the tokenizer. stop: what ends a reply. trims: contents lose outer spaces.
    lead: what the template puts between its prompt and the reply."""

    name: str
    special: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    bos: str | None = None
    stop: str = "</s>"
    trims: bool = False
    lead: str = ""


MISTRAL = ("INST", "AVAILABLE_TOOLS", "TOOL_RESULTS")

CASES = {
    case.name: case
    for case in (
        Case("chatml", stop=IM_END, trims=True),
        Case(
            "qwen3",
            others=("<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"),
            stop=IM_END,
        ),
        Case(
            "llama3",
            special=("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
            bos="<|begin_of_text|>",
            stop="<|eot_id|>",
            trims=True,
        ),
        Case(
            "gemma",
            special=("<bos>", "<start_of_turn>", "<end_of_turn>"),
            others=("\n\n", "\n\n\n"),
            bos="<bos>",
            stop="<end_of_turn>",
            trims=True,
        ),
        Case(
            "mistral",
            special=("<s>", "</s>", *(f"[{s}{name}]" for name in MISTRAL for s in ("", "/")), "[TOOL_CALLS]"),
            bos="<s>",
            lead=" ",
        ),
        Case("phi3", special=("<|system|>", "<|user|>", "<|assistant|>", "<|end|>"), stop="<|end|>"),
        Case("alpaca", special=("<s>", "</s>"), bos="<s>", trims=True),
        Case("vicuna", special=("<s>", "</s>"), bos="<s>", trims=True, lead=" "),
        Case("zephyr", special=("</s>",)),
    )
}


def settings_of(case: Case, **more: Any) -> dict[str, Any]:
    named = {"eos_token": case.stop, "pad_token": PAD, "chat_template": named_template(case.name)}
    return named | ({"bos_token": case.bos} if case.bos else {}) | more


def backend_of(case: Case):
    backend = train_tiny_backend()
    backend.add_special_tokens(list(case.special))
    backend.add_tokens([AddedToken(token, normalized=False) for token in case.others])
    return backend


@lru_cache
def tokenizer_of(name: str) -> Tokenizer:
    return Tokenizer(backend_of(CASES[name]), settings_of(CASES[name]))


def expected_reply(case: Case, content: str, is_last: bool) -> str:
    """What is trained of a reply without thought, the stop token included."""
    text = case.lead + (content.strip() if case.trims else content)
    if case.name == "qwen3" and is_last:
        text = "<think>\n\n</think>\n\n" + text.lstrip("\n")
    return text + case.stop


PLAIN = [
    *[c for c in CONVERSATIONS if [m["role"] for m in c].count("system") < 2][:12],
    [user("空的回答也可以"), assistant("")],
    [user("前後都有空白"), assistant("\n\n兩個換行\n"), user("再一次"), assistant("  前面兩格，後面一格 ")],
    [user("  縮排的問題\n"), assistant("好"), user("\t"), assistant("那是定位字元")],
    [system("  規則：\n1. 簡短  "), user("問"), assistant("\t答")],
    [user("寫一段程式"), assistant('```c\n#include <stdio.h>\n\nint main(void)\n{\n\tputs("嗨");\n}\n```\n')],
    [user("🇹🇼👨‍👩‍👧‍👦"), assistant("👍🏽"), user("❤️‍🔥"), assistant("1️⃣")],
    [system("只問不答"), user("<b>1 &lt; 2</b> {{ 不是樣板 }}")],
    [user("一"), assistant("1"), user("二"), assistant("2"), user("三"), assistant("3"), user("四")],
]
"""Twenty conversations that every template takes; two of them wait for a reply."""

TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "查詢 <某地> 的天氣 & 'temperature'",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}},
        },
    },
    {"type": "function", "function": {"name": "now", "description": "現在時間", "parameters": {"type": "object"}}},
]


def call(name: str, number: int, **arguments: Any) -> dict[str, Any]:
    return {"id": f"call0000{number}", "type": "function", "function": {"name": name, "arguments": arguments}}


def calling(*calls: dict[str, Any], content: str = "", **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, "tool_calls": list(calls), **more}


def result(number: int, content: str) -> dict[str, Any]:
    return {"role": "tool", "content": content, "tool_call_id": f"call0000{number}"}


WITH_TOOLS: list[list[dict[str, Any]]] = [
    [user("臺北天氣？"), calling(call("weather", 1, city="臺北", days=2)), result(1, "晴，28 度"), assistant("晴天。")],
    [
        system("簡短"),
        user("現在幾點？"),
        calling(call("now", 1)),
        result(1, '{"時": 8}'),
        assistant("八點。"),
        user("謝謝"),
    ],
    [
        user("臺北和高雄？"),
        calling(call("weather", 1, city="臺北"), call("weather", 2, city="高雄", more={"濕度": [True, None, 1.5]})),
        result(1, "晴"),
        result(2, "雨\n很大"),
        assistant("臺北晴，高雄雨。"),
        user("花蓮呢？"),
        calling(call("weather", 3, city="花蓮")),
        result(3, "陰"),
    ],
    [user("查一下"), calling(call("now", 1), content="我看看時鐘。"), result(1, "九點"), assistant("九點。")],
]

WITH_THOUGHTS: list[list[dict[str, Any]]] = [
    [user("1+1=?"), {**assistant("2"), "reasoning_content": "一加一。"}],
    [user("1+1=?"), assistant("<think>\n一加一。\n</think>\n\n2")],
    [
        user("1+1=?"),
        {**assistant("2"), "thinking": "一加一。"},
        user("再加一？"),
        {**assistant("3"), "thinking": "二加一"},
    ],
    [
        user("時間？"),
        calling(call("now", 1), reasoning_content="要查。"),
        result(1, "九點"),
        {**assistant("九點。"), "reasoning_content": "查到了。"},
    ],
]
