"""Collections: poems, the dictionary, interface strings; each knows its files, and says why a row is no good."""

from __future__ import annotations

import gzip
import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanlin.core.run.artifact import Artifact
from hanlin.core.run.errors import HanlinError
from hanlin.make.collect.config import Collect
from hanlin.make.collect.reading import dictionary, interface, poems
from hanlin.make.collect.reading.reader import Reading
from hanlin.make.collect.reading.walk import plan, read_unit
from hanlin.make.collect.reading.zhuyin import zhuyin_of


def rows_of(folder, **options):
    reading = Reading(Collect(**options))
    [source], units = plan([Artifact(path=folder, kind="source", id="0" * 64, licence="MIT")])
    return [row for unit in units for row in read_unit(unit, source, reading)], source, reading


QUIET_NIGHT = {
    "title": "靜夜思",
    "author": "李白",
    "paragraphs": ["牀前看月光，疑是地上霜。", "舉頭望山月，低頭思故鄉。"],
    "id": "a",
}


def write_poems(folder, *found, name="poet.tang.0.json"):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(found, ensure_ascii=False), encoding="utf-8")
    return folder


def test_poems(tmp_path):
    lost = QUIET_NIGHT | {"paragraphs": ["牀前□月光。"], "id": "b", "title": "句  其二"}
    edited = QUIET_NIGHT | {"paragraphs": ["牀前看月光（一作明月光）。"], "id": "c"}
    folder = write_poems(tmp_path / "d", QUIET_NIGHT, lost, edited)
    write_poems(folder, QUIET_NIGHT, name="poet.song.1000.json")
    (folder / "error").mkdir()
    write_poems(folder / "error", QUIET_NIGHT)
    (folder / "authors.tang.json").write_text("[]")
    rows, source, _ = rows_of(folder)
    assert [row.id for row in rows] == ["poet.song.1000.json[1]", *(f"poet.tang.0.json[{n}]" for n in (1, 2, 3))]
    song, tang, second, third = rows
    assert tang.text == "靜夜思\n李白\n\n床前看月光，疑是地上霜。\n舉頭望山月，低頭思故鄉。"
    assert tang.notes == {
        "poem": {"form": "五言絕句", "dynasty": "唐"},
        "facts": {"title": "靜夜思", "author": "李白"},
    }
    assert song.notes["poem"]["dynasty"] == "宋" and (tang.group, tang.type) == ("a", "poem")
    assert second.reason.startswith("not a poem: signs") and second.text.startswith("句 其二\n")
    assert third.reason == "not a poem: editors' notes"
    assert source.skipped == {"authors.tang.json": 1, "error/poet.tang.0.json": 1} and source.files == 2


@pytest.mark.parametrize(
    "verses, length, form",
    [(4, 5, "五言絕句"), (8, 7, "七言律詩"), (12, 5, "五言詩"), (8, 4, "四言詩"), (5, 7, "雜言詩"), (4, 9, "雜言詩")],
)
def test_forms_by_counting(verses, length, form):
    text = "".join("山" * length + ("。" if verse % 2 else "，") for verse in range(verses))
    assert poems.form_of(text) == form
    assert poems.form_of(text + "山") == "雜言詩"
    assert poems.verses_of("「山高，\n水長？」") == ["山高", "水長"]


def test_poems_of_another_layout(tmp_path):
    folder = write_poems(tmp_path / "d", {"title": "x", "paragraphs": "y"}, QUIET_NIGHT)
    with pytest.raises(HanlinError, match=r"object 1: not laid out as chinese-poetry"):
        rows_of(folder)
    rows, _, _ = rows_of(folder, bad="skip")
    assert [bool(row.reason) for row in rows] == [True, False]
    for broken in (b"\xff", b"[" * 100_000, b"{}"):
        (folder / "poet.tang.0.json").write_bytes(broken)
        [row], _, _ = rows_of(folder)
        assert row.reason.startswith("unreadable: ")


ENTRIES = """# CC-CEDICT
#! entries=5
軟體 软体 [ruan3 ti3] /(Tw) software/(zoology) soft-bodied/
垃圾 垃圾 [la1 ji1] /trash/refuse/Taiwan pr. [le4 se4]/CL:把[ba3],個|个[ge4]/
綠 绿 [lu:4] /green/variant of 菉|菉[lu4], written by sb/also pr. [lu4]/
一手交錢，一手交貨 一手交钱，一手交货 [yi1 shou3 jiao1 qian2 , yi1 shou3 jiao1 huo4] /lit. one hand pays (idiom)/
個 个 [ge4] /CL:個|个[ge4]/
this is no entry
"""


def test_the_dictionary(tmp_path):
    with gzip.open(tmp_path / "cedict_1_0_ts_utf-8_mdbg.txt.gz", "wt", encoding="utf-8") as file:
        file.write(ENTRIES)
    rows, _, reading = rows_of(tmp_path)
    texts = [unicodedata.normalize("NFC", row.text) for row in rows]
    assert texts == [
        "軟體 (ㄖㄨㄢˇ ㄊㄧˇ, ruǎn tǐ): (Taiwan) software; (zoology) soft-bodied",
        "垃圾 (ㄌㄜˋ ㄙㄜˋ, lè sè): trash; refuse",
        "綠 (ㄌㄩˋ, lǜ): green; variant of 菉 (lù), written by somebody",
        "一手交錢，一手交貨 (ㄧ ㄕㄡˇ ㄐㄧㄠ ㄑㄧㄢˊ ㄧ ㄕㄡˇ ㄐㄧㄠ ㄏㄨㄛˋ, "
        "yī shǒu jiāo qián, yī shǒu jiāo huò): literally one hand pays (idiom)",
        "",
    ]
    assert rows[1].notes["facts"]["measures"] == ["把 (ba\u030c)", "個 (ge\u0300)"]
    assert rows[0].group == "軟體" and rows[0].notes["facts"]["simplified"] == "软体"
    assert reading.notes == ["cedict_1_0_ts_utf-8_mdbg.txt.gz: 1 lines are no entries of CC-CEDICT."]


@pytest.mark.parametrize(
    "digits, marks",
    [
        ("Zhong1 guo2", "Zhōng guó"),
        ("xiong2 gui4 liu2 hui4 jiu3 lou2 shou3 hao3 xue2", "xióng guì liú huì jiǔ lóu shǒu hǎo xué"),
        ("nu:3 lu:e4 lu:5 de5 r5 A1 E2", "nǚ lüè lü de r Ā É"),
        ("C P 3 m2 xx5 ma5", "C P 3 m2 xx ma"),
    ],
)
def test_tone_marks(digits, marks):
    assert unicodedata.normalize("NFC", dictionary.with_tones(digits)) == marks


ZHUYIN = """
tai2=ㄊㄞˊ wan1=ㄨㄢ zhu4=ㄓㄨˋ yin1=ㄧㄣ xue2=ㄒㄩㄝˊ nu:3=ㄋㄩˇ lu:e4=ㄌㄩㄝˋ qiong2=ㄑㄩㄥˊ
weng1=ㄨㄥ er2=ㄦˊ de5=˙ㄉㄜ zhi1=ㄓ si1=ㄙ liu2=ㄌㄧㄡˊ gui1=ㄍㄨㄟ lun4=ㄌㄨㄣˋ
dong1=ㄉㄨㄥ yun2=ㄩㄣˊ yuan2=ㄩㄢˊ yue4=ㄩㄝˋ o2=ㄛˊ you3=ㄧㄡˇ ya2=ㄧㄚˊ yong4=ㄩㄥˋ
wei4=ㄨㄟˋ wen2=ㄨㄣˊ juan3=ㄐㄩㄢˇ xun2=ㄒㄩㄣˊ ri4=ㄖˋ r5=ㄦ yi1=ㄧ ying1=ㄧㄥ
wu3=ㄨˇ Shi4=ㄕˋ
"""


def test_zhuyin():
    pairs = [pair.split("=") for pair in ZHUYIN.split()]
    assert zhuyin_of(" ".join(pinyin for pinyin, _ in pairs)) == " ".join(written for _, written in pairs)
    assert [zhuyin_of(pinyin) for pinyin in ("K ge1", "xx5", "m2", "ge", "", "zhv4")] == [""] * 6


def test_damaged_dictionaries_and_bombs(tmp_path, monkeypatch):
    path = tmp_path / "cedict_ts.u8.gz"
    whole = gzip.compress(ENTRIES.encode())
    for cut in range(0, len(whole), 7):
        path.write_bytes(whole[:cut])
        rows, _, _ = rows_of(tmp_path)
        assert all(row.text or row.reason or row.notes for row in rows)
    (tmp_path / "cedict_ts.u8.gz").write_bytes(gzip.compress(b"\xff" * 100))
    assert rows_of(tmp_path)[0][-1].reason.startswith("unreadable: ")
    monkeypatch.setattr(dictionary, "MAX_BYTES", 50)
    path.write_bytes(whole)
    assert rows_of(tmp_path)[0][-1].reason == "unreadable: more than 0 MiB"


def write_strings(folder, english, chinese, name="zh-Hant.json"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "en.json").write_text(json.dumps(english), encoding="utf-8")
    (folder / name).write_text(json.dumps(chinese), encoding="utf-8")


def test_interface_strings(tmp_path):
    english = {"step": {"user": {"host": "Host", "full": "Disk {name} is full"}}, "only": "x", "id": "MQTT"}
    write_strings(tmp_path / "a", english, {"step": {"user": {"host": "主機", "full": "{name} 已滿"}}, "id": "MQTT"})
    write_strings(
        tmp_path / "b", {"h": "Host", "i": "Host", "n": 3}, {"h": "主機", "i": "主機端", "n": 3}, "zh_TW.json"
    )
    write_strings(tmp_path / "c", {"bad": "Disk {name}"}, {"bad": "磁碟 {nom}"})
    rows, _, _ = rows_of(tmp_path)
    assert [row.text for row in rows if not row.reason] == [
        "Host\n主機",
        "Disk {name} is full\n{name} 已滿",
        "Host\n主機端",
    ]
    assert {row.id: row.reason for row in rows if row.reason} == {
        "a/zh-Hant.json#id": "not translated",
        "c/zh-Hant.json#bad": "placeholders differ",
    }
    assert rows[0].group == "host" and rows[0].notes["facts"]["ask_en"]
    assert [row.notes["facts"]["ask_en"] for row in rows if row.text == "Host\n主機端"] == [False]
    (tmp_path / "notes.md").write_text("一份別的文件，不是介面的字串。", encoding="utf-8")
    assert {row.type for row in rows_of(tmp_path, bad="skip")[0]} == {"document"}, (
        "few pairs in a folder of other files"
    )


def test_broken_interface_files(tmp_path):
    write_strings(tmp_path / "a", {"a": "b"}, [])
    [row], _, _ = rows_of(tmp_path)
    assert row.reason == "unreadable: not a table of strings"
    (tmp_path / "a" / "en.json").write_text("{")
    assert rows_of(tmp_path)[0][0].reason.startswith("unreadable: not JSON")
    deep = {"a": "b"}
    for _ in range(200):
        deep = {"a": deep}
    write_strings(tmp_path / "a", deep, deep)
    assert rows_of(tmp_path)[0] == []


@given(st.binary(max_size=60), st.integers(0, 400))
def test_whatever_bytes_collections_reject_or_refuse(tmp_path_factory, noise, place):
    folder = tmp_path_factory.mktemp("noise")
    real = json.dumps([QUIET_NIGHT], ensure_ascii=False).encode()
    (folder / "poet.song.1.json").write_bytes(real[:place] + noise + real[place + len(noise) :])
    plain = ENTRIES.encode()
    (folder / "cedict.txt").write_bytes(plain[:place] + noise + plain[place + len(noise) :])
    (folder / "en.json").write_bytes(b'{"a": "b"}')
    (folder / "zh-TW.json").write_bytes(noise)
    reading = Reading(Collect(bad="skip"))
    files = {path.name: path for path in folder.iterdir()}
    for collection in (poems, dictionary, interface):
        known = {name: files[name] for name in files if name in _known(collection, files)}
        for _, row in collection.read(known, reading):
            assert row.text or row.reason or row.notes


def _known(collection, files):
    names = ["en.json", "zh-TW.json"] if collection is interface else files
    return collection.recognises({name: files[name] for name in names})
