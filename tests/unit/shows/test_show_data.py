"""`hanlin show data`: the rows that are asked for, whole and harmless on any terminal."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from samples import assistant, system, user
from toy import Answer, assert_four_lines, command

from hanlin.columns import display_width
from hanlin.core.run.artifact import open_artifact
from hanlin.core.text.chat import chat_tokenizer, render
from hanlin.core.text.documents import Row, write_rows
from hanlin.core.text.tokenizer import Tokenizer
from hanlin.shows.rows import Look, lines_of, visible

__all__ = ["command"]

Command = Callable[..., Answer]
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 documents in two files with several row groups, some held out, some dropped."""
    folder = tmp_path_factory.mktemp("corpora") / "corpus"
    folder.mkdir()
    rows = [Row(id=f"note-{n:02d}", text=f"第{n}則筆記。", source=f"notes/{n}.md", script="Hant") for n in range(60)]
    write_rows(folder / "train-00000.parquet", rows[:20])
    write_rows(folder / "train-00001.parquet", rows[20:])
    write_rows(folder / "heldout-00000.parquet", [Row(id="held", text="保留的筆記。")])
    dropped = [Row(id=f"dup-{n}", text="重複。", reason=f"duplicate: note-0{n}") for n in range(4)]
    write_rows(
        folder / "rejected-00000.parquet", [*dropped, Row(id="tiny", text="短", reason="too short: 1 characters")]
    )
    return folder


@pytest.fixture(scope="module")
def tokenizer_folder(tiny_model_folder: Path) -> Path:
    return tiny_model_folder


def ids_in(answer: Answer) -> list[str]:
    """The rows' ids, as their headings have them."""
    assert answer.code == 0, answer.err
    return [line.split()[1] for line in answer.out.splitlines() if line.rstrip().endswith("──")]


def test_a_draw_and_the_rows_from_a_place_on(corpus: Path, command: Command) -> None:
    first, again, other = (command("show", "data", corpus, f"seed={seed}") for seed in (0, 0, 1))
    assert ids_in(first) == ids_in(again) != ids_in(other) and len(ids_in(first)) == 5
    assert ids_in(command("show", "data", corpus)) == ids_in(first)
    assert "5 of 60: training rows, drawn with seed=0" in first.out
    assert ids_in(first) == sorted(ids_in(first)), "in their order"
    assert ids_in(command("show", "data", corpus, "start=19", "n=3")) == ["note-18", "note-19", "note-20"]
    assert ids_in(command("show", "data", corpus, "start=60")) == ["note-59"]
    assert len(ids_in(command("show", "data", corpus, "n=1000"))) == 60


def test_splits_reasons_and_ids(corpus: Path, command: Command) -> None:
    assert ids_in(command("show", "data", corpus, "split=heldout")) == ["held"]
    assert len(ids_in(command("show", "data", corpus, "split=rejected", "n=9"))) == 5
    found = command("show", "data", corpus, "reason=duplicate", "n=9")
    assert ids_in(found) == [f"dup-{n}" for n in range(4)] and "dropped: duplicate: note-01" in found.out
    for split, wanted in (("train", "note-33"), ("heldout", "held"), ("rejected", "tiny")):
        found = command("show", "data", corpus, f"id={wanted}")
        assert ids_in(found) == [wanted] and f"row of {split}" in found.out


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["splt=train"], ['no option "splt"']),
        (["split=trian"], ["train"]),
        (["n=0"], ['Option "n"']),
        (["id=note-99"], ['no row with id "note-99"']),
        (["reason=duplicat3"], ['no row with reason "duplicat3"']),
        (["split=train", "reason=duplicate"], ["Rows of train were kept"]),
        (["start=61"], ["has no rows from row 61 on"]),
        (["tokenizer=a", "model=b"], ["Both tokenizer= and model="]),
        (["tokenizer=nowhere"], ["nowhere has no tokenizer.json"]),
    ],
)
def test_mistakes_are_explained(corpus: Path, command: Command, words: list[str], parts: list[str]) -> None:
    answer = command("show", "data", corpus, *words)
    assert_four_lines(answer, *parts)


def test_near_names_are_offered(corpus: Path, command: Command) -> None:
    assert 'did you mean "duplicate"?' in command("show", "data", corpus, "reason=dupliate").err
    assert 'did you mean "note-5' in command("show", "data", corpus, "id=note-5").err
    answer = command("show", "data", corpus.with_name("corpsu"))
    assert_four_lines(answer, "does not exist")
    assert 'corpus"?' in answer.err


def test_what_is_no_corpus(tmp_path: Path, tiny_model_folder: Path, corpus: Path, command: Command) -> None:
    (tmp_path / "empty").mkdir()
    assert_four_lines(command("show", "data", tmp_path / "empty"), "nothing that can be read")
    shutil.copytree(corpus, tmp_path / "torn")
    (tmp_path / "torn" / "train-00001.parquet").write_bytes(b"PAR1 no more")
    assert_four_lines(command("show", "data", tmp_path / "torn"), "is not a readable corpus")


def test_files_that_are_no_corpus_yet(tmp_path: Path, command: Command) -> None:
    lines = [{"text": f"第{n}份文件，夠長了。"} for n in range(9)] + [{"text": "短"}, {"unknown": 1}]
    file = tmp_path / "my.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    assert ids_in(command("show", "data", file, "n=2")) == ["my.jsonl:1", "my.jsonl:2"]
    assert ids_in(command("show", "data", tmp_path, "start=8", "n=2")) == ["my.jsonl:8", "my.jsonl:9"]
    dropped = command("show", "data", file, "split=rejected")
    assert ids_in(dropped) == ["my.jsonl:10", "my.jsonl:11"]
    assert "dropped: too short: 1 characters" in dropped.out and "dropped: unreadable: " in dropped.out
    assert ids_in(command("show", "data", file, "reason=too")) == ["my.jsonl:10"]
    assert ids_in(command("show", "data", file, "id=my.jsonl:5")) == ["my.jsonl:5"]
    drawn = [ids_in(command("show", "data", file, f"seed={seed}", "split=train", "n=4")) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert_four_lines(command("show", "data", file, "split=heldout"), "nothing is held out")
    assert_four_lines(command("show", "data", file, "id=my.jsonl:99"), "no row with id")


def test_a_data_set_of_others_is_no_corpus(tmp_path: Path, corpus: Path, command: Command) -> None:
    """train-00000-of-00001.parquet with other columns is read as any file; one file of a corpus as its rows."""
    table = pa.table({"text": ["別人的資料集，夠長了。"], "label": [1]})
    pq.write_table(table, tmp_path / "train-00000-of-00001.parquet")
    shown = command("show", "data", tmp_path)
    assert ids_in(shown) == ["train-00000-of-00001.parquet:1"] and "別人的資料集" in shown.out
    assert ids_in(command("show", "data", corpus / "rejected-00000.parquet", "n=1")) == ["dup-0"]


def test_converted_rows_say_what_they_were() -> None:
    long = "甲" * 300
    row = Row(id="a", text=f"{long}軟體", notes={"original": f"{long}軟件", "facts": "乙" * 500})
    text = "\n".join(lines_of(row, "", Look(80)))
    assert re.search(r"^- ….*軟件$", text, re.MULTILINE) and re.search(r"^\+ ….*軟體$", text, re.MULTILINE)
    assert 100 < text.count("乙") < 130 and "original" not in text


def test_a_corpus_of_the_room_itself(tmp_path: Path, command: Command) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a.txt").write_text("玉山是臺灣最高的山。", encoding="utf-8")
    (tmp_path / "source" / "b.txt").write_text("日月潭在南投縣。", encoding="utf-8")
    made = command("collect", f"sources={tmp_path / 'source'}", f"out={tmp_path / 'made'}", "min_chars=2")
    assert made.code == 0, made.err
    assert f"to read: {tmp_path / 'made' / 'report.html'}" in made.out
    assert re.search(r"read +2 rows", made.out) and "train 1, heldout 1" in made.out
    assert open_artifact(tmp_path / "made").kind == "corpus"
    assert len(ids_in(command("show", "data", tmp_path / "made"))) == 1


# What is trained.


def test_loss_spans_are_those_of_training(
    tmp_path: Path, tiny_tokenizer: Tokenizer, tokenizer_folder: Path, command: Command
) -> None:
    said = [user("你好"), assistant("您好！"), user("謝謝"), assistant("不客氣。")]
    (tmp_path / "my.jsonl").write_text(json.dumps({"messages": said}), encoding="utf-8")
    for given in (f"tokenizer={tokenizer_folder}", f"model={tokenizer_folder}"):
        shown = command("show", "data", tmp_path / "my.jsonl", given)
        assert shown.code == 0, shown.err
        rendered = render(said, chat_tokenizer(tiny_tokenizer))
        assert f"{len(rendered.ids):,} tokens, {sum(rendered.trained):,} trained" in shown.out
        assert "【您好！】" in shown.out and "【不客氣。】" in shown.out and "【你好】" not in shown.out
        assert shown.out.count("【<|im_end|>】") == 2, "the stop token is trained"


def test_a_document_s_tokens_are_counted(
    corpus: Path, tiny_tokenizer: Tokenizer, tokenizer_folder: Path, command
) -> None:
    shown = command("show", "data", corpus, "id=note-07", f"tokenizer={tokenizer_folder}")
    assert f"{len(tiny_tokenizer.encode('第7則筆記。'))} tokens" in shown.out


# How rows look.

CHAT = Row(
    id="chat",
    messages=(
        system("簡短回答。"),
        user("天氣？"),
        {
            "role": "assistant",
            "content": "",
            "reasoning_content": "要查。",
            "tool_calls": [{"id": "1", "function": {"name": "weather", "arguments": {"city": "臺北"}}}],
        },
        {"role": "tool", "content": "雨", "tool_call_id": "1"},
        assistant("會下雨。"),
    ),
    tools=({"type": "function", "function": {"name": "weather"}},),
    notes={"wording": {"軟件": 2}, "score": 0.875, "empty": {}},
    language="zh-TW",
)
PAIR = Row(
    id="pair",
    messages=(user("推薦軟體？" * 12),),
    chosen=(assistant("這套軟體的品質很好。" * 9),),
    rejected=(assistant("這套軟件的質量很好。" * 9),),
)


def test_a_conversation_in_words() -> None:
    text = "\n".join(lines_of(CHAT, "3", Look(80)))
    assert text.startswith("3 chat ──")
    assert "zh-TW" in text and "wording 軟件 2 · score 0.875\n" in text and "tools: weather" in text
    assert '→ weather({"city": "臺北"})' in text and "要查。" in text
    assert [line for line in text.splitlines() if line in ("system", "user", "assistant", "tool")] == [
        "system",
        "user",
        "assistant",
        "tool",
        "assistant",
    ]


@pytest.mark.parametrize("width", [20, 40, 64, 80, 120, 200])
@pytest.mark.parametrize("colours", [False, True])
def test_a_preference_fits_the_terminal(width: int, colours: bool) -> None:
    """Side by side where there is room; full-width characters keep the columns straight."""
    lines = [ESCAPES.sub("", line).rstrip() for line in lines_of(PAIR, "1", Look(width, colours))]
    body = lines[lines.index(next(line for line in lines if line.startswith("chosen"))) :]
    assert all(display_width(line) <= width for line in body)
    text = "".join(body).replace(" ", "")
    if width >= 64:
        head = next(line for line in body if line.startswith("chosen"))
        assert "rejected" in head
        column = display_width(head[: head.index("rejected")])
        assert column == (width - 3) // 2 + 3
        halves = [line for line in body if len(line) > 40 and "軟" in line]
        assert all(" " in line for line in halves)
    else:
        assert text.count("這套軟體的品質很好。") == text.count("這套軟件的質量很好。") == 9
    coloured = "\n".join(lines_of(PAIR, "1", Look(width, colours)))
    assert ("\x1b[" in coloured) == colours


def test_only_one_reply_has_the_whole_width() -> None:
    liked = Row(id="liked", messages=(user("問"),), chosen=(assistant("答" * 30),))
    lines = lines_of(liked, "", Look(80))
    assert not any("rejected" in line for line in lines) and any("答" * 30 in line for line in lines)


def test_replies_with_their_loss_spans(tiny_tokenizer: Tokenizer) -> None:
    tokenizer = chat_tokenizer(tiny_tokenizer)
    lines = lines_of(PAIR, "", Look(120, tokenizer=tokenizer))
    tokens = [len(render((*PAIR.messages, *side), tokenizer).ids) for side in (PAIR.chosen, PAIR.rejected)]
    last = next(line for line in lines if "trained" in line)
    assert re.findall(r"(\d+) tokens", last) == list(map(str, tokens))
    assert sum(line.count("【") for line in lines) == 4, "two replies, two stop tokens"
    assert all(display_width(line) <= 120 for line in lines)


def test_a_row_commands_no_terminal() -> None:
    text = "一\x1b[31m紅\x1b]0;title\x07\r二\u202e三\x9b\t四\u3000五\n六👨‍👩‍👧"
    shown = visible(text)
    assert not set("\x1b\x07\r\u202e\x9b") & set(shown) and "\t四\u3000五\n六👨‍👩‍👧" in shown
    row = Row(id=text, text=text, source=text, type=text, reason=text, notes={text: text}, language=text)
    chat = Row(id="c", messages=({"role": text, "content": text}, assistant(text)), tools=({"name": text},))
    for each in (row, chat):
        for colours in (False, True):
            lines = "\n".join(lines_of(each, "1", Look(40, colours)))
            assert not set("\x1b\x07\r\u202e\x9b") & set(ESCAPES.sub("", lines))


def test_long_texts_are_cut_and_say_so() -> None:
    row = Row(id="a", text="山" * 5000)
    text = "\n".join(lines_of(row, "", Look(80, chars=100)))
    assert text.count("山") == 100 and "… 4,900 more characters" in text
    assert "\n".join(lines_of(row, "", Look(80))).count("山") == 5000
    plain = lines_of(Row(id="b", text="一段\n兩段" + "長" * 200), "", Look(80))
    assert "兩段" + "長" * 200 in plain, "a pipe gets each line whole"


def test_markup_is_text() -> None:
    text = "[bold]粗[/bold] :smile: [link=x]y[/link]"
    for colours in (False, True):
        assert text in ESCAPES.sub("", "\n".join(lines_of(Row(id=text, text=text), text, Look(200, colours))))
