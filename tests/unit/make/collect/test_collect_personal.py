"""The steps personal, secrets and toxicity on all three kinds of rows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from faker import Faker
from pydantic import ValidationError
from samples import assistant, user

from hanlin.core.text.documents import Row
from hanlin.core.text.personal.recognise import find
from hanlin.make.collect.config import STEPS
from hanlin.make.collect.steps import personal, secrets, toxicity
from hanlin.make.collect.steps.step import Context

ID, PHONE, NAME = "A123456789", "0912-345-678", "王小明"
SAID = f"姓名：{NAME}，身分證字號 {ID}，手機 {PHONE}"
ROWS = [
    Row("text", text=SAID),
    Row("chat", messages=(user(SAID), assistant(f"{NAME}您好，會打{PHONE}給您。"))),
    Row("preference", messages=(user(SAID),), chosen=(assistant(PHONE),), rejected=(assistant(ID),)),
]


def run(module, rows, seed=0, **options):
    kind = STEPS[module.__name__.rpartition(".")[2]]
    return list(module.make(kind(**options), Context({}, Path("unused"), seed))(rows))


@pytest.mark.parametrize("row", ROWS, ids=[row.id for row in ROWS])
@pytest.mark.parametrize("action", ["mask", "characters", "replace", "drop"])
def test_no_original_is_left(row, action):
    (done,) = run(personal, [row], action=action)
    shown = done.content + done.reason + json.dumps(done.notes, ensure_ascii=False)
    assert not any(secret in shown for secret in (ID, PHONE, NAME))
    assert done.notes["personal"]["national_id"] == (2 if row.id == "preference" else 1)
    assert [message["role"] for message in done.all_messages] == [message["role"] for message in row.all_messages]
    assert done.reason == ("personal data: mobile, name, national_id" if action == "drop" else "")


def test_masks():
    (masked,) = run(personal, ROWS[:1])
    assert masked.text == "姓名：[姓名]，身分證字號 [身分證字號]，手機 [手機號碼]"
    (hidden,) = run(personal, ROWS[:1], action="characters")
    assert hidden.text == "姓名：○○○，身分證字號 **********，手機 ****-***-***"


def test_each_kind_has_its_action():
    (row,) = run(personal, ROWS[:1], actions={"name": "note", "mobile": "replace"})
    assert NAME in row.text and "[身分證字號]" in row.text and PHONE not in row.text
    (row,) = run(personal, ROWS[:1], actions={"national_id": "drop"})
    assert row.reason == "personal data: national_id"
    (row,) = run(personal, ROWS[:1], kinds=["mobile"])
    assert row.notes["personal"] == {"mobile": 1} and ID in row.text


def test_fakes_are_the_same_in_the_whole_corpus_and_others_with_another_seed():
    rows = run(personal, ROWS, action="replace")
    fakes = [found for row in rows for found in mobiles(row.content)]
    assert len(fakes) == 5 and len(set(fakes)) == 1
    assert [row.content for row in run(personal, ROWS, action="replace")] == [row.content for row in rows]
    assert mobiles(run(personal, ROWS, seed=1, action="replace")[0].content) != fakes[:1]


def mobiles(text):
    return [text[match.start : match.end] for match in find(text, ["mobile"])]


def test_tool_calls_and_clean_rows_stay():
    call = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": PHONE}}]}
    rows = [Row("calls", messages=(user("請打電話"), call)), Row("clean", text="本案依民法第184條第1項判決。")]
    assert run(personal, rows) == rows


def test_thoughts_are_cleaned_too():
    thinking = {"role": "assistant", "content": "好", "reasoning_content": f"要打{PHONE}"}
    row = Row("chat", messages=(user(SAID), thinking), chosen=(thinking,), rejected=(assistant("不"),))
    (done,) = run(personal, [row])
    assert PHONE not in str(done) and done.notes["personal"]["mobile"] == 3
    assert [message.get("reasoning_content", "") for message in done.all_messages] == [
        "", "要打[手機號碼]", "要打[手機號碼]", "",
    ]  # fmt: skip


def test_made_up_people_are_found():
    faker = Faker("zh_TW")
    faker.seed_instance(11)
    people = [(faker.name(), faker.free_email()) for _ in range(200)]
    rows = run(personal, [Row(str(n), text=f"聯絡人：{name}\nE-mail：{mail}") for n, (name, mail) in enumerate(people)])
    counts = [row.notes["personal"] for row in rows]
    assert all(count["email"] == 1 for count in counts)
    assert sum("name" in count for count in counts) >= 190


def test_an_unknown_kind_is_named():
    with pytest.raises(ValidationError, match='did you mean "mobile"'):
        personal.Personal(kinds=("mobil",))
    with pytest.raises(ValidationError, match='did you mean "jwt"'):
        secrets.Secrets(kinds=("jwtt",))
    with pytest.raises(ValidationError, match='did you mean "spam"'):
        toxicity.Toxicity(categories=("spamm",))


def test_secrets_are_masked_noted_or_dropped():
    token = "ghp_" + "a1B2c3D4e5F6" * 3
    rows = [Row("text", text=f"export GITHUB={token}"), Row("chat", messages=(user(token), assistant("好")))]
    for row in run(secrets, rows):
        assert token not in row.content and "[github_token]" in row.content
        assert row.notes["secrets"] == {"github_token": 1}
    assert [row.content for row in run(secrets, rows, action="note")] == [row.content for row in rows]
    dropped = run(secrets, rows, action="drop")
    assert {row.reason for row in dropped} == {"secrets: github_token"} and len(dropped) == 2
    assert not any(token in row.content for row in dropped)
    assert not any(row.notes for row in run(secrets, rows, kinds=["jwt"]))


@pytest.mark.parametrize(
    "text, category",
    [
        ("幹！你搞三小，白癡", "profanity"),
        ("What the FUCK, you asshole", "profanity"),
        ("小心我殺了你全家", "threat"),
        ("加賴 abc123 免費領飆股，線上博弈百家樂", "spam"),
        ("操你妈，傻逼玩意", "profanity"),
        ("恁老師咧，駛恁娘", "profanity"),
    ],
)
def test_foul_and_fraudulent_texts_are_dropped(text, category):
    (row,) = run(toxicity, [Row("1", text=text)])
    assert row.reason.startswith("toxicity: ") and category in row.reason
    assert row.notes["toxicity"][category] >= 1
    (noted,) = run(toxicity, [Row("1", text=text)], threshold=None)
    assert not noted.reason and noted.notes == row.notes


@pytest.mark.parametrize(
    "text",
    [
        "他是主幹道工程的幹部，三小時後要操作體操器材。",
        "The class assignment about Scunthorpe bass grass was passed.",
        "體內射出成型、室內射擊、無套利定價",
        "過去死亡率、除去死角、路口交通",
        "飲水思源，中出現了問題；番仔火",
    ],
)
def test_innocent_words_count_nothing(text):
    (row,) = run(toxicity, [Row("1", text=text)])
    assert not row.reason and not row.notes


def test_one_coarse_word_in_a_long_text_is_only_noted():
    (row,) = run(toxicity, [Row("1", text="他說：「王八蛋！」" + "本院審酌一切情狀。" * 60)])
    assert not row.reason and row.notes["toxicity"] == {"profanity": 1}


def test_lists_can_be_added_to():
    rows = [Row("1", text="某某娛樂城歡迎您"), Row("2", text="某某娛樂城市規劃")]
    found = run(toxicity, rows, words={"spam": ["某某娛樂城"]}, innocent=["娛樂城市"])
    assert [bool(row.reason) for row in found] == [True, True]
    found = run(toxicity, rows, words={"spam": ["某某娛樂城"]}, innocent=["某某娛樂城市"])
    assert [bool(row.reason) for row in found] == [True, False]
    (row,) = run(toxicity, [Row("1", text="widget " * 30)], words={"house": ["widget"]})
    assert row.notes["toxicity"] == {"house": 30} and row.reason
