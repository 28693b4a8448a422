"""Builders: what they make of a row, what they refuse, and the step around them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import assistant, user

from hanlin.core.run.config import build as options_of
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import silent
from hanlin.core.run.sources import fetch
from hanlin.core.text.documents import KEPT, Row, read_rows
from hanlin.core.text.script import script_of
from hanlin.make.collect.building import builder as seam
from hanlin.make.collect.building.builder import Nothing, Source, builder
from hanlin.make.collect.building.wording import in_mainland_words
from hanlin.make.collect.config import Collect
from hanlin.make.collect.options.building import BUILDERS, CHAT, PREFERENCE
from hanlin.make.collect.reading import court, poems
from hanlin.make.collect.reading.reader import Reading
from hanlin.make.collect.run import run
from hanlin.make.collect.steps.build import Build, make
from hanlin.make.collect.steps.step import Context

READING = "人民有言論自由。" * 12
TEXT = f"釋字第1號【某案】\n\n爭點\n人民有言論自由？\n\n解釋文\n有。\n大法官會議主席　某\n\n理由書\n{READING}"
CASE = Row("i/1", TEXT, type="interpretation", group="釋字第1號", source="pip:x", year=1999, language="zh-TW")


def poem(*lines: str, title: str = "望月", author: str = "王某", row_id: str = "p") -> Row:
    text = "\n".join(lines)
    notes = {"poem": {"form": poems.form_of(text), "dynasty": "唐"}, "facts": {"title": title, "author": author}}
    return Row(row_id, f"{title}\n{author}\n\n{text}", type="poem", group=row_id, notes=notes)


MOON = poem("月出東山上，風來北海邊。", "故人今不見，獨坐到明年。")


def entry(word: str, *glosses: str, own: tuple[str, ...] = (), reading: str = "cí") -> Row:
    facts = {"word": word, "simplified": word, "reading": reading, "glosses": list(glosses), "measures": [], "own": own}
    return Row(f"d/{word}", f"{word} (cí): {'; '.join(glosses)}", type="entry", group=word, notes={"facts": facts})


def strings(english: str, chinese: str, **facts) -> Row:
    facts = {"en": english, "zh": chinese, "ask_en": True, "ask_zh": True} | facts
    return Row(f"u/{english}", f"{english}\n{chinese}", type="interface", notes={"facts": facts})


def built(name: str, row: Row, before: Row | None = None, seed: int = 0) -> list[Row]:
    return list(builder(name).build(Source(name, row, seed, before)))


def replies(rows: list[Row]) -> list[str]:
    return [row.messages[-1]["content"] for row in rows]


def test_every_builder_is_a_module_and_every_module_a_builder():
    folder = Path(seam.__file__).parent
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__", "builder", "entries", "verses"}
    assert modules == set(BUILDERS) == {*CHAT, *PREFERENCE}
    assert all(builder(name).TAKES for name in BUILDERS)


def test_a_question_and_its_holding():
    [row] = built("holding", CASE)
    assert "人民有言論自由？" in row.messages[0]["content"] and row.messages[1] == assistant("有。")
    assert (row.type, row.group, row.source, row.year, row.language) == ("holding", "釋字第1號", "pip:x", 1999, "zh-TW")
    assert row.notes == {"build": {"from": "i/1"}} and row.text == "" and row.id == "i/1/holding"


def test_reasoning_and_holding():
    [row] = built("summary", CASE)
    assert READING in row.messages[0]["content"] and replies([row]) == ["有。"]
    assert court.sections(TEXT)["理由書"] == READING and list(court.sections("無")) == []


@pytest.mark.parametrize(
    "name, text, reason",
    [
        ("holding", TEXT.replace("自由？", "自由"), "no question"),
        ("holding", TEXT.partition("\n\n解釋文")[0], "no holding"),
        ("summary", TEXT.partition("\n\n理由書")[0], "no reasoning"),
        ("summary", TEXT.replace(READING, "有。"), "hardly longer"),
    ],
)
def test_cases_without_an_answer(name, text, reason):
    with pytest.raises(Nothing, match=reason):
        built(name, Row("i/1", text, type="interpretation"))


def test_words_are_defined_and_translated():
    row = entry("軟體", "(Taiwan) software", "variant of 軟件 (ruǎn jiàn)", own=("(Taiwan) software",))
    assert replies(built("define", row)) == ["軟體 (cí): (Taiwan) software"]
    assert replies(built("translate_word", row)) == ["software"], "a gloss with a note is no question"
    with pytest.raises(Nothing, match="explained"):
        built("translate_word", entry("某物", "a thing of which it takes more than eight words to tell"))
    row = entry("磁浮", "magnetic levitation", "maglev", own=("magnetic levitation",))
    there, back = built("translate_word", row)
    assert replies([there, back]) == ["magnetic levitation; maglev", "磁浮"]
    assert "magnetic levitation" in back.messages[0]["content"] and back.id.endswith("-back")
    assert replies(built("define", row)) == ["磁浮 (cí):\n1. magnetic levitation\n2. maglev"]


def test_idioms_in_both_directions():
    row = entry(
        "亡羊補牢", "literally to mend the pen (idiom)", "better late than never", own=("better late than never",)
    )
    there, back = built("idiom", row)
    assert replies([there]) == ["亡羊補牢 (cí): literally to mend the pen; better late than never"]
    assert "better late than never" in back.messages[0]["content"] and replies([back]) == ["亡羊補牢 (cí)"]
    for name in ("define", "translate_word"):
        with pytest.raises(Nothing, match="an idiom"):
            built(name, row)


@pytest.mark.parametrize(
    "row, reason",
    [
        (entry("軟件", "software"), "a word of elsewhere"),
        (entry("某縣", "Mou County in Gansu", reading="Mǒu xiàn"), "a place of elsewhere"),
        (entry("裡邊", "variant of 裏邊 (lǐ bian)"), "only points"),
        (entry("粗話", "(vulgar) something"), "a coarse word"),
        (entry("磁", "magnetic"), "a single character"),
        (Row("d/x", "x", type="entry"), "its parts are not known"),
    ],
)
def test_words_that_make_no_question(row, reason):
    with pytest.raises(Nothing, match=reason):
        built("define", row)


def test_interface_strings_keep_their_placeholders():
    there, back = built("translate_interface", strings("Disk {name} is full", "磁碟 {name} 已滿"))
    assert there.messages[0]["content"].endswith("\n\nDisk {name} is full") and replies([there]) == ["磁碟 {name} 已滿"]
    assert any(word in there.messages[0]["content"] for word in ("照抄", "braces"))
    assert replies([back]) == ["Disk {name} is full"]
    assert len(built("translate_interface", strings("Host", "主機", ask_en=False))) == 1
    with pytest.raises(Nothing, match="asked before"):
        built("translate_interface", strings("Host", "主機", ask_en=False, ask_zh=False))
    with pytest.raises(Nothing, match="nothing to translate"):
        built("translate_interface", strings("{x}", "（{x}）"))


def test_poems():
    [rest] = built("poem_rest", MOON)
    question = rest.messages[0]["content"]
    assert "月出東山上" in question and "望月" in question and replies([rest]) == ["故人今不見，獨坐到明年。"]
    [whole] = built("poem_title", MOON)
    assert "望月" in whole.messages[0]["content"]
    assert replies([whole]) == ["月出東山上，風來北海邊。\n故人今不見，獨坐到明年。"]
    for wrong in (poem("月出，風來。", title="句 其二"), poem("月出東山，風來。"), poem("月出東山上。")):
        for name in ("poem_rest", "poem_title", "broken_poem"):
            with pytest.raises(Nothing):
                built(name, wrong)


def test_a_broken_poem_is_broken_in_form_or_is_another():
    another = poem("春來花滿路，秋去葉成堆。", "莫問人間事，青山共一杯。", row_id="q")
    ways = set()
    for seed in range(40):
        [row] = built("broken_poem", MOON, another, seed)
        [chosen], [rejected] = row.chosen, row.rejected
        assert chosen == assistant("故人今不見，獨坐到明年。") and row.kind == "preference"
        bad = rejected["content"]
        verses = poems.verses_of(bad)
        if bad == "莫問人間事，青山共一杯。":
            ways.add("another")
        elif bad == "獨坐到明年，故人今不見。":
            ways.add("rhyme")
        else:
            assert sorted(map(len, verses)) in ([4, 5], [5, 6])
            ways.add("length")
    assert ways == {"another", "rhyme", "length"}
    with pytest.raises(Nothing, match="quotations"):
        built("broken_poem", poem("月出東山上，風來北海邊。", "故人「今不」見，獨坐到明年。"))


def test_wording_of_interface_strings():
    [row] = built("wording", strings("Default user", "預設使用者"))
    assert row.chosen == (assistant("預設使用者"),)
    assert row.rejected[0]["content"] in ("默認用戶", "默认用户") and "Default user" in row.messages[0]["content"]


def test_wording_of_sentences():
    sentence = "政府應確保資訊公開與服務的品質，並且尊重人民的選擇。"
    text = f"這是前面的一句話，說明了制度的由來。{sentence}本條的使用者與設定不在此限，應依程序執行。"
    scripts = set()
    for seed in range(20):
        [row] = built("wording", Row("o/1", text, type="opinion"), seed=seed)
        assert row.chosen == (assistant(sentence),)
        scripts.add(script_of(row.rejected[0]["content"]))
        assert row.rejected[0]["content"] in (
            "政府應確保信息公開與服務的質量，並且尊重人民的選擇。",
            "政府应确保信息公开与服务的质量，并且尊重人民的选择。",
        )
        asked = row.messages[0]["content"]
        assert "前面的一句話" in asked or "信息公开" in asked
    assert scripts == {"Hant", "Hans"}
    for text in ("大法官透過解釋保障人民的權利與自由。", "依大法官釋字第5號解釋，見同註3資訊公開法第1條規定。"):
        with pytest.raises(Nothing, match="no words"):
            built("wording", Row("o/2", text, type="opinion"))


def test_the_table_of_words():
    lines = (Path(seam.__file__).parent / "wording_pairs.tsv").read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines if not line.startswith("#")]
    assert len({row[0] for row in rows}) == len(rows) >= 150
    for taiwan, mainland, *where in rows:
        assert taiwan != mainland and where in ([], ["interface"], ["weak"])
        assert script_of(taiwan) != "Hans" and script_of(mainland) != "Hans", taiwan
    assert in_mainland_words("應用程式的設定", "interface") == "應用程序的設置"
    assert in_mainland_words("抵押權的設定", "") == "抵押權的設定"


WRITTEN = st.text("月東山上a1。，？！「」《 \n\u3000資訊", max_size=40)


@settings(max_examples=300)
@given(WRITTEN, st.lists(WRITTEN, max_size=4), st.sampled_from(BUILDERS))
def test_whatever_the_text_a_row_is_built_or_a_reason_given(text, more, name):
    rows = [
        poem(text, *more, title=text[:5].strip() or "題"),
        Row("i", f"{text}\n\n爭點\n{text}？\n\n解釋文\n{''.join(more)}\n\n理由書\n{text * 9}", type="interpretation"),
        Row("o", text + "".join(more), type="opinion"),
        entry(text or "字", *more, own=tuple(more)),
        strings(text, "".join(more)),
    ]
    for row in rows:
        if row.type not in builder(name).TAKES:
            continue
        try:
            made = built(name, row, rows[0])
        except Nothing as nothing:
            assert str(nothing)
            continue
        assert len({one.id for one in made}) == len(made) and all(one.kind != "text" for one in made)
        assert all(one.chosen != one.rejected for one in made if one.kind == "preference")


def step(**options):
    return make(Build(**options), Context({}, Path("."), seed=3))


def test_the_step_keeps_every_row_built_or_with_a_reason():
    rows = [
        CASE,
        MOON,
        entry("軟件", "software"),
        Row("x", "一份文件", type="document"),
        Row("c", messages=(user("問"),)),
    ]
    out = list(step()(rows))
    assert len(out) >= len(rows)
    assert [row.type for row in out if not row.reason] == ["holding", "summary", "poem_rest", "poem_title", ""]
    assert [row.reason for row in out if row.reason] == [
        "nothing to build: a word of elsewhere",
        "nothing to build: of a row of type document",
    ]
    assert out == list(step()(rows)), "the same rows in any process"
    prefer = list(step(what="preference")(rows))
    assert [row.kind for row in prefer if not row.reason] == ["preference", "chat"]


def test_few_of_a_row_and_few_in_all():
    text = "".join(f"第{number}次會議談到資訊公開與行政品質的關係。" for number in "一二三四五六七")
    opinion = Row("o", text, type="opinion")
    [first, second] = step(what="wording")([opinion])
    assert len(list(step(what="wording", per_row=7)([opinion]))) == 7
    assert first.id < second.id
    survey = step(what=["poem_title"], most=2)
    shards = [[poem("月出東山上，風來北海邊。", row_id=f"{shard}{n}") for n in range(3)] for shard in "ab"]
    looks = [survey.look(shard) for shard in shards]
    verdicts = list(survey.decide(looks))
    out = [row for shard, verdict in zip(shards, verdicts) for row in survey.apply(shard, verdict)]
    assert len(out) == 6 and sum(not row.reason for row in out) == 2
    assert {row.reason for row in out if row.reason} == {"not drawn: most=2 of each builder"}
    assert list(survey.decide([])) == []


def test_questions_for_a_short_context():
    everything = list(step()([CASE]))
    lengths = [sum(len(m["content"]) for m in row.messages if m["role"] == "user") for row in everything]
    assert len(set(lengths)) == 2
    assert list(step(most_question_chars=min(lengths))([CASE])) == [everything[lengths.index(min(lengths))]]
    [nothing] = step(most_question_chars=1)([CASE])
    assert nothing.reason == "nothing to build: a question of over 1 characters"


def test_wrong_options_say_which_builders_there_are():
    assert Build(what="chat").what == CHAT and Build(what=["wording", "chat"]).what == ("wording", *CHAT)
    with pytest.raises(HanlinError, match="what"):
        options_of(Collect, {"steps": [{"build": {"what": ["defin"]}}]}, "collect")


def test_the_court_is_read_as_documents_where_a_step_builds(tmp_path):
    case = {
        "case_number": "釋字第1號【某案】",
        "date": "民國 90年1月1日",
        "issues": "可以？",
        "main_text": "可。",
        "reasoning": "因",
    }
    (tmp_path / "old_cases.json").write_text(json.dumps({"1": case}))
    files = {"old_cases.json": tmp_path / "old_cases.json"}
    kinds = {
        steps: [row.kind for _, row in court.read(files, Reading(Collect(rows="chat", steps=steps)))]
        for steps in (("build",), ())
    }
    assert kinds == {("build",): ["text"], (): ["chat"]}


def test_what_is_held_out_of_the_text_is_held_out_of_what_is_built(tmp_path):
    """From the package's files to three corpora: text, conversations, preferences."""
    folder = tmp_path / "poems"
    folder.mkdir()
    places = "東西南北前後左右"
    found = [
        {
            "title": f"望{place}山",
            "author": "王某",
            "paragraphs": [f"月出{place}山上，風來北海邊。", "故人今不見，獨坐到明年。"],
        }
        for place in places
    ]
    (folder / "poet.tang.0.json").write_text(json.dumps(found), encoding="utf-8")
    held = {}
    for kind, steps in (
        ("text", ()),
        ("chat", ({"build": {"most": 6}},)),
        ("preference", ({"build": {"what": "preference"}},)),
    ):
        out = tmp_path / kind
        out.mkdir()
        options = Collect(rows=kind, steps=steps, heldout_share=0.3, engine="one")
        run(options, {"sources.0": fetch(str(folder), silent)}, out, silent)
        held[kind] = {row.group for row in read_rows(out, "heldout")}
        rows = [row for split in KEPT for row in read_rows(out, split)]
        assert {row.kind for row in rows} == {kind} and len(rows) == {"text": 8, "chat": 12, "preference": 8}[kind]
        assert all(row.source.endswith("/poems/poet.tang.0.json") for row in rows)
    assert held["chat"] and held["chat"] <= held["text"] and held["preference"] == held["text"]
