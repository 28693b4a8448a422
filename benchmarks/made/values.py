"""Made-up personal data with right check digits, and numbers that look like them. Faker supplies names and mail; its
zh_TW numbers have wrong check digits or lengths, so numbers are made here."""

from __future__ import annotations

import random
from collections.abc import Callable

from faker import Faker

Make = Callable[[random.Random], str]

LETTER_NUMBERS = {letter: 10 + place for place, letter in enumerate("ABCDEFGHJKLMNPQRSTUVXYWZIO")}
COUNTIES = {
    "臺北市": ("大安區", "信義區", "中山區", "北投區"),
    "新北市": ("板橋區", "新店區", "三重區", "淡水區"),
    "桃園市": ("中壢區", "平鎮區", "龜山區"),
    "台中市": ("西屯區", "北區", "豐原區"),
    "臺南市": ("東區", "永康區", "新市區"),
    "高雄市": ("前鎮區", "左營區", "那瑪夏區"),
    "新竹縣": ("竹北市", "湖口鄉"),
    "彰化縣": ("員林市", "鹿港鎮"),
    "屏東縣": ("屏東市", "潮州鎮", "三地門鄉"),
    "花蓮縣": ("花蓮市", "吉安鄉"),
    "金門縣": ("金城鎮",),
}
ROADS = (
    "中山路",
    "忠孝東路",
    "民生街",
    "自由路",
    "和平西路",
    "光復南路",
    "市政大道",
    "文心路",
    "經國路",
    "至善街",
    "四維三路",
    "大同街",
    "復興路",
    "永安街",
    "裕農路",
)
BANKS = ("004", "005", "006", "007", "008", "012", "013", "017", "700", "808", "812", "822")


def person_id(r: random.Random, second: str) -> str:
    letter = r.choice(list(LETTER_NUMBERS))
    body = second + "".join(r.choice("0123456789") for _ in range(7))
    return letter + body + str(-_sum(letter, body) % 10)


def _sum(letter: str, body: str) -> int:
    digits = [int(char) if char.isdigit() else LETTER_NUMBERS[char] % 10 for char in body]
    number = LETTER_NUMBERS[letter]
    return number // 10 + number % 10 * 9 + sum(digit * weight for digit, weight in zip(digits, range(8, 0, -1)))


def national_id(r: random.Random) -> str:
    value = person_id(r, r.choice("12"))
    return r.choice([value] * 6 + [f"{value[0]}-{value[1:]}", f"{value[0]} {value[1:]}", wide(value)])


def resident_id(r: random.Random) -> str:
    return person_id(r, r.choice("89ABCD"))


def company_id(r: random.Random) -> str:
    while True:
        digits = [r.randrange(10) for _ in range(8)]
        total = sum(sum(map(int, str(digit * weight))) for digit, weight in zip(digits, (1, 2, 1, 2, 1, 2, 4, 1)))
        if total % 5 == 0 or (digits[6] == 7 and (total + 1) % 5 == 0):
            return "".join(map(str, digits))


def digits(r: random.Random, count: int) -> str:
    return "".join(r.choice("0123456789") for _ in range(count))


def health_card(r: random.Random) -> str:
    return "0000" + digits(r, 8)


def passport(r: random.Random) -> str:
    return "3" + digits(r, 8)


def carrier(r: random.Random) -> str:
    if r.random() < 0.7:
        return "/" + "".join(r.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.") for _ in range(6)) + r.choice("ABC123")
    return "".join(r.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ") for _ in range(2)) + digits(r, 14)


def mobile(r: random.Random) -> str:
    a, b, c = "09" + digits(r, 2), digits(r, 3), digits(r, 3)
    forms = (
        f"{a}-{b}-{c}",
        f"{a}{b}{c}",
        f"{a}-{b}{c}",
        f"{a} {b} {c}",
        f"+886-{a[1:]}-{b}-{c}",
        f"+886{a[1:]}{b}{c}",
        wide(f"{a}{b}{c}"),
    )
    return r.choices(forms, (30, 30, 20, 10, 5, 5, 3))[0]


def landline(r: random.Random) -> str:
    area, first, size = r.choice(
        [
            ("02", "2", 8),
            ("02", "8", 8),
            ("03", "5", 7),
            ("04", "2", 8),
            ("06", "2", 7),
            ("07", "3", 7),
            ("049", "2", 7),
            ("037", "6", 6),
            ("089", "3", 6),
        ]
    )
    number = first + digits(r, size - 1)
    split = f"{number[:-4]}-{number[-4:]}"
    end = r.choice(["", "", "", f"#{digits(r, 3)}", f" 分機 {digits(r, 3)}", f"轉{digits(r, 2)}"])
    return (
        r.choice(
            [f"({area}){split}", f"{area}-{number}", f"{area}-{split}", f"({area}) {split}", f"+886-{area[1:]}-{split}"]
        )
        + end
    )


def address(r: random.Random) -> str:
    county = r.choice(list(COUNTIES))
    han = r.random() < 0.1
    number = (lambda n: _han(n)) if han else str
    text = county + r.choice(COUNTIES[county])
    if r.random() < 0.15:
        text += r.choice(["光明里", "中興里", "仁和里"]) + f"{number(r.randint(1, 30))}鄰"
    text += r.choice(ROADS)
    if r.random() < 0.5:
        text += r.choice("一二三四五") + "段"
    if r.random() < 0.4:
        text += f"{number(r.randint(2, 400))}巷"
        if r.random() < 0.4:
            text += f"{number(r.randint(2, 60))}弄"
    text += f"{number(r.randint(1, 400))}號"
    if r.random() < 0.5:
        text += f"{number(r.randint(2, 15))}樓" + (f"之{number(r.randint(1, 9))}" if r.random() < 0.4 else "")
    return (f"{r.randint(100, 983)} " if r.random() < 0.15 else "") + text


def plate(r: random.Random) -> str:
    letters = "ABCDEFGHJKLMNPQRSTUVWXYZ"
    a, b, c = (r.choice(letters) for _ in range(3))
    forms = (
        f"{a}{b}{c}-{digits(r, 4)}",
        f"{digits(r, 4)}-{a}{b}",
        f"{a}{b}-{digits(r, 4)}",
        f"{a}{b}{c}-{digits(r, 3)}",
        f"{digits(r, 3)}-{a}{b}{c}",
    )
    return r.choices(forms, (5, 2, 1, 2, 1))[0]


def bank_account(r: random.Random) -> str:
    number = digits(r, r.choice((12, 13, 14)))
    if r.random() < 0.4:
        return f"{r.choice(BANKS)}-{number}"
    return r.choice([number, f"{number[:4]}-{number[4:8]}-{number[8:]}"])


def card(r: random.Random) -> str:
    prefix, size = r.choice([("4", 16), ("4", 16), ("52", 16), ("55", 16), ("3530", 16), ("37", 15)])
    body = prefix + digits(r, size - len(prefix) - 1)
    total = sum(
        sum(map(int, str(int(digit) * (2 if place % 2 == 0 else 1)))) for place, digit in enumerate(reversed(body))
    )
    value = body + str(-total % 10)
    if size == 15:
        return value
    return r.choice(
        [
            value,
            " ".join(value[i : i + 4] for i in range(0, 16, 4)),
            "-".join(value[i : i + 4] for i in range(0, 16, 4)),
        ]
    )


def iban(r: random.Random) -> str:
    body = digits(r, 18)
    check = 98 - int(body + "131400") % 97
    return r.choice([f"DE{check:02d}{body}", " ".join(f"DE{check:02d}{body}"[i : i + 4] for i in range(0, 22, 4))])


def line_id(r: random.Random) -> str:
    return "".join(r.choice("abcdefghijkmnpqrstuvwxyz") for _ in range(r.randint(3, 7))) + digits(r, r.randint(1, 4))


def birthday(r: random.Random) -> str:
    year, month, day = r.randint(1940, 2008), r.randint(1, 12), r.randint(1, 28)
    forms = (
        f"民國{year - 1911}年{month}月{day}日",
        f"{year}年{month}月{day}日",
        f"{year}/{month:02d}/{day:02d}",
        f"{year}-{month:02d}-{day:02d}",
        f"民國{_han(year - 1911)}年{_han(month)}月{_han(day)}日",
    )
    return r.choice(forms)


class People:
    """Names and mail from Faker zh_TW, seeded."""

    def __init__(self, seed: int):
        self.faker = Faker("zh_TW")
        self.faker.seed_instance(seed)

    def name(self, r: random.Random) -> str:
        return self.faker.name()

    def email(self, r: random.Random) -> str:
        return self.faker.free_email()


def wide(text: str) -> str:
    return "".join(chr(ord(char) + 0xFEE0) for char in text)


def _han(number: int) -> str:
    signs = "〇一二三四五六七八九"
    if number >= 100:
        rest = number % 100
        return (
            signs[number // 100]
            + "百"
            + (
                ""
                if not rest
                else "零" + signs[rest]
                if rest < 10
                else signs[rest // 10] + "十" + (signs[rest % 10] if rest % 10 else "")
            )
        )
    tens, ones = divmod(number, 10)
    return ("" if tens == 0 else "十" if tens == 1 else signs[tens] + "十") + (signs[ones] if ones else "")


VALUES: dict[str, Make] = {
    make.__name__: make
    for make in (
        national_id,
        resident_id,
        company_id,
        health_card,
        passport,
        carrier,
        mobile,
        landline,
        address,
        plate,
        bank_account,
        card,
        iban,
        line_id,
        birthday,
    )
}


def near_misses(r: random.Random) -> dict[str, str]:
    """What only looks personal, by the name templates use."""
    wrong = person_id(r, r.choice("12"))
    year = r.randint(95, 114)
    return {
        "bad_id": wrong[:-1] + str((int(wrong[-1]) + r.randint(1, 9)) % 10),
        "order": r.choice([f"{digits(r, 12)}", f"TW{digits(r, 10)}", f"09{digits(r, 8)}", f"2024{digits(r, 10)}"]),
        "isbn": r.choice([f"978-957-{digits(r, 2)}-{digits(r, 4)}-{digits(r, 1)}", f"978986{digits(r, 7)}"]),
        "law": f"第{r.randint(1, 900)}條第{r.randint(1, 5)}項第{r.randint(1, 9)}款",
        "case": f"{year}年度{r.choice(['台上', '訴', '重訴', '上易'])}字第{r.randint(1, 9999)}號",
        "letter": f"院台大二字第{year}{digits(r, 7)}號",
        "price": f"新臺幣{r.randint(1, 999)},{digits(r, 3)},{digits(r, 3)}元",
        "date": r.choice(
            [
                f"民國{year}年{r.randint(1, 12)}月{r.randint(1, 28)}日",
                f"{r.randint(1990, 2025)}/{r.randint(1, 12):02d}/{r.randint(1, 28):02d}",
            ]
        ),
        "model": f"{r.choice(['USB', 'RTX', 'GTR', 'ABX'])}-{digits(r, 4)}",
        "uuid": f"{digits(r, 8)}-{digits(r, 4)}-4{digits(r, 3)}-8{digits(r, 3)}-{digits(r, 12)}",
        "number8": digits(r, 8),
        "number16": "7" + digits(r, 15),
        "version": f"{r.randint(1, 9)}.{r.randint(0, 20)}.{r.randint(0, 9)}",
        "epoch": f"17{digits(r, 8)}",
        "road": r.choice(ROADS),
    }
