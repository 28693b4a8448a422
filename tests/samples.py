"""Text for tests, written for them: everyday Taiwan, court language, code, emoji, rare characters, whitespace."""

from __future__ import annotations

import random

SENTENCES = [
    "台灣位於東亞，四面環海，最高的山是玉山，海拔三千九百五十二公尺。",
    "憲法保障人民之自由與權利，非有必要，不得以法律限制之。",
    "大法官解釋憲法，並有統一解釋法律及命令之權。",
    "今天下午會下雨，出門記得帶傘，也別忘了悠遊卡。",
    "這套軟體的預設設定可以在選單裡更改，資料會存在你的電腦上。",
    "捷運站旁邊的豆漿店，早上六點就開門了，燒餅要排隊才買得到。",
    "請把檔案上傳到雲端硬碟，再把連結寄給我。",
    "阿嬤說：「吃飽了沒？」我說：「還沒，等一下要去夜市。」",
    "人民有請願、訴願及訴訟之權，憲法第十六條定有明文。",
    "本件聲請人因違反道路交通管理處罰條例事件，認所適用之規定有牴觸憲法之疑義，聲請解釋。",
    "這支影片的品質很好，記憶體不夠的話就先關掉其他程式。",
    "颱風來的時候，全台停班停課，大家都去買泡麵。",
    "高鐵從台北到左營只要一個半小時，票可以用手機買。",
    "圖書館裡有很多人準備考試，網路也很快。",
    "他是軟體工程師，寫程式寫了十年，最近在學機器學習。",
    "機車停在騎樓下，罰單貼在座墊上。",
    "珍珠奶茶半糖少冰，外帶一杯六十元。",
    "法院認為，原判決適用法規並無違誤，上訴為無理由，應予駁回。",
    "中央氣象署發布大雨特報，山區請留意落石與溪水暴漲。",
    "資訊公開是民主國家的基本要求，政府機關不得任意拒絕。",
    "She said it's fine, and they'll meet at 7:30 p.m. in Taipei.",
    "The quick brown fox jumps over the lazy dog.",
    "def add(a, b):\n    return a + b\n",
    "平等原則並非要求機械式之形式上平等，而係保障人民在法律上地位之實質平等。",
]

CODE = [
    "for i in range(10): print(i * 2)",
    "\tif (x != nullptr && *x >= 0xFF) { return -1; }",
    "SELECT name, COUNT(*) FROM users WHERE city = '臺北市' GROUP BY name;",
    "const 總計 = items.reduce((a, b) => a + b.price, 0); // 加總",
    'git commit -m "修正：編碼錯誤" && git push origin main',
    '<div class="標題">你好</div>\r\n<br/>',
    'x = {"姓名": "王小明", "年齡": 18}\n\n\nprint(x)',
    '#include <stdio.h>\n\nint main(void)\n{\n\tputs("嗨");\n}\n',
    "λ x → x² + √y ≠ ∞  // ∀x∈ℝ",
    "C:\\Users\\使用者\\文件\\報告.docx",
    "https://www.example.org/路徑?查詢=1&b=%E5%8F%B0#段落",
    "a+=1;;b--;c**=2;!!d;~e;f<<=3",
    "I'm you're we've they'll he'd DON'T IT'S 'tis o'clock ''quoted''",
    "1234567890 12,345.67 1e-5 0b1010 ３．１４ 一二三 ⅣⅫ ½ ²³",
]

EMOJI = [
    "😀😃😄",
    "👨‍👩‍👧‍👦 一家人",
    "🇹🇼台灣加油🇹🇼",
    "👍🏽👍🏿讚",
    "❤️‍🔥 ❤️ ❤",
    "1️⃣2️⃣3️⃣",
    "🧋珍奶 🏍️機車 🌀颱風",
    "(╯°□°）╯︵ ┻━┻",
    "ヽ(✿ﾟ▽ﾟ)ノ～☆",
    "🏴󠁧󠁢󠁥󠁮󠁧󠁿",
]

RARE = [
    "𠮷野家、𡘙、𣎴、𪚥、𫝀、𬎆、𭃌、𮯠、𰻝",
    "㐀㐁㑇㒨 䶮 龘靐齉爨",
    "豈更車賈 (相容漢字)",
    "ㄅㄆㄇㄈ ㄧㄨㄩ ˊˇˋ˙ ㄅㄧㄢˋ",
    "Tâi-oân-lâng lóng ài chia̍h-pn̄g, hō͘-lâm",
    "客家話：𠊎 愛 食 飯",
    "e\u0301 vs \u00e9; o\u0358 ; a\u030a\u0308",
    "ひらがな カタカナ ﾊﾝｶｸ 漢字かな交じり文",
    "한국어 문장입니다. 서울 2025년",
    "العربية ١٢٣ עברית ภาษาไทย हिन्दी தமிழ்",
    "Ελληνικά Русский Ёлка ß ẞ ſ İ ı ﬁ ﬀ",
    "「『〈《【〔（）〕】》〉』」、。，；：？！…—～・",
    "ＡＢＣ ａｂｃ １２３ ！＠＃",
    "\u200b零寬\u200d空\u2060白\ufeff字",
    "\u00a0\u3000\u2003\u2028\u2029全形\u3000空白",
    "a\u0000b\u0007c\u001bd\u007fe",
    "\ue000\ue001 私用區 \uf8ff",
    "🀄︎〇〻〆々㊣㍿℃№",
]

SPACES = [
    " ",
    "  ",
    "\n",
    "\n\n",
    "\r\n\r\n",
    "\t\t",
    " \n ",
    "   前面三個空格",
    "後面三個空格   ",
    "中間   三個   空格",
    "換行\n\n  縮排\n\t定位\r\n結束 \n",
    "字 \n\n\n字",
    "a  b   c    d",
    " 。 ， ！\n\n？\r\n",
]

RUNS = ["a" * 50, "哈" * 60, "！" * 40, "0" * 30, "-=" * 30, "😀" * 20, " " * 17 + "x", "\n" * 9 + "字"]


def varied_lines(count: int = 320) -> list[str]:
    """All the lines above, then seeded mixtures of their parts; `count` in all."""
    lines = SENTENCES + CODE + EMOJI + RARE + SPACES + RUNS
    draw = random.Random(7)
    pool = "".join(lines)
    while len(lines) < count:
        parts = []
        for _ in range(draw.randint(1, 5)):
            start, length = draw.randrange(len(pool)), draw.randint(1, 12)
            parts.append(pool[start : start + length])
        lines.append(draw.choice(["", " ", "，", "\n"]).join(parts))
    return lines


SPELLED = ["<s>", "</s>", "<unk>", "<0x41>", "<0xE5>", "<|endoftext|>", "<|im_end|>", "▁", "▁▁", "[UNK]", "##a"]
MARKS = "\u0300\u0301\u0304\u0308\u030a\u030d\u0323\u0345\u0358\u3099\ufe0f\u200d"


def wild_lines(count: int, seed: int = 1) -> list[str]:
    """Runs of a character, tokens' names spelled out, marks in any order, characters of every block: what tokenizers
    of different makes are apt to treat differently."""
    draw = random.Random(seed)
    pool = "".join(SENTENCES + CODE + EMOJI + RARE + SPACES)

    def part() -> str:
        kind, length = draw.randrange(6), draw.randint(1, 12)
        start = draw.randrange(len(pool))
        foreign = [(0x20, 0xD7FF), (0xF900, 0xFFFD), (0x1F000, 0x1FAFF), (0x20000, 0x2A6DF)]
        return [
            lambda: draw.choice("a =-😀哈 \n\t.▁") * draw.randint(1, 24),
            lambda: "".join(draw.choices("ab -=", k=length)),
            lambda: pool[start : start + length],
            lambda: draw.choice(SPELLED),
            lambda: "".join(chr(draw.randint(*draw.choice(foreign))) for _ in range(4)),
            lambda: draw.choice("eaouAＡｶ") + "".join(draw.choices(MARKS, k=draw.randint(1, 3))),
        ][kind]()

    return ["".join(part() for _ in range(draw.randint(1, 6))) for _ in range(count)]


def user(content: str) -> dict[str, str]:
    return {"role": "user", "content": content}


def assistant(content: str) -> dict[str, str]:
    return {"role": "assistant", "content": content}


def system(content: str) -> dict[str, str]:
    return {"role": "system", "content": content}


CONVERSATIONS = [
    [user("你好"), assistant("你好！有什麼可以幫忙的嗎？")],
    [
        system("你是熟悉台灣法律的助理，用繁體中文回答。"),
        user("什麼是大法官解釋？"),
        assistant("司法院大法官就憲法或法令所作的權威解釋。"),
    ],
    [
        user("台灣最高的山是哪一座？"),
        assistant("玉山，海拔 3,952 公尺。"),
        user("第二高呢？"),
        assistant("雪山，海拔 3,886 公尺。"),
    ],
    [user("  前後有空白  "), assistant("\n我會去掉空白。\n")],
    [user("寫一個加法函式"), assistant("```python\ndef add(a, b):\n    return a + b\n```")],
    [user("🧋要半糖還是全糖？"), assistant("半糖少冰 😋")],
    [system("回答要簡短。"), user("1+1=?"), assistant("2")],
    [user("翻成台灣用語：软件、视频、信息"), assistant("軟體、影片、資訊")],
    [user("吉野家的「吉」是𠮷嗎？"), assistant("招牌上寫的是𠮷，土字頭的那個。")],
    [user("第一行\n第二行\n\n第四行"), assistant("收到四行，其中一行是空的。")],
    [
        user("記憶體不足怎麼辦？"),
        assistant("先關掉用不到的程式，或把批次調小。"),
        user("還是不行"),
        assistant("那就換小一點的模型。"),
        user("謝謝"),
        assistant("不客氣！"),
    ],
    [user("I'm from Taipei."), assistant("Nice! You'll find good beef noodles there.")],
    [system("你是客服。"), system("請有禮貌。"), user("我要退貨"), assistant("好的，請提供訂單編號。")],
    [user("What is 台灣?"), assistant("A place in East Asia: 台灣 (Taiwan).")],
    [user("列出三種水果"), assistant("1. 芒果\n2. 蓮霧\n3. 芭樂")],
    [user("明天會下雨嗎？\t（台北）"), assistant("中央氣象署說降雨機率 70%。")],
    [user("Pe̍h-ōe-jī 是什麼？"), assistant("白話字，臺語的羅馬字寫法。")],
    [user("請畫表格"), assistant("| 站 | 分鐘 |\n|---|---|\n| 台中 | 47 |")],
    [user("<b>這是 HTML 嗎？</b> &amp; {{ 不是樣板 }}"), assistant("{% 是文字，不是樣板 %}")],
    [user("最後一題"), assistant("好。"), user("沒有問題了")],
]
"""Twenty conversations in Taiwan wording; the last one waits for a reply."""
