"""What is told of single tokens: both shapes, and which tokens are told when."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanlin.core.generate.logprobs import Logprobs
from hanlin.core.generate.reply import Reply
from hanlin.core.text.tokenizer import Tokenizer
from hanlin.use.serve.token_log import LOWEST, Entry, TokenLog, in_chat, in_text, spelled

TOLD = Logprobs(-0.5, ((7, -0.25), (8, float("-inf"))))


def log_of(
    tokenizer: Tokenizer, ids: list[int], stops: tuple[str, ...] = (), most: int = 99
) -> tuple[str, list[Entry]]:
    """A reply's text and the entries told with it, as it is written."""
    log, reply = TokenLog(tokenizer), Reply(tokenizer, {tokenizer.eos_id}, stops, most)
    text, told = "", []
    for token in ids:
        piece = reply.push(token, TOLD)
        log.push(piece)
        text += piece.text
        told += log.take()
        if piece.finish:
            break
    return text, told


def test_the_token_that_ends_a_reply_is_not_told(tiny_tokenizer: Tokenizer):
    ids = tiny_tokenizer.encode("人民之自由")
    text, told = log_of(tiny_tokenizer, [*ids, tiny_tokenizer.eos_id])
    assert text == "人民之自由" and [entry.token for entry in told] == ids


def test_tokens_of_a_stop_text_are_not_told(tiny_tokenizer: Tokenizer):
    before, stop = tiny_tokenizer.encode("自由"), tiny_tokenizer.encode("甲乙丙")
    text, told = log_of(tiny_tokenizer, [*before, *stop], stops=("甲乙丙",))
    assert text == "自由" and [entry.token for entry in told] == before


@given(st.text(max_size=20), st.integers(0, 20))
def test_all_others_are_told_in_order(tiny_tokenizer: Tokenizer, text: str, cut: int):
    ids = tiny_tokenizer.encode(text)[: cut + 1]
    _, told = log_of(tiny_tokenizer, ids, most=max(1, len(ids)))
    assert [entry.token for entry in told] == ids
    assert [entry.offset for entry in told] == sorted(entry.offset for entry in told)


def test_offsets_count_characters(tiny_tokenizer: Tokenizer):
    log, reply = TokenLog(tiny_tokenizer), Reply(tiny_tokenizer, set(), (), 99)
    for token in [*tiny_tokenizer.encode("人", at_start=False), *tiny_tokenizer.encode("民", at_start=False)]:
        log.push(reply.push(token, TOLD))
    offsets = [entry.offset for entry in log.take()]
    assert offsets[0] == 0 and offsets[-1] in (0, 1)


def test_half_characters_are_spelled_as_bytes():
    assert spelled("人".encode()) == "人"
    assert spelled(b"\xe4\xba") == "\\xe4\\xba"
    assert spelled(b"\xe4\xba", "bytes:") == "bytes:\\xe4\\xba"


def test_the_two_shapes():
    words = [b""] * 7 + ["人".encode(), b"\xe4"]
    chat = in_chat([Entry(7, TOLD, 0)], words)
    assert chat["refusal"] is None
    assert chat["content"] == [
        {
            "token": "人",
            "logprob": -0.5,
            "bytes": [0xE4, 0xBA, 0xBA],
            "top_logprobs": [
                {"token": "人", "logprob": -0.25, "bytes": [0xE4, 0xBA, 0xBA]},
                {"token": "\\xe4", "logprob": LOWEST, "bytes": [0xE4]},
            ],
        }
    ]
    assert in_text([Entry(7, TOLD, 3)], words) == {
        "tokens": ["人"],
        "token_logprobs": [-0.5],
        "top_logprobs": [{"人": -0.25, "bytes:\\xe4": LOWEST}],
        "text_offset": [3],
    }


@pytest.mark.parametrize("number", [float("-inf"), -1e30])
def test_json_has_no_infinity(number: float):
    assert in_text([Entry(0, Logprobs(number, ()), 0)], [b"a"])["token_logprobs"] == [LOWEST]
