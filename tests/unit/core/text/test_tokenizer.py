"""Ids and text: nothing is unknown, nothing is half shown, special names in text stay text."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import varied_lines
from tokenizers import Tokenizer as Backend
from tokenizers.pre_tokenizers import ByteLevel, Whitespace

from hanlin.core.run.errors import HanlinError
from hanlin.core.text.byte_symbols import symbol_of_byte
from hanlin.core.text.pretokenize import ggml_pre, new_backend
from hanlin.core.text.tokenizer import IM_END, SPECIAL_TOKENS, StreamDecoder, Tokenizer, load_tokenizer

TEXT = st.text(
    st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from("台灣憲法😀👩‍🔬🇹🇼𠮷𰻝ㄅ́")), max_size=40
)


@given(TEXT)
def test_stream_never_shows_half_a_character(tiny_tokenizer: Tokenizer, text: str) -> None:
    """Whatever the merges: token by token, and at the finest split of all, byte by byte."""
    byte_ids = [tiny_tokenizer.id_of(symbol_of_byte()[byte]) for byte in text.encode()]
    for ids in (tiny_tokenizer.encode(text), byte_ids):
        decoder = StreamDecoder(tiny_tokenizer)
        shown = ""
        for token in ids:
            shown += decoder.push(token)
            assert text.startswith(shown)
        assert shown + decoder.finish() == text


@given(TEXT, st.integers(1, 3))
def test_a_cut_stream_ends_before_the_half_character(tiny_tokenizer: Tokenizer, text: str, missing: int) -> None:
    byte_ids = [tiny_tokenizer.id_of(symbol_of_byte()[byte]) for byte in text.encode()][:-missing]
    assert text.startswith(tiny_tokenizer.decode(byte_ids))


def test_bytes_that_are_no_text_are_shown_as_such(tiny_tokenizer: Tokenizer) -> None:
    start_of_tai, letter = tiny_tokenizer.encode("台"), tiny_tokenizer.encode("a")
    half = [tiny_tokenizer.id_of(symbol_of_byte()["台".encode()[0]])]
    assert tiny_tokenizer.decode(half + letter + start_of_tai) == "\ufffda台"


@given(TEXT)
def test_round_trip(tiny_tokenizer: Tokenizer, text: str) -> None:
    ids = tiny_tokenizer.encode(text)
    assert tiny_tokenizer.decode(ids) == text == tiny_tokenizer.backend.decode(ids)
    assert tiny_tokenizer.encode_batch([text, ""]) == [ids, []]


def test_token_bytes_are_the_text(tiny_tokenizer: Tokenizer) -> None:
    for line in varied_lines():
        assert b"".join(tiny_tokenizer.token_bytes[i] for i in tiny_tokenizer.encode(line)) == line.encode()


@pytest.mark.parametrize("name", SPECIAL_TOKENS)
def test_special_names_in_text_stay_text(tiny_tokenizer: Tokenizer, name: str) -> None:
    text = f"請解釋 {name} 的意思"
    plain = tiny_tokenizer.encode(text)
    assert not tiny_tokenizer.special_ids & set(plain)
    assert tiny_tokenizer.decode(plain) == text
    assert tiny_tokenizer.id_of(name) in tiny_tokenizer.encode(text, allow_special=True)
    assert tiny_tokenizer.split_special(text) == ["請解釋 ", name, " 的意思"]


def test_special_names_stay_text_in_every_thread(tiny_tokenizer: Tokenizer) -> None:
    def encode(turn: int) -> bool:
        return bool(tiny_tokenizer.special_ids & set(tiny_tokenizer.encode(IM_END * 20, allow_special=turn % 2 == 1)))

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(encode, range(400))) == [False, True] * 200


def test_special_tokens_are_hidden_unless_asked_for(tiny_tokenizer: Tokenizer) -> None:
    ids = [*tiny_tokenizer.encode("好"), tiny_tokenizer.id_of(IM_END)]
    assert tiny_tokenizer.decode(ids) == "好"
    assert tiny_tokenizer.decode(ids, skip_special=False) == "好" + IM_END


def test_padding_is_not_the_stop_token(tiny_tokenizer: Tokenizer) -> None:
    assert len({tiny_tokenizer.pad_id, tiny_tokenizer.eos_id, tiny_tokenizer.document_id}) == 3


def test_save_and_load(tmp_path: Path, tiny_tokenizer: Tokenizer) -> None:
    tiny_tokenizer.save(tmp_path)
    again = load_tokenizer(tmp_path)
    assert again.settings == tiny_tokenizer.settings
    assert [again.encode(line) for line in varied_lines(200)] == [
        tiny_tokenizer.encode(line) for line in varied_lines(200)
    ]


def test_missing_broken_and_foreign_tokenizers(tmp_path: Path) -> None:
    with pytest.raises(HanlinError, match=r"has no tokenizer\.json"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{", encoding="utf-8")
    with pytest.raises(HanlinError, match="not a readable tokenizer"):
        load_tokenizer(tmp_path)
    with pytest.raises(HanlinError, match=r"has no token <\|im_end\|>"):
        Tokenizer(new_backend(), {"eos_token": IM_END}).eos_id  # noqa: B018


def test_pre_tokenizer_is_one_llama_cpp_knows(tiny_tokenizer: Tokenizer) -> None:
    assert ggml_pre(tiny_tokenizer.backend, "qwen2") == "qwen2"


def _changed(backend: Backend, **changes: object) -> Backend:
    return Backend.from_str(json.dumps(json.loads(backend.to_str()) | changes))


@pytest.mark.parametrize("case", ["another name", "another pattern", "no pattern", "normaliser", "prefix space"])
def test_other_pre_tokenizers_are_refused(tiny_tokenizer: Tokenizer, case: str) -> None:
    backend = _changed(tiny_tokenizer.backend)
    if case == "another pattern":
        backend.pre_tokenizer = Whitespace()
    elif case == "no pattern":
        backend.pre_tokenizer = ByteLevel(add_prefix_space=False)
    elif case == "normaliser":
        backend = _changed(backend, normalizer={"type": "Lowercase"})
    elif case == "prefix space":
        cut = json.loads(backend.to_str())["pre_tokenizer"]
        cut["pretokenizers"][1]["add_prefix_space"] = True
        backend = _changed(backend, pre_tokenizer=cut)
    with pytest.raises(HanlinError, match=r"its ids would differ there"):
        ggml_pre(backend, "llama-bpe" if case == "another name" else "qwen2")
