"""What the page calls things: Taiwan's words, the English name small beside them. What is not listed keeps its name."""

from __future__ import annotations

from html import escape

KINDS = {"text": "份文件", "chat": "段對話", "preference": "組偏好"}

STEPS = {
    "read": "讀入",
    "normalise": "正規化",
    "exact": "完全重複",
    "near": "近似重複",
    "lines": "重複的行與段落",
    "spans": "長段重複",
    "script": "字體",
    "wording": "用語",
    "language": "語言",
    "quality": "品質",
    "classifier": "品質分類器",
    "perplexity": "困惑度",
    "decontaminate": "排除考題",
    "personal": "個人資料",
    "toxicity": "不當內容",
    "secrets": "金鑰與密碼",
    "build": "產生資料列",
    "mix": "混合",
    "kind": "種類",
}
"""Steps of collect, and what they leave in notes."""

REASONS = {
    "empty": "沒有內容",
    "empty message": "有空白訊息",
    "too short": "太短",
    "no reply": "沒有回覆",
    "no prompt": "沒有提問",
    "duplicate": "完全重複",
    "near duplicate": "近似重複",
    "unreadable": "無法讀取",
    "other kind": "不是要留的種類",
    "repeated lines": "重複的行太多",
    "repeated spans": "重複的長段太多",
    "in the evaluation set": "和考題重疊",
}

SCRIPTS = {"Hant": "繁體", "Hans": "簡體", "mixed": "繁簡混用", "other": "沒有漢字，或看不出來"}

LANGUAGES = {
    "zh": "中文",
    "zh-TW": "中文（臺灣）",
    "zh-CN": "中文（中國）",
    "zh-HK": "中文（香港）",
    "zh-Hant": "中文（繁體）",
    "zh-Hans": "中文（簡體）",
    "lzh": "文言文",
    "yue": "粵語",
    "nan": "臺語",
    "hak": "客語",
    "en": "英語",
    "ja": "日語",
    "ko": "韓語",
    "vi": "越南語",
    "id": "印尼語",
    "th": "泰語",
    "fr": "法語",
    "de": "德語",
    "es": "西班牙語",
    "": "沒有判斷",
    "und": "無法判斷",
}

ROLES = {"system": "系統", "developer": "系統", "user": "使用者", "assistant": "助理", "tool": "工具"}

SPLITS = {"train": "訓練", "heldout": "保留考題"}


def both(words: dict[str, str], name: str) -> str:
    """近似重複 <small>near</small>, as HTML; the name alone where it has no other."""
    word = words.get(name)
    english = f'<small lang="en">{escape(name)}</small>' if name else ""
    return f"{escape(word)} {english}".strip() if word else f"<span>{escape(name)}</span>"


def heading(chinese: str, english: str) -> str:
    return f'{chinese} <small lang="en">{english}</small>'


def subject(name: str) -> str:
    """quality: repetition → 品質：repetition <small>quality</small>"""
    step, colon, part = name.partition(": ")
    return both(STEPS, step) + (f"：{escape(part)}" if colon else "")
