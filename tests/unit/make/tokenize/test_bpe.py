"""Byte-pair encoding: bounded while learning, unbounded in use, nothing unknown, every text comes back."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import CODE, SENTENCES, varied_lines
from tokenizers import Tokenizer as Backend
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

from hanlin.core.text.pretokenize import new_backend
from hanlin.core.text.tokenizer import SPECIAL_TOKENS, Tokenizer
from hanlin.make.tokenize.bpe import sample, train

TEXTS = [*SENTENCES, *CODE, "第一段。\n第二段。\n\n第三段！\n" * 4]
UNBOUNDED = 10_000
TEXT = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"]),
        st.characters(categories=["Cc", "Cf", "Zs"]),
        st.sampled_from("台灣憲法😀👩‍🔬🇹🇼𠮷𰻝ㄅ́\ue000\u3000"),
    ),
    max_size=40,
)


def facts(backend: Backend) -> dict:
    return json.loads(backend.to_str())


def stock(texts: list[str], vocab_size: int) -> Backend:
    """What tokenizers' own trainer learns from the same texts, without any bound."""
    backend = new_backend()
    trainer = BpeTrainer(
        vocab_size=vocab_size,
        initial_alphabet=ByteLevel.alphabet(),
        special_tokens=list(SPECIAL_TOKENS),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    return backend


@pytest.fixture(scope="module")
def learned() -> Tokenizer:
    return Tokenizer(train(TEXTS, 400, piece_characters=8), {})


def test_an_unbounded_training_is_the_stock_trainers() -> None:
    ours, theirs = train(TEXTS, 450, UNBOUNDED), stock(TEXTS, 450)
    assert facts(ours)["model"]["merges"] == facts(theirs)["model"]["merges"]
    assert facts(ours) == facts(theirs)


def test_training_twice_gives_the_same_merges() -> None:
    assert train(TEXTS, 400, 8).to_str() == train(TEXTS, 400, 8).to_str()


def test_the_bound_shapes_what_is_learned_not_how_text_is_cut(learned: Tokenizer) -> None:
    assert facts(learned.backend)["pre_tokenizer"] == facts(new_backend())["pre_tokenizer"]
    one_by_one = Tokenizer(train(TEXTS, 400, piece_characters=1), {})
    learned_alone = one_by_one.token_bytes[len(SPECIAL_TOKENS) :]
    first_bytes = [sum(byte & 0xC0 != 0x80 for byte in token) for token in learned_alone]
    assert max(first_bytes) == 1 < max(map(len, learned_alone))  # no token reaches over a character


def test_a_line_end_may_join_the_punctuation_before_it() -> None:
    """The pattern keeps them in one piece, and so does the bound."""
    tokenizer = Tokenizer(train(["一。\n二。\n三。\n四。\n" * 50], 320, 8), {})
    assert "。\n".encode() in tokenizer.token_bytes


def test_size_special_tokens_and_bytes(learned: Tokenizer) -> None:
    assert learned.vocab_size == 400
    assert [learned.id_of(token) for token in SPECIAL_TOKENS] == [0, 1, 2, 3]
    assert {bytes([byte]) for byte in range(256)} <= set(learned.token_bytes)


def test_every_byte_can_be_written(learned: Tokenizer) -> None:
    for line in varied_lines():
        assert b"".join(learned.token_bytes[i] for i in learned.encode(line)) == line.encode()


@given(TEXT)
def test_every_text_comes_back(learned: Tokenizer, text: str) -> None:
    ids = learned.encode(text)
    assert learned.decode(ids) == text
    assert not learned.special_ids.intersection(ids)


def test_special_names_in_the_training_text_stay_text() -> None:
    tokenizer = Tokenizer(train([*TEXTS, "<|im_end|>" * 20], 400, 8), {})
    assert tokenizer.decode(tokenizer.encode("<|im_end|>")) == "<|im_end|>"
    assert tokenizer.id_of("<|im_end|>") not in tokenizer.encode("<|im_end|>")


def test_a_text_too_small_for_the_vocabulary_gives_fewer_tokens() -> None:
    assert 260 <= train(["台灣"], 1000, 8).get_vocab_size() < 300


def test_bytes_alone_make_each_letter_a_token() -> None:
    play = Tokenizer(train(["First Citizen:\nBefore we proceed any further, hear me speak.\n\n"] * 20, 260, 8), {})
    assert play.vocab_size == 260
    assert play.decode(play.encode("All:\n\nSpeak, speak!  ")) == "All:\n\nSpeak, speak!  "
    assert len(play.encode("All:\n\nSpeak, speak!  ")) == len("All:\n\nSpeak, speak!  ")


DOCUMENTS = st.lists(st.text(st.sampled_from("甲乙丙丁"), max_size=20), max_size=12)


@given(DOCUMENTS, st.integers(1, 200), st.integers(0, 99))
def test_a_sample_has_the_asked_size_and_whole_documents(documents: list[str], characters: int, seed: int) -> None:
    drawn = list(sample(documents, characters, seed))
    assert drawn == list(sample(documents, characters, seed))
    assert sum(map(len, drawn)) == min(characters, sum(map(len, documents)))
    left = list(documents)
    for text in drawn[:-1]:
        left.remove(text)
    assert not drawn or any(document.startswith(drawn[-1]) for document in left)


def test_other_seeds_draw_other_documents() -> None:
    documents = [str(number) * 10 for number in range(100, 160)]
    assert list(sample(documents, 100, 0)) != list(sample(documents, 100, 1))
