"""script=zh-TW: what only Simplified uses is never written, what Taiwan writes always can be, and nothing is stuck."""

from __future__ import annotations

import random
from functools import cache

import pytest
from conftest import tiny_settings, train_tiny_backend
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import CODE, EMOJI, SENTENCES
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

from hanlin.core.generate.constrain.script import ScriptTable, TraditionalOnly
from hanlin.core.generate.constrain.utf8 import pending_bytes, split_tokens
from hanlin.core.generate.constrain.vocabulary import Vocabulary, new_vocabulary
from hanlin.core.text.pretokenize import new_backend
from hanlin.core.text.script import simplified_only
from hanlin.core.text.tokenizer import SPECIAL_TOKENS, Tokenizer

SIMPLIFIED = [
    "这个软件的默认设置可以在菜单里修改，数据会保存在你的电脑上。",
    "国内的网络视频质量问题，说话让谁认识们见过马车鸟鱼龙门钱铁红绿线",
    "他们对经济发展进行了讨论，认为应当继续推动转变。",
]


def simplified_backend_tokenizer() -> Tokenizer:
    """A byte-level BPE that has learned Simplified words, and pieces that begin or end inside their characters."""
    backend = new_backend()
    trainer = BpeTrainer(
        vocab_size=900,
        initial_alphabet=ByteLevel.alphabet(),
        special_tokens=list(SPECIAL_TOKENS),
        show_progress=False,
    )
    backend.train_from_iterator(SENTENCES + SIMPLIFIED * 20, trainer)
    return Tokenizer(backend, tiny_settings())


@cache
def kinds() -> dict[str, tuple[Tokenizer, Vocabulary]]:
    tokenizers = {"both": simplified_backend_tokenizer(), "Taiwan": Tokenizer(train_tiny_backend(), tiny_settings())}
    stops = {name: frozenset([tokenizer.eos_id]) for name, tokenizer in tokenizers.items()}
    return {name: (t, new_vocabulary(t, t.vocab_size + 3, stops[name])) for name, t in tokenizers.items()}


@pytest.mark.parametrize("kind", ["both", "Taiwan"])
@settings(max_examples=60)
@given(seed=st.integers(0, 2**32), half_characters=st.booleans())
def test_no_random_reply_has_a_simplified_character(kind: str, seed: int, half_characters: bool) -> None:
    tokenizer, vocabulary = kinds()[kind]
    draw, constraint, ids = random.Random(seed), TraditionalOnly(vocabulary), []
    while True:
        allowed = constraint.allowed().nonzero()[:, 0].tolist()
        assert allowed, "there is always a way on"
        if len(ids) >= 40 and tokenizer.eos_id in allowed:
            break
        if half_characters and len(ids) < 40:
            allowed = [t for t in allowed if pending_bytes(vocabulary.texts[t])] or allowed
        ids.append(draw.choice(allowed))
        constraint.accept(ids[-1])
    text = b"".join(vocabulary.texts[token] for token in ids).decode()  # which is UTF-8, every byte of it
    assert not simplified_only().intersection(text)
    assert tokenizer.decode(ids) == text


@pytest.mark.parametrize("kind", ["both", "Taiwan"])
@pytest.mark.parametrize("by_bytes", [False, True])
def test_what_taiwan_writes_is_never_in_the_way(kind: str, by_bytes: bool) -> None:
    tokenizer, vocabulary = kinds()[kind]
    for text in [*SENTENCES, *EMOJI, *CODE]:
        ids = [vocabulary.id_of[bytes([b])] for b in text.encode()] if by_bytes else tokenizer.encode(text)
        constraint = TraditionalOnly(vocabulary)
        for token in [*ids, tokenizer.eos_id]:
            assert constraint.allowed()[token], (text, vocabulary.texts[token])
            constraint.accept(token)


def test_simplified_words_are_refused_as_tokens_and_by_the_byte() -> None:
    _, vocabulary = kinds()["both"]
    words = [text for text in vocabulary.texts if simplified_only().intersection(text.decode(errors="ignore"))]
    assert len(words) > 50
    for word in words:
        assert not TraditionalOnly(vocabulary).allowed()[vocabulary.id_of[word]]
    for text in ("软件", "国", "这", "说"):
        constraint, refused = TraditionalOnly(vocabulary), False
        for byte in text.encode():
            refused = refused or not constraint.allowed()[vocabulary.id_of[bytes([byte])]]
            constraint.accept(vocabulary.id_of[bytes([byte])])
        assert refused


def test_half_a_character_that_could_only_become_simplified_is_not_begun() -> None:
    """讀's Simplified 读 and its 63 neighbours E8 AF 80 … E8 AF BF are all of the 讠 family."""
    _, vocabulary = kinds()["Taiwan"]
    assert all(bytes([0xE8, 0xAF, last]).decode() in simplified_only() for last in range(0x80, 0xC0))
    constraint = TraditionalOnly(vocabulary)
    constraint.accept(vocabulary.id_of[b"\xe8"])
    assert not constraint.allowed()[vocabulary.id_of[b"\xaf"]]
    assert constraint.allowed()[vocabulary.id_of[b"\xae"]]


def test_a_reply_ends_between_characters_only() -> None:
    tokenizer, vocabulary = kinds()["Taiwan"]
    constraint = TraditionalOnly(vocabulary)
    special = [tokenizer.eos_id, tokenizer.id_of("<|im_start|>")]
    assert constraint.allowed()[special].all()
    for byte in "臺".encode():
        constraint.accept(vocabulary.id_of[bytes([byte])])
        assert constraint.allowed()[special].all() == (byte == "臺".encode()[-1])
    constraint.rollback(2)
    assert not constraint.allowed()[special].any()
    constraint.rollback(1)
    assert constraint.allowed()[special].all()
    assert not constraint.allowed()[tokenizer.vocab_size :].any(), "rows beyond the tokenizer"


PIECES = [
    *"a 是软国臺",
    "😀",
    "𠮷",
    "软件",
    "a国",
    *[
        b"\xe5",
        b"\x9b",
        b"\xbd",
        b"\xbe",
        b"\xe5\x9b",
        b"\x9b\xbd",
        b"\xbda",
        b"\xbd\xe5",
        b"\x9b\xe5",
        b"\xe8",
        b"\xe8\xaf",
    ],
    *[
        b"\xaf",
        b"\xf0",
        b"\xf0\x9f",
        b"\x9f",
        b"\x98\x80",
        b"\x80",
        b"\xf0\x80",
        b"\xc0",
        b"\xff",
        b"a\xe5\x9b",
        b"\xed",
    ],
    *[
        b"\xa0",
        b"\xed\xa0\x80",
        b"\xe0\x80\x80",
        b"\xf4\x90\x80\x80",
        b"\x80\x80\x80\x80",
        b"\xe5\x9b\xbd\x80",
        b"\xe5a",
    ],
]
TEXTS = [piece.encode() if isinstance(piece, str) else piece for piece in PIECES]


def is_begun(data: bytes, inside: list[bytes]) -> bool:
    """By the definition: Traditional so far, and what is begun can be ended by the tokens there are."""
    for length in range(min(4, len(data) + 1)):
        whole, rest = data[: len(data) - length], data[len(data) - length :]
        try:
            text = whole.decode()
        except UnicodeDecodeError:
            continue
        if simplified_only().intersection(text):
            return False
        return not rest or any(is_begun(rest + more, inside) for more in inside if len(rest + more) <= 4)
    return False


@given(
    st.lists(st.sampled_from(TEXTS), min_size=1, unique=True), st.sampled_from(["", "e5", "e59b", "e8", "f0", "f09f98"])
)
def test_the_mask_is_what_its_definition_says(texts: list[bytes], pending: str) -> None:
    """For vocabularies that lack some bytes too, and tokens that are no UTF-8."""
    table = ScriptTable([*texts, b""], silent=[len(texts)])
    inside = [text for text in texts if all(byte & 0xC0 == 0x80 for byte in text)]
    begun = bytes.fromhex(pending)
    expected = [is_begun(begun + text, inside) and not (begun and text[0] & 0xC0 != 0x80) for text in texts]
    assert table.allowed(begun).tolist() == [*expected, not begun]


@given(st.lists(st.binary(max_size=6) | st.text(max_size=3).map(str.encode), max_size=8))
def test_splitting_agrees_with_the_decoder(texts: list[bytes]) -> None:
    found = split_tokens(texts, [])
    for token, text in enumerate(texts):
        count = next((place for place, byte in enumerate(text) if byte & 0xC0 != 0x80), len(text))
        tail = pending_bytes(text[count:])
        try:
            text[count : len(text) - len(tail)].decode()
            is_utf8 = True
        except UnicodeDecodeError:
            is_utf8 = False
        assert found.num_continuing_V[token] == count
        assert found.good_V[token] == (is_utf8 and len(text) > 0 and count <= 3)
        if is_utf8:
            assert found.tails.get(token, b"") == tail
