"""One reply's pieces as text, thoughts and calls; several replies as one stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from chat_templates import tokenizer_of

from hanlin.core.generate.reply import Piece
from hanlin.core.generate.text import Times
from hanlin.core.text.calls import reader_of
from hanlin.use.serve.jobs import Together
from hanlin.use.serve.spoken import Spoken

CALL = '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>'


def heard(text: str, finish: str = "stop", **options: bool) -> Spoken:
    reader = reader_of(tokenizer_of("qwen3"), tools=True, thought_open=options.get("thought_open", False))
    spoken = Spoken(reader, **options)
    for place, character in enumerate(text):
        spoken.push(Piece(character, place + 1, finish if place == len(text) - 1 else ""))
    return spoken


def test_text_thought_and_calls():
    spoken = heard(f"<think>想</think>說{CALL}")
    assert ("".join(spoken.thoughts), "".join(spoken.texts).strip()) == ("想", "說")
    assert [(call.name, "".join(call.arguments)) for call in spoken.calls] == [("f", '{"a": 1}')]
    assert spoken.finish == "tool_calls"


def test_a_reply_that_was_cut_says_so():
    assert heard(CALL, "length").finish == "length"
    assert heard("說", "length").finish == "length"


def test_keys_are_what_mistrals_templates_take_back():
    key = heard(CALL).calls[0].key
    assert len(key) == 9 and key.isalnum()


def test_one_call_is_enough():
    spoken = heard(f"{CALL}\n{CALL}", one_call=True)
    assert len(spoken.calls) == 1 and spoken.has_said_enough and spoken.finish == "tool_calls"


def test_a_thought_that_the_prompt_began():
    spoken = heard("想</think>說", thought_open=True)
    assert ("".join(spoken.thoughts), "".join(spoken.texts)) == ("想", "說")
    assert 0 < spoken.num_thought_tokens < spoken.num_tokens


class Scripted:
    """A job that says its pieces, or fails at the end."""

    times = Times()

    def __init__(self, texts: Sequence[str], num_shared: int = 0, error: Exception | None = None):
        self.texts, self.num_shared, self.error, self.cancelled = texts, num_shared, error, False

    async def pieces(self) -> AsyncIterator[Piece]:
        for place, text in enumerate(self.texts):
            if self.cancelled:
                return
            yield Piece(text, place + 1)
            await asyncio.sleep(0)
        if self.error is not None:
            raise self.error

    def cancel(self) -> None:
        self.cancelled = True


async def _all(together: Together) -> list[tuple[int, str]]:
    return [(number, piece.text) async for number, piece in together.pieces()]


def test_pieces_come_as_they_are_made_with_their_jobs_number():
    jobs = [Scripted("甲乙"), Scripted("丙丁戊")]
    items = asyncio.run(_all(Together(jobs)))
    assert ["".join(text for number, text in items if number == wanted) for wanted in (0, 1)] == ["甲乙", "丙丁戊"]
    assert [number for number, _ in items] != sorted(number for number, _ in items)


def test_what_one_meets_ends_all():
    jobs = [Scripted("甲" * 50), Scripted("乙", error=ValueError("broken"))]
    with pytest.raises(ValueError, match="broken"):
        asyncio.run(_all(Together(jobs)))
    assert all(job.cancelled for job in jobs)


def test_tokens_in_the_cache_are_counted_once_a_prompt():
    jobs = [Scripted("", num_shared=number) for number in (0, 8, 4, 4)]
    assert Together(jobs, num_each=2).num_shared == 0 + 4
    assert Together(jobs).num_shared == 16
