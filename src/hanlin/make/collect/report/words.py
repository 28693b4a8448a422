"""What the page calls things: Taiwan's words, the English name small beside them. What is not listed keeps its name."""

from __future__ import annotations

from collections.abc import Mapping
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
    "build": "產生對話",
    "mix": "混合",
    "intake": "收進時移除",
    "pdf": "PDF",
    "code": "程式語言",
}
"""Steps of collect, and what they leave in notes."""

REASONS = {
    "empty": "沒有內容",
    "empty message": "有空白訊息",
    "too short": "太短",
    "no reply": "沒有回覆",
    "no prompt": "沒有提問",
    "no messages": "沒有訊息",
    "no reply to judge": "沒有可以評分的回覆",
    "unsupported role": "不支援的角色",
    "content is not text": "內容不是文字",
    "tool_calls without names": "工具呼叫沒有名稱",
    "tools are not a list of objects": "工具清單格式不對",
    "history is not pairs of text": "歷史訊息不成對",
    "chosen and rejected are the same": "兩個回覆相同",
    "chosen and rejected do not answer the same prompt": "兩個回覆的提問不同",
    "duplicate": "完全重複",
    "near duplicate": "近似重複",
    "unreadable": "無法讀取",
    "other kind": "不是要留的種類",
    "personal data": "有個人資料",
    "secrets": "有金鑰或密碼",
    "toxicity": "不當內容",
    "mainland wording": "中國用語太多",
    "script": "字體不合",
    "simplified": "簡體字太多",
    "language": "語言不合",
    "unlike the good examples": "不像好的例子",
    "easy to predict": "太容易預測",
    "hard to predict": "太難預測",
    "nothing to build": "沒有可以產生的內容",
    "left out by the mix": "混合時略過",
    "not drawn": "沒有抽中",
    "too few characters": "字太少",
    "broken characters": "亂碼太多",
    "addresses": "網址太多",
    "lorem ipsum": "排版用的假文",
    "curly brackets": "大括號太多",
    "digits": "數字太多",
    "symbols": "符號太多",
    "punctuation": "標點太多",
    "few letters": "文字太少",
    "no punctuation": "標點太少",
    "no sentence": "沒有完整的句子",
    "boilerplate": "制式文字太多",
    "bullets": "條列太多",
    "ellipses": "刪節號太多",
    "short lines": "短行太多",
    "lines without an end": "沒有結尾標點的行太多",
    "repeated paragraphs": "重複的段落太多",
    "repeated phrases": "重複的詞句太多",
    "one phrase again and again": "同一句話一再出現",
    "rare characters": "罕用字太多",
    "no function characters": "虛字太少",
    "words of single letters": "單一字母的詞太多",
    "overlong words": "詞太長",
    "words without letters": "沒有字母的詞太多",
    "no stop words": "常用詞太少",
    "garbled page": "亂碼頁",
    "page without text": "沒有文字的頁",
    "broken page": "損壞的頁",
    "names a scan": "只有掃描檔的名稱",
    "no article": "不是條目",
    "disambiguation": "消歧義頁",
    "redirect": "重新導向頁",
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

MEASURES = {
    "near: size": "重複群的大小",
    "near: similarity": "近似重複的相似度",
    "language": "語言判斷的把握",
    "classifier": "品質分類器的分數",
    "spans": "重複長段的比例",
    "script: only Traditional": "漢字中只有繁體才用的比例",
    "script: only Simplified": "漢字中只有簡體才用的比例",
}
"""What numbers measure."""

FOUND: dict[str, dict[str, str]] = {
    "lines": {"repeated": "重複的行", "removed": "移除的行"},
    "toxicity": {
        "profanity": "粗話",
        "slur": "歧視的稱呼",
        "sexual": "色情",
        "threat": "威脅",
        "spam": "垃圾訊息",
    },
    "intake": {"invisible characters": "控制字元與殘缺字元"},
    "pdf": {"pages": "頁", "recognised": "文字辨識的頁", "set aside": "擱置的頁"},
    "language": LANGUAGES,
}
"""What steps count, by their names."""

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
    """quality: repetition → 品質 <small>quality</small>：repetition"""
    if name in MEASURES:
        return both(MEASURES, name)
    step, colon, part = name.partition(": ")
    return both(STEPS, step) + (f"：{escape(part)}" if colon else "")


def meanings(subject: str) -> Mapping[str, str]:
    """What the names that a step counts mean: Taiwan's word for a mainland one, a kind of personal data."""
    if subject == "wording":
        from hanlin.core.text.wording import wording

        return {term.mainland: f"{term.mainland} → {term.taiwan}" for term in wording().terms}
    if subject == "personal":
        from hanlin.core.text.personal.match import KINDS as PERSONAL

        return PERSONAL
    return FOUND.get(subject, {})
