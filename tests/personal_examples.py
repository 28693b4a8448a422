"""Personal data in sentences, 【marked】, and what only looks like it. The numbers are made up."""

from __future__ import annotations

FOUND = [
    ("national_id", "身分證字號：【Ａ１２３４５６７８９】。"),
    ("national_id", "我的證號是【A-123456789】喔"),
    ("national_id", "身分證 【a123456789】"),
    ("resident_id", "居留證【A800000014】"),
    ("health_card", "健保卡卡號：【0000 1234 5678】"),
    ("passport", "護照號碼：【312345678】"),
    ("company_id", "統一編號：【04595257】"),
    ("carrier", "手機條碼載具：【/ABC+123】"),
    ("carrier", "自然人憑證條碼 【AB12345678901234】"),
    ("mobile", "打【0912-345-678】給我"),
    ("mobile", "手機【０９１２３４５６７８】"),
    ("mobile", "【+886 912 345 678】"),
    ("landline", "電話：【(02)2345-6789#123】"),
    ("landline", "【049-2234567 分機 12】"),
    ("landline", "【0836-22222】"),
    ("landline", "電話【0223456789】"),
    ("address", "住【臺北市信義區信義路五段７號８９樓】"),
    ("address", "我住在【忠孝東路四段1號5樓之3】。"),
    ("address", "【彰化縣員林鎮三條里5鄰員東路二段三十號】"),
    ("address", "【台東縣蘭嶼鄉紅頭村漁人12號】"),
    ("address", "【10491 臺北市中山區民權東路3段 12 巷 3 弄 4-1 號 2F】"),
    ("plate", "車牌號碼【ABC-1234】"),
    ("plate", "駕駛【1234-XY】號自用小客車"),
    ("plate", "【EAA-1234】號電動機車"),
    ("bank_account", "帳號：【822-123456789012】"),
    ("bank_account", "中國信託 帳號 【1234-5678-9012】"),
    ("card", "卡號 【4111 1111 1111 1111】"),
    ("iban", "IBAN 【GB82 WEST 1234 5698 7654 32】"),
    ("email", "寄到【amy.chen@gmail.com】。"),
    ("line_id", "LINE ID：【amy_1234】"),
    ("line_id", "我的賴是【amy88】"),
    ("birthday", "出生年月日：【民國79年1月2日】"),
    ("birthday", "（男，【七十九年一月二日】生）"),
    ("birthday", "DOB: 【1990-01-02】"),
    ("name", "姓　名：【王小明】　性別：男"),
    ("name", "原　　告　【陳明珠】\n"),
    ("name", "被告【王小明】於民國103年"),
    ("name", "感謝【陳】小姐"),
    ("name", "【歐陽小明】先生"),
    ("name", "大家好，我是【陳大文】，請多指教"),
    ("name", "茲收到【王小明】君房租"),
    ("name", "上 訴 人　【林月娥】\n"),
]

LEFT_ALONE = [
    "司法院釋字第585號解釋，依憲法第7條第1項第2款",
    "ISBN 978-957-08-1234-5，ISBN 0912345678",
    "訂單編號0912345678，訂單 A123456789",
    "90年度台上字第1234號判決，院台大二字第0930012345號函",
    "身分證字號：A123456788",
    "統一編號：12345679，發票號碼 04595257",
    "第0912345678號函",
    "2023-09-12 12:30:45.123456 version=1.2.3",
    "550e8400-e29b-41d4-a716-446655440000",
    "型號 USB-3000 與 RTX-4090",
    "git@github.com:owner/name 和 logo@2x.png",
    "postgres://user:word@db.example.com/x",
    "依賴：abc；online: yes",
    "本法於民國79年1月2日發生於臺北",
    "高中老師、任何律師、對方律師、謝謝先生、林大法官子儀",
    "行經國道三號，線路1號，新臺幣1,234,567元",
    "0800-123-456、110、1922",
    "被告高雄市政府主張",
    "127.0.0.1",
    "def read(line: int, other: str): return line=value",
    "conversion\n@pytest.mark.parametrize",
    "我是高中生，君主立憲，諸君請看",
]


def marked(text: str) -> tuple[str, int, int]:
    start = text.index("【")
    end = text.index("】") - 1
    return text.replace("【", "").replace("】", ""), start, end
