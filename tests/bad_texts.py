"""Made-up bad text of the kinds that crawled pages and scans are full of, to measure what a quality filter finds."""

from __future__ import annotations

import random
import re

MENU = re.findall(
    r"\w+",
    "首頁 關於我們 最新消息 產品介紹 服務項目 會員登入 購物車 聯絡我們 網站導覽 常見問題 線上客服 下載專區 人才招募 "
    "隱私權政策 加入最愛 友站連結 活動花絮 影音專區 電子報 技術支援 經銷據點 企業沿革 公司簡介 品牌故事 "
    "商品分類 特價專區",
)
KEYWORDS = re.findall(
    r"\w+",
    "台北 租車 汽車 便宜 機場 接送 新竹 花蓮 包車 旅遊 住宿 飯店 推薦 民宿 美食 批發 手機 維修 貸款 借錢 當鋪 優惠 "
    "折扣 "
    "團購 代購 減肥 瘦身 保健 食品 紅酒 清潔 搬家 公司 抓漏 防水 油漆 裝潢 設計 窗簾 壁紙 地板 冷氣 "
    "安裝 桃園 台中 高雄",
)
SENTENCES = ("今天的天氣很好，我們去公園散步。", "他在圖書館裡看了一整天的書。", "這家店的麵包是用天然酵母做的。")


def menu(rng: random.Random) -> str:
    return "\n".join(rng.sample(MENU, rng.randint(10, len(MENU))))


def keyword_spam(rng: random.Random) -> str:
    return rng.choice([" ", ",", "、", ""]).join(rng.choices(KEYWORDS, k=rng.randint(80, 300)))


def link_list(rng: random.Random) -> str:
    def link() -> str:
        return f"https://www{rng.randint(1, 99)}.example.com/{rng.randrange(10**8)}/index.php?id={rng.randrange(10**6)}"

    return "\n".join(link() for _ in range(rng.randint(8, 40)))


def scan_garbage(rng: random.Random) -> str:
    marks = "|/\\_~^·.,'`°¬«»=+-{}[]()<>:;'\"!l1Il0Oo"
    return "".join(rng.choice(rng.choice([marks, "丶亅丨乚冂凵厶宀彐彡", "0123456789 "])) for _ in range(300))


def random_characters(rng: random.Random) -> str:
    return "".join(chr(rng.randrange(0x4E00, 0x9FA6)) for _ in range(rng.randint(40, 400)))


def wrong_encoding(rng: random.Random) -> str:
    text = "".join(rng.choices(SENTENCES, k=rng.randint(3, 20)))
    return text.encode("utf-8").decode("latin-1" if rng.random() < 0.5 else "cp1252", errors="replace")


def boilerplate(rng: random.Random) -> str:
    lines = [
        "Copyright © 2024 All Rights Reserved.",
        "您的瀏覽器不支援 JavaScript，請開啟後再瀏覽本站。",
        "本網站使用 cookie 以提供更好的服務，繼續瀏覽即表示同意隱私權政策。",
        "分享到 Facebook 分享到 LINE",
        "上一頁 下一頁 回首頁",
        "版權所有，未經授權不得轉載。",
        "客服專線：0800-000-000",
        "延伸閱讀",
    ]
    return "\n".join(rng.sample(lines, rng.randint(4, 8)) + rng.sample(SENTENCES, 1))


def repeated_lines(rng: random.Random) -> str:
    return "\n".join(rng.choices(SENTENCES, k=rng.randint(10, 60)))


def repeated_phrase(rng: random.Random) -> str:
    return rng.choice(["加入好友領優惠券！", "哈哈哈哈", "buy now cheap watches "]) * rng.randint(20, 90)


def program_left_over(rng: random.Random) -> str:
    names = ["header", "footer", "nav", "main", "btn", "card"]
    return "\n".join(
        f".{rng.choice(names)}{{margin:{rng.randint(0, 99)}px;color:#{rng.randrange(16**6):06x}}}" for _ in range(30)
    )


def numbers(rng: random.Random) -> str:
    return "\n".join("\t".join(f"{rng.randrange(10**5) / 100}" for _ in range(6)) for _ in range(20))


BAD_TEXTS = (
    menu,
    keyword_spam,
    link_list,
    scan_garbage,
    random_characters,
    wrong_encoding,
    boilerplate,
    repeated_lines,
    repeated_phrase,
    program_left_over,
    numbers,
)
