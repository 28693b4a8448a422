"""Every kind of tokenizer.json: streams are what the library decodes, names stay text, settings are read as written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from samples import SENTENCES, varied_lines
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as Backend
from tokenizers.trainers import BpeTrainer, UnigramTrainer, WordPieceTrainer

from hanlin.core.run.errors import HanlinError
from hanlin.core.text.tokenizer import END_OF_TEXT, StreamDecoder, Tokenizer, load_tokenizer

LINES = [line for line in varied_lines(400) if "\0" not in line]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
SPECIAL = ["<unk>", "<s>", "</s>"]
SETTINGS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def finished(backend: Backend, trainer: Any, decoder: Any) -> Backend:
    backend.train_from_iterator(LINES, trainer)
    backend.decoder = decoder
    backend.add_tokens([AddedToken("<br/>", special=False), AddedToken("翰林院", special=False)])
    return backend


def llama(prefix: bool = True, strip: bool = True) -> Backend:
    """SentencePiece's BPE as Llama 2 has it, without the prefix as Gemma."""
    backend = Backend(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    spaces = normalizers.Replace(" ", "▁")
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), spaces] if prefix else [spaces])
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    decoder = decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)] if strip else steps)
    trainer = BpeTrainer(vocab_size=700, limit_alphabet=200, special_tokens=SPECIAL + BYTES, show_progress=False)
    facts = json.loads(finished(backend, trainer, decoder).to_str())
    facts["added_tokens"] = [token for token in facts["added_tokens"] if token["content"] not in BYTES]
    return Backend.from_str(json.dumps(facts))


def unigram(scheme: str) -> Backend:
    """As T5's and XLM-R's: Metaspace."""
    backend = Backend(models.Unigram())
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    trainer = UnigramTrainer(vocab_size=700, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False)
    return finished(backend, trainer, decoders.Metaspace(prepend_scheme=scheme))


def word_piece(cleanup: bool) -> Backend:
    backend = Backend(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer, backend.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    trainer = WordPieceTrainer(
        vocab_size=900, special_tokens=["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"], show_progress=False
    )
    return finished(backend, trainer, decoders.WordPiece(cleanup=cleanup))


def byte_level() -> Backend:
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = BpeTrainer(vocab_size=500, initial_alphabet=alphabet, special_tokens=[END_OF_TEXT], show_progress=False)
    return finished(backend, trainer, decoders.ByteLevel())


def word_ends() -> Backend:
    """GPT-1's: `</w>` ends a word."""
    backend = Backend(models.BPE(end_of_word_suffix="</w>", unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = BpeTrainer(vocab_size=700, end_of_word_suffix="</w>", special_tokens=SPECIAL, show_progress=False)
    return finished(backend, trainer, decoders.BPEDecoder(suffix="</w>"))


def with_decoder(decoder: Any) -> Callable[[], Backend]:
    def make() -> Backend:
        backend = llama()
        backend.decoder = decoder
        return backend

    return make


def no_decoder() -> Backend:
    return Backend.from_str(json.dumps(json.loads(unigram("always").to_str()) | {"decoder": None}))


KINDS: dict[str, Callable[[], Backend]] = {
    "byte-level BPE": byte_level,
    "Llama 2": llama,
    "InternLM 2": lambda: llama(prefix=False),
    "Gemma": lambda: llama(prefix=False, strip=False),
    "Unigram, always ▁": lambda: unigram("always"),
    "Unigram, ▁ first": lambda: unigram("first"),
    "Unigram, no ▁": lambda: unigram("never"),
    "WordPiece": lambda: word_piece(False),
    "WordPiece, cleaned": lambda: word_piece(True),
    "GPT-1": word_ends,
    "no decoder": no_decoder,
    "bytes, then ▁": with_decoder(decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(), decoders.Fuse()])),
    "strips": with_decoder(decoders.Sequence([decoders.Strip("▁", 1, 0), decoders.Replace("一", "壹")])),
    "CTC": with_decoder(decoders.CTC(pad_token="▁")),
}


@pytest.fixture(scope="module", params=KINDS, ids=str)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    settings = {} if request.param in ("byte-level BPE", "WordPiece", "WordPiece, cleaned") else SETTINGS
    return Tokenizer(KINDS[request.param](), settings)


TEXT = st.text(
    st.one_of(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), st.sampled_from("台灣😀𠮷👩‍🔬ㄅ́ .'▁")),
    max_size=40,
)


@given(TEXT | st.sampled_from(LINES), st.booleans())
@example("  don't .  <br/>  翰林院 it 's", True)
def test_streams_are_what_the_library_decodes(tokenizer: Tokenizer, text: str, skip: bool) -> None:
    """Token by token, and never half a character: each piece continues the whole."""
    ids = tokenizer.encode(text)
    whole = tokenizer.backend.decode(ids, skip_special_tokens=skip)
    decoder, shown = StreamDecoder(tokenizer, skip), ""
    for token in ids:
        shown += decoder.push(token)
        assert whole.startswith(shown)
    assert shown + decoder.finish() == whole
    assert "\ufffd" in text or "\ufffd" not in shown


@given(st.data())
def test_streams_of_any_ids(tokenizer: Tokenizer, data: st.DataObject) -> None:
    """Special tokens in between, bytes of half characters: the same text up to an end that is no character."""
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocab_size + 3), max_size=12))
    skip = data.draw(st.booleans())
    mine, theirs = tokenizer.decode(ids, skip), tokenizer.backend.decode(ids, skip_special_tokens=skip)
    if "\ufffd" not in theirs:
        assert mine == theirs
    elif tokenizer.plan and tokenizer.plan.bytes_are == "symbols":
        assert theirs.startswith(mine)  # of <0x..> that are no text the next test speaks


@pytest.mark.parametrize("kind", ["Llama 2", "Gemma"])
def test_characters_of_bytes_are_shown_when_they_are_whole(kind: str) -> None:
    tokenizer = Tokenizer(KINDS[kind](), SETTINGS)
    ids = [tokenizer.id_of(f"<0x{byte:02X}>") for byte in "𠮷台".encode()]
    decoder = StreamDecoder(tokenizer)
    assert [decoder.push(token) for token in ids] == ["", "", "", "𠮷", "", "", "台"]
    assert tokenizer.decode(ids[:-1]) == "𠮷", "half a character at the end is no text"
    stray = [*ids[:4], ids[0], tokenizer.id_of("a")]
    assert tokenizer.decode(stray) == "𠮷\ufffda", "the library loses the whole character too"


def test_token_bytes_in_the_middle_of_a_text(tokenizer: Tokenizer) -> None:
    if tokenizer.plan is None:
        return
    for line in LINES[:100]:
        ids = tokenizer.encode(line)
        joined = b"".join(tokenizer.token_bytes[token] for token in ids).decode(errors="replace")
        assert joined.strip(" ") == tokenizer.decode(ids, skip_special=False).strip(" ")


def test_names_in_text_stay_text(tokenizer: Tokenizer) -> None:
    """A model that has "</s>" among its pieces does not make it of a text; the text is not lost either."""
    unknown = {tokenizer.backend.token_to_id(name) for name in ("<unk>", "[UNK]")}
    for name in (tokenizer.backend.id_to_token(token) for token in tokenizer.special_ids):
        text = f"好{name}好{name}"
        ids = tokenizer.encode(text)
        assert not tokenizer.special_ids - unknown & set(ids), name
        assert tokenizer.encode_batch([text, "好"]) == [ids, tokenizer.encode("好")]
        allowed = tokenizer.encode(text, allow_special=True)
        assert tokenizer.backend.token_to_id(name) in allowed


@pytest.mark.parametrize("byte_fallback", [True, False])
def test_a_unigrams_names_are_spelled_from_its_letters(byte_fallback: bool) -> None:
    letters = ["<", "/", "s", ">", "u", "n", "k", "0", "x", "4", "1", "▁"]
    pieces = [(name, 0.0) for name in SPECIAL] + [(letter, -5.0) for letter in letters]
    if byte_fallback:
        pieces += [(name, 0.0) for name in BYTES]
    backend = Backend(models.Unigram(pieces, 0, byte_fallback))
    backend.add_special_tokens(SPECIAL)
    backend.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    tokenizer = Tokenizer(backend, SETTINGS)
    for text in ("</s>", "<unk>", "<s></s>x", *(["<0x41>", "s<0x41>s<0x4"] if byte_fallback else [])):
        assert [tokenizer.backend.id_to_token(token) for token in tokenizer.encode(text)] == list(text)
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_merges_that_spell_a_name_do_not_make_it() -> None:
    """InternLM 2 has the merge "<s" + ">", and its tokenizer.json does not say that <s> is special; its settings do."""
    vocab = {name: place for place, name in enumerate(["<unk>", "<s>", "</s>", "<", "s", ">", "<s"])}
    backend = Backend(models.BPE(vocab, [("<", "s"), ("<s", ">")], unk_token="<unk>", byte_fallback=True))
    tokenizer = Tokenizer(backend, SETTINGS)
    assert tokenizer.special_ids == {0, 1, 2}
    assert [backend.id_to_token(token) for token in tokenizer.encode("<s>s")] == ["<s", ">", "s"]
    assert tokenizer.encode("<s>s", allow_special=True) == [1, 4]


def test_a_space_only_before_the_first_word() -> None:
    first, always = (Tokenizer(unigram(scheme), SETTINGS) for scheme in ("first", "always"))
    for tokenizer, spaced in ((first, False), (always, True)):
        whole = tokenizer.encode("台灣<s>台灣", allow_special=True)
        start, rest = tokenizer.encode("台灣"), tokenizer.encode("台灣", at_start=False)
        assert whole == [*start, tokenizer.id_of("<s>"), *rest]
        assert (start == rest) == spaced


def test_what_special_tokens_take_in() -> None:
    """Phi-3's take the spaces behind them, a mask those before it."""
    backend = llama()
    backend.add_special_tokens([AddedToken("<|user|>", rstrip=True), AddedToken("<mask>", lstrip=True)])
    tokenizer = Tokenizer(backend, SETTINGS)
    assert tokenizer.split_special(" a <|user|>\n b <mask> c</s> ") == [
        " a ",
        "<|user|>",
        "b",
        "<mask>",
        " c",
        "</s>",
        " ",
    ]


def test_a_files_truncation_and_padding_are_off() -> None:
    backend = llama()
    backend.enable_truncation(4)
    backend.enable_padding(length=500)
    tokenizer = Tokenizer(backend, SETTINGS)
    assert 500 > len(tokenizer.encode(SENTENCES[0])) > 4


def added(name: str) -> dict[str, Any]:
    return {"__type": "AddedToken", "content": name, "lstrip": False, "normalized": True}


@pytest.mark.parametrize(
    ("settings", "bos", "eos", "pad"),
    [
        ({"bos_token": "<s>", "eos_token": added("</s>"), "pad_token": added("<unk>")}, "<s>", "</s>", "<unk>"),
        ({"bos_token": None, "eos_token": "</s>", "unk_token": "<unk>", "pad_token": None}, None, "</s>", "<unk>"),
        ({"bos_token": added("<s>")}, "<s>", "</s>", "</s>"),
        ({"bos_token": "<s>", "pad_token": "<nowhere>", "unk_token": "<unk>"}, "<s>", "</s>", "<unk>"),
        ({}, None, "</s>", "</s>"),
    ],
)
def test_special_tokens_by_name_or_as_added_tokens(
    settings: dict[str, Any], bos: str | None, eos: str, pad: str
) -> None:
    tokenizer = Tokenizer(llama(), settings)
    assert (tokenizer.bos_token, tokenizer.eos_token) == (bos, eos)
    assert tokenizer.bos_id == (None if bos is None else tokenizer.id_of(bos))
    assert (tokenizer.eos_id, tokenizer.pad_id) == (tokenizer.id_of(eos), tokenizer.id_of(pad))


def test_a_model_that_ends_no_text() -> None:
    with pytest.raises(HanlinError, match="names no token that ends a text"):
        Tokenizer(word_piece(False), {}).eos_id  # noqa: B018


TEMPLATE = processors.TemplateProcessing("<s> $A", "<s> $A $B", [("<s>", 1)])


@pytest.mark.parametrize(
    ("settings", "processor", "expected"),
    [
        ({}, None, False),
        ({}, TEMPLATE, True),
        ({"add_bos_token": False}, TEMPLATE, False),
        ({"add_bos_token": True}, None, True),
        ({"bos_token": None, "add_bos_token": True}, TEMPLATE, False),
        ({}, processors.Sequence([processors.ByteLevel(), TEMPLATE]), True),
        ({}, processors.TemplateProcessing("$A </s>", "$A $B </s>", [("</s>", 2)]), False),
        ({}, processors.RobertaProcessing(("</s>", 2), ("<s>", 1)), True),
    ],
)
def test_whether_bos_is_expected(settings: dict[str, Any], processor: Any, expected: bool) -> None:
    backend = llama()
    if processor is not None:
        backend.post_processor = processor
    tokenizer = Tokenizer(backend, {**SETTINGS, **settings})
    assert tokenizer.add_bos is expected
    assert tokenizer.encode("台灣", allow_special=True).count(1) == 0, "the caller puts it"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"bos_token": "<s>", "add_bos_token": True}, "<s>"),
        ({"bos_token": "<s>", "add_bos_token": False}, END_OF_TEXT),
        ({}, END_OF_TEXT),
    ],
)
def test_what_stands_before_a_document(settings: dict[str, Any], expected: str) -> None:
    backend = llama()
    backend.add_special_tokens([END_OF_TEXT])
    tokenizer = Tokenizer(backend, {"eos_token": "</s>", **settings})
    assert tokenizer.document_id == tokenizer.id_of(expected)


def test_what_stands_before_a_document_without_the_usual_token() -> None:
    assert Tokenizer(llama(), SETTINGS).document_id == 1
    assert Tokenizer(llama(), {"eos_token": "</s>"}).document_id == 2


def test_ids_with_gaps() -> None:
    backend = Backend(models.BPE({"a": 0, "b": 7}, []))
    tokenizer = Tokenizer(backend, {})
    assert tokenizer.vocab_size == 8 and tokenizer.decode([0, 3, 7]) == "a b"
    assert tokenizer.token_bytes == [b" a", *[b""] * 6, b" b"]


def test_older_and_newer_folders(tmp_path: Path) -> None:
    """special_tokens_map.json under tokenizer_config.json; a chat template in a file of its own, or one of several."""
    llama().save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "special_tokens_map.json").write_text(
        json.dumps({"bos_token": added("<s>"), "eos_token": "<unk>"}), encoding="utf-8"
    )
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "</s>"}', encoding="utf-8")
    (tmp_path / "chat_template.jinja").write_text("{{ '樣板' }}", encoding="utf-8")
    tokenizer = load_tokenizer(tmp_path)
    assert (tokenizer.bos_token, tokenizer.eos_token) == ("<s>", "</s>")
    assert tokenizer.chat_template == "{{ '樣板' }}"
    several = [{"name": "rag", "template": "b"}, {"name": "default", "template": "a"}]
    assert Tokenizer(tokenizer.backend, {"chat_template": several}).chat_template == "a"
    assert Tokenizer(tokenizer.backend, {"chat_template": None}).chat_template == ""
    for broken in ("[", "[]", "\xff"):
        (tmp_path / "tokenizer_config.json").write_bytes(broken.encode("latin-1"))
        with pytest.raises(HanlinError, match=r"tokenizer_config\.json is not readable"):
            load_tokenizer(tmp_path)


def test_save_and_load(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    again = load_tokenizer(tmp_path)
    for line in LINES[:100]:
        ids = tokenizer.encode(line)
        assert again.encode(line) == ids and again.decode(ids) == tokenizer.decode(ids)
