"""Forms of a reply: what is allowed, what is refused in words, what a stream shows for every make of tokenizer."""

from __future__ import annotations

import gc
import json
import random
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from weakref import ref

import pytest
import torch
from conftest import tiny_settings, train_tiny_backend
from hypothesis import given
from hypothesis import strategies as st
from samples import SENTENCES
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, normalizers, pre_tokenizers
from tokenizers.trainers import BpeTrainer, UnigramTrainer, WordPieceTrainer

from hanlin.core.generate.constrain import constraint_of
from hanlin.core.generate.constrain.vocabulary import Vocabulary, new_vocabulary, vocabulary_of
from hanlin.core.generate.sampling import Sampler, Sampling
from hanlin.core.model.pretrained import Pretrained, load
from hanlin.core.run.errors import HanlinError
from hanlin.core.text.tokenizer import StreamDecoder, Tokenizer

CITIES = {"type": "object", "properties": {"城市": {"enum": ["臺北市", "臺南市"]}}, "required": ["城市"]}
CLOSED = json.dumps(CITIES | {"additionalProperties": False})


@pytest.fixture(scope="module")
def loaded(tiny_model_folder) -> Pretrained:
    return load(tiny_model_folder)


def reply(loaded: Pretrained, sampling: Sampling, seed: int = 0, max_tokens: int = 400) -> str:
    """A text of tokens drawn evenly among those allowed, as a stream shows it, up to its stop token."""
    constraint, decoder, draw = constraint_of(sampling, loaded), StreamDecoder(loaded.tokenizer), random.Random(seed)
    text = ""
    for _ in range(max_tokens):
        allowed = constraint.allowed().nonzero()[:, 0].tolist()
        stops = loaded.stop_ids.intersection(allowed)
        token = min(stops) if stops and draw.random() < 0.3 else draw.choice(allowed)
        constraint.accept(token)
        if token in loaded.stop_ids:
            return text + decoder.finish()
        text += decoder.push(token)
    raise AssertionError(f"no end: {text}")


@pytest.mark.parametrize("seed", range(3))
def test_a_reply_has_the_form_asked_for(loaded: Pretrained, seed: int) -> None:
    assert re.fullmatch("[甲-龍]{2}[0-9]{1,3}", reply(loaded, Sampling(regex="[甲-龍]{2}[0-9]{1,3}"), seed))
    assert re.fullmatch("[甲-龍]{2}", reply(loaded, Sampling(regex="^[甲-龍]{2}$"), seed)), "anchors say nothing more"
    choices = ("是", "是的", '他說"不"', "反\\斜線", "兩\n行", "<|im_end|>")
    assert reply(loaded, Sampling(choices=choices), seed) in choices
    lark = 'start: 數 ("+" 數)*\n數: /[1-9][0-9]?/'.replace("數", "number")
    assert re.fullmatch(r"[1-9]\d?(\+[1-9]\d?)*", reply(loaded, Sampling(grammar=lark), seed))
    text = reply(loaded, Sampling(json_schema=CLOSED), seed)
    assert json.loads(text)["城市"] in ("臺北市", "臺南市")


def test_chinese_is_written_as_it_is_and_blanks_are_few(loaded: Pretrained) -> None:
    schema = json.dumps({"type": "array", "items": CITIES | {"additionalProperties": False}, "minItems": 3})
    for seed in range(3):
        text = reply(loaded, Sampling(json_schema=schema), seed)
        assert "臺" in text and "\\" not in text
        assert re.fullmatch(r'(\[|(, )?|,|\{"城市": ?"臺[北南]市"\})*\]', text), text


def test_none_where_everything_may_be_written(loaded: Pretrained) -> None:
    assert constraint_of(Sampling(), loaded) is None


def test_the_mask_is_the_models_size_and_stops_where_it_may(loaded: Pretrained) -> None:
    constraint = constraint_of(Sampling(choices=("是", "是的")), loaded)
    assert (constraint.allowed().shape, constraint.allowed().dtype) == ((loaded.model.vocab_size,), torch.bool)
    stops = sorted(loaded.stop_ids)
    assert not constraint.allowed()[stops].any()
    for token in loaded.tokenizer.encode("是"):
        constraint.accept(token)
    assert constraint.allowed()[stops].all()
    for token in loaded.tokenizer.encode("的"):
        constraint.accept(token)
    assert constraint.allowed().nonzero()[:, 0].tolist() == stops


def test_every_stop_token_and_no_row_beyond_the_tokenizer(loaded: Pretrained) -> None:
    tokenizer = loaded.tokenizer
    stops = frozenset([tokenizer.eos_id, tokenizer.id_of("<|endoftext|>"), 520])
    vocabulary = new_vocabulary(tokenizer, 530, stops)
    assert vocabulary.stop_ids == stops and vocabulary.size == 530
    assert not any(vocabulary.texts[token] for token in (*stops, *range(tokenizer.vocab_size, 530)))


@given(st.data())
def test_rolling_back_is_not_having_gone(loaded: Pretrained, data: st.DataObject) -> None:
    """For any number of tokens, a stop token among them, and again and again."""
    sampling = Sampling(json_schema=json.dumps({"type": "array", "items": {"enum": ["甲", 1, [2]]}, "maxItems": 3}))
    sampling = sampling.model_copy(update={"script": data.draw(st.sampled_from(["", "zh-TW"]))})
    constraint, taken = constraint_of(sampling, loaded), []
    for _ in range(data.draw(st.integers(1, 4))):
        for _ in range(data.draw(st.integers(1, 12))):
            allowed = constraint.allowed().nonzero()[:, 0].tolist()
            taken.append(allowed[data.draw(st.integers(0, len(allowed) - 1))])
            constraint.accept(taken[-1])
            if taken[-1] in loaded.stop_ids:
                break
        ended = taken[-1] in loaded.stop_ids
        back = data.draw(st.integers(int(ended), len(taken)))
        constraint.rollback(back)
        del taken[len(taken) - back :]
        fresh = constraint_of(sampling, loaded)
        for token in taken:
            fresh.accept(token)
        assert torch.equal(constraint.allowed(), fresh.allowed())


def test_a_mask_made_in_another_thread_is_the_same(loaded: Pretrained) -> None:
    constraint = constraint_of(Sampling(json_schema=CLOSED), loaded)
    with ThreadPoolExecutor(1) as pool:
        for token in loaded.tokenizer.encode('{"城市":"臺北市"}'):
            assert torch.equal(pool.submit(constraint.allowed).result(), constraint.allowed())
            constraint.accept(token)


def test_the_model_itself_writes_the_form(loaded: Pretrained) -> None:
    sampling = Sampling(json_schema=CLOSED, temperature=1, top_p=1, seed=5)
    ids = loaded.tokenizer.encode("城市：")
    sampler, constraint, new = Sampler(sampling, ids), constraint_of(sampling, loaded), []
    while not new or new[-1] not in loaded.stop_ids:
        new.append(sampler.draw(loaded(torch.tensor([ids + new]))[0, -1], constraint.allowed()))
        constraint.accept(new[-1])
        sampler.saw(new[-1])
    assert json.loads(loaded.tokenizer.decode(new))["城市"].startswith("臺")


SPECIAL = ["<unk>", "<s>", "</s>"]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def sentencepiece(prefix: bool) -> Backend:
    """BPE with bytes to fall back on; prefix: as Llama 2, whose text begins with a ▁ that is not shown."""
    backend = Backend(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    spaces = normalizers.Replace(" ", "▁")
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), spaces]) if prefix else spaces
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    backend.decoder = decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)] if prefix else steps)
    trainer = BpeTrainer(vocab_size=600, limit_alphabet=150, special_tokens=SPECIAL + BYTES, show_progress=False)
    backend.train_from_iterator(SENTENCES, trainer)
    facts = json.loads(backend.to_str())
    facts["added_tokens"] = [token for token in facts["added_tokens"] if token["content"] not in BYTES]
    return Backend.from_str(json.dumps(facts))


def unigram() -> Backend:
    backend = Backend(models.Unigram())
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    backend.decoder = decoders.Metaspace(prepend_scheme="always")
    backend.train_from_iterator(
        [*SENTENCES, '{"城市": "臺北市", "臺南市"}'] * 2,
        UnigramTrainer(vocab_size=700, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False),
    )
    return backend


def word_piece() -> Backend:
    backend = Backend(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer, backend.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece(cleanup=False)
    special = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
    trainer = WordPieceTrainer(vocab_size=900, special_tokens=special, show_progress=False)
    backend.train_from_iterator(SENTENCES, trainer)
    return backend


def named(backend: Backend, eos: str) -> Tokenizer:
    return Tokenizer(backend, {"eos_token": eos, "unk_token": "<unk>" if eos == "</s>" else "[UNK]"})


KINDS = {
    "Llama 2": lambda: named(sentencepiece(prefix=True), "</s>"),
    "Gemma": lambda: named(sentencepiece(prefix=False), "</s>"),
    "Unigram": lambda: named(unigram(), "</s>"),
    "WordPiece": lambda: named(word_piece(), "[SEP]"),
}


def with_tokenizer(loaded: Pretrained, tokenizer: Tokenizer) -> Pretrained:
    """The tiny model's head has no rows for so many tokens, but constraints ask only for its size."""
    model = type("Head", (), {"vocab_size": tokenizer.vocab_size + 5})()
    return replace(loaded, tokenizer=tokenizer, model=model, generation={})


@pytest.mark.parametrize("kind", ["Llama 2", "Gemma", "Unigram"])
def test_what_the_stream_shows_has_the_form_for_every_kind(loaded: Pretrained, kind: str) -> None:
    """A space that the stream drops at the start is not in the way."""
    theirs = with_tokenizer(loaded, KINDS[kind]())
    for seed in range(4):
        assert reply(theirs, Sampling(choices=("法律", "人民 與", " 權利")), seed) in ("法律", "人民 與", " 權利")
        assert re.fullmatch("[a-z]{2,4} [甲-龍]", reply(theirs, Sampling(regex="[a-z]{2,4} [甲-龍]"), seed))
        if kind != "Unigram":  # which has no bytes to spell a letter it did not learn
            assert json.loads(reply(theirs, Sampling(json_schema=CLOSED), seed))["城市"].startswith("臺")


def test_a_space_before_the_first_word_is_no_part_of_the_reply(loaded: Pretrained) -> None:
    theirs = with_tokenizer(loaded, KINDS["Llama 2"]())
    names = list(map(theirs.tokenizer.backend.id_to_token, range(theirs.tokenizer.vocab_size)))
    allowed = constraint_of(Sampling(regex="[a-z]+"), theirs).allowed().nonzero()[:, 0].tolist()
    wanted = {name for name in names if re.fullmatch("▁?[a-z]+", name)}
    assert {"a", "▁a"} <= wanted == {names[token] for token in allowed} - set(BYTES)


def test_word_pieces_spell_words_of_theirs(loaded: Pretrained) -> None:
    theirs = with_tokenizer(loaded, KINDS["WordPiece"]())
    assert reply(theirs, Sampling(regex="def [a-z]{1,3}( [a-z]{1,3}){0,2}")).startswith("def ")
    with pytest.raises(HanlinError, match="leads on"):
        reply(theirs, Sampling(json_schema=CLOSED))


@given(st.text(st.sampled_from("a b▁台灣{\"':😀\n") | st.characters(exclude_categories=["Cs"]), max_size=12))
def test_texts_are_spelt_exactly(text: str) -> None:
    for vocabulary in VOCABULARIES:
        assert b"".join(vocabulary.texts[token] for token in vocabulary.encode(text)) == text.encode()


def vocabulary(tokenizer: Tokenizer) -> Vocabulary:
    KEPT.append(tokenizer)
    return new_vocabulary(tokenizer, tokenizer.vocab_size, frozenset([tokenizer.eos_id]))


KEPT: list[Tokenizer] = []
VOCABULARIES = [
    vocabulary(Tokenizer(train_tiny_backend(), tiny_settings())),
    vocabulary(KINDS["Llama 2"]()),
    vocabulary(KINDS["Gemma"]()),
]


def test_what_is_kept_for_a_tokenizer_goes_with_it(loaded: Pretrained) -> None:
    tokenizer = Tokenizer(train_tiny_backend(), tiny_settings())
    theirs = with_tokenizer(loaded, tokenizer)
    constraint = constraint_of(Sampling(choices=("甲",), script="zh-TW"), theirs)
    assert vocabulary_of(theirs) is vocabulary_of(theirs)
    gone, known = ref(tokenizer), ref(vocabulary_of(theirs))
    del constraint, theirs, tokenizer
    gc.collect()
    assert gone() is None and known() is None


@pytest.mark.parametrize(
    ("options", "reason", "advice"),
    [
        ({"json_schema": '{"type":"array","uniqueItems":true}'}, "uniqueItems", "leave these keywords out"),
        ({"json_schema": '{"not":{"type":"null"}}'}, '"not"', "leave these keywords out"),
        ({"json_schema": '{"type":"string","format":"color"}'}, "color", "pattern"),
        ({"json_schema": '{"oneOf":[{"type":"integer"},{"type":"number"}]}'}, "oneOf", "anyOf"),
        ({"json_schema": '{"type":"string","pattern":"(?=a)b"}'}, "look-around", "look-ahead"),
        ({"json_schema": '{"type":"integer","minimum":3,"maximum":2}'}, "minimum (3)", "contradicts"),
        ({"json_schema": "false"}, "Unsatisfiable", "contradicts"),
        ({"json_schema": '{"$ref":"https://example.org/city"}'}, "example.org", "$defs"),
        ({"json_schema": '{"type":"text"}'}, "text", "where the message points"),
        ({"json_schema": '{"type":'}, "line 1 column 9", "where the message points"),
        ({"json_schema": "[1]"}, "list", "where the message points"),
        ({"regex": "[0-9"}, "unclosed", "where the message points"),
        ({"grammar": 'start: number "a"'}, "number", "where the message points"),
        ({"grammar": 'number: "1"'}, "start", "where the message points"),
    ],
)
def test_what_is_not_supported_is_refused_in_words(loaded: Pretrained, options: dict, reason: str, advice: str) -> None:
    with pytest.raises(HanlinError) as caught:
        constraint_of(Sampling(**options), loaded)
    assert next(iter(options)) in caught.value.what and reason in caught.value.what
    assert advice in caught.value.do
    assert len(str(caught.value).splitlines()) == 4


def test_a_form_that_no_tokens_can_spell_ends_in_words(loaded: Pretrained) -> None:
    theirs = with_tokenizer(loaded, KINDS["Unigram"]())
    for options in ({"choices": ("龘龘",)}, {"regex": "人民[龍-龥]{2}"}, {"json_schema": '{"const":"龘"}'}):
        with pytest.raises(HanlinError, match="leads on"):
            reply(theirs, Sampling(**options))


def test_a_decoder_that_needs_the_whole_reply_is_refused(loaded: Pretrained) -> None:
    backend = sentencepiece(prefix=False)
    backend.decoder = decoders.CTC(pad_token="▁")
    with pytest.raises(HanlinError, match="whole"):
        constraint_of(Sampling(regex="a"), with_tokenizer(loaded, named(backend, "</s>")))


def test_the_package_that_is_missing_is_named(loaded: Pretrained, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(HanlinError, match=r"regex needs llguidance(.|\n)*pip install \"hanlin\[constrain\]\""):
        constraint_of(Sampling(regex="a"), loaded)
    assert constraint_of(Sampling(script="zh-TW"), loaded) is not None
