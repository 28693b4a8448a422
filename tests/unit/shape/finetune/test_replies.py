"""What the model says for its draft to learn: where prompts end, and that nothing is written twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from samples import assistant, system, user
from tiny_families import tiny_model

from hanlin.core.generate.engine import Engine
from hanlin.core.generate.sampling import Sampling
from hanlin.core.model.pretrained import Pretrained
from hanlin.core.run.events import silent
from hanlin.core.text.chat import render
from hanlin.core.text.documents import Row
from hanlin.core.text.tokenizer import Tokenizer
from hanlin.shape.finetune.replies import Prompt, prompts_of, write_replies

TALK = (system("簡短。"), user("一加一？"), assistant("二。"), user("再加一？"), assistant("三。"))
SAMPLING = Sampling(temperature=1, max_tokens=6, repetition_penalty=1)


@pytest.fixture(scope="module")
def loaded(tiny_tokenizer: Tokenizer) -> Pretrained:
    return tiny_model("qwen3", tiny_tokenizer)


def test_every_reply_of_a_conversation_is_a_prompt(tiny_tokenizer: Tokenizer) -> None:
    found = list(prompts_of([Row("a", messages=TALK), Row("b", messages=TALK[:2])], tiny_tokenizer, 4, 1000))
    assert [prompt.name for prompt in found] == ["a", "a", "b"]
    assert [prompt.ids for prompt in found[:2]] == [render(TALK[:end], tiny_tokenizer, True).ids for end in (2, 4)]
    assert found[2].ids == found[0].ids


def test_a_text_begins_and_the_model_goes_on(tiny_tokenizer: Tokenizer) -> None:
    (prompt,) = prompts_of([Row("a", text="台灣位於東亞，四面環海。")], tiny_tokenizer, 4, 1000)
    assert prompt.ids == [tiny_tokenizer.document_id, *tiny_tokenizer.encode("台灣位於東亞，四面環海。")[:4]]


def test_without_a_template_conversations_are_texts(tiny_tokenizer: Tokenizer) -> None:
    base = Tokenizer(tiny_tokenizer.backend, {**tiny_tokenizer.settings, "chat_template": None})
    (prompt,) = prompts_of([Row("a", messages=TALK)], base, 5, 1000)
    assert prompt.ids == [base.document_id, *base.encode("簡短。\n一加一？")[:5]]


def test_long_prompts_are_left_out(tiny_tokenizer: Tokenizer) -> None:
    assert not list(prompts_of([Row("a", messages=TALK)], tiny_tokenizer, 4, 5))


def test_replies_are_learned_and_prompts_are_not(loaded: Pretrained, tmp_path: Path) -> None:
    prompts = [Prompt("a", [5, 6, 7]), Prompt("b", list(range(20, 40)))]
    first, second = write_replies(loaded, prompts, SAMPLING, 23, 0, tmp_path / "r.jsonl", silent)
    assert first.ids[:3] == [5, 6, 7] and first.trained == [False] * 3 + [True] * (len(first.ids) - 3)
    assert 3 < len(first.ids) <= 9
    assert len(second.ids) <= 23, "prompt and reply stay inside the context that is asked for"


def test_what_was_interrupted_goes_on(loaded: Pretrained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed in the middle of a line: what is whole is kept, the rest is written, and it is what it would have been."""
    prompts = [Prompt(str(number), [5 + number, 9, 7]) for number in range(20)]
    whole = write_replies(loaded, prompts, SAMPLING, 90, 3, tmp_path / "whole.jsonl", silent)
    text = (tmp_path / "whole.jsonl").read_bytes()
    cut = tmp_path / "cut.jsonl"
    cut.write_bytes(text[: len(text) // 2])
    submitted: list[list[int]] = []
    submit = Engine.submit
    monkeypatch.setattr(Engine, "submit", lambda self, ids, *rest: submitted.append(ids) or submit(self, ids, *rest))
    assert write_replies(loaded, prompts, SAMPLING, 90, 3, cut, silent) == whole
    assert 8 <= len(submitted) <= 12
