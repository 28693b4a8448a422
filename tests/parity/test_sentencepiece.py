"""A `.model` file read here gives the ids and texts of the sentencepiece library, and a broken one a sentence."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from samples import varied_lines, wild_lines
from spm_models import LINES, sentencepiece, train
from tokenizers.models import Unigram

from hanlin.core.run.errors import HanlinError
from hanlin.core.run.sources import fetch
from hanlin.core.text import sentencepiece as ours
from hanlin.core.text.tokenizer import StreamDecoder, Tokenizer, load_tokenizer

MISTRAL = (
    "pip:mistral-common==1.13.1!mistral_common/data/{}"
    "#sha256=98b4d0755b8d90bf4691fa8f1b70cb3b4a8cd4dc1653c4ed08ef3d1c7d2c29af"
)
OWN = ["<sep>", "台灣", "[INST]"]

CASES: dict[str, dict[str, Any]] = {
    "as Mistral's": {"model_type": "bpe", "normalization_rule_name": "identity", "remove_extra_whitespaces": False},
    "as Gemma's": {
        "model_type": "bpe",
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
        "add_dummy_prefix": False,
        "split_by_whitespace": False,
        "user_defined_symbols": ["<sep>", "台灣", "▁▁", "▁▁▁"],
    },
    "as XLM-R's": {"model_type": "unigram", "byte_fallback": False},
    "BPE and NFKC": {"model_type": "bpe", "user_defined_symbols": OWN, "control_symbols": ["<ctl>"], "pad_id": 3},
    "BPE, bytes off": {"model_type": "bpe", "byte_fallback": False, "normalization_rule_name": "nfkc"},
    "Unigram with its own tokens": {"model_type": "unigram", "user_defined_symbols": OWN, "control_symbols": ["<ctl>"]},
    "Unigram, case folded": {"model_type": "unigram", "normalization_rule_name": "nmt_nfkc_cf"},
}


@dataclass(frozen=True)
class Pair:
    path: Path
    theirs: Any
    mine: Tokenizer


def pair_of(path: Path) -> Pair:
    return Pair(path, sentencepiece.SentencePieceProcessor(model_file=str(path)), Tokenizer(*ours.read(path)))


@pytest.fixture(scope="module", params=CASES, ids=str)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return pair_of(train(tmp_path_factory.mktemp("spm"), **CASES[request.param]))


def compare(pair: Pair, lines: list[str]) -> list[str]:
    """Lines whose ids are the same pieces in another order: a Unigram's ties, decided by the last bit of float32 in
    the library and of float64 here. Anything else is a failure."""
    ties = []
    for line in lines:
        expected, found = pair.theirs.encode(line), pair.mine.encode(line)
        if expected != found:
            assert sorted(expected) == sorted(found), (line, pair.theirs.encode(line, out_type=str))
            ties.append(line)
        text = pair.theirs.decode(expected)
        assert "⁇" in text or pair.mine.decode(expected) == text, line
    return ties


def test_ids_and_texts_of_a_trained_model(pair: Pair) -> None:
    lines = [line for line in varied_lines(3000) + wild_lines(1000) if line.strip() not in OWN]
    ties = compare(pair, lines)
    assert len(ties) <= (0.01 * len(lines) if isinstance(pair.mine.backend.model, Unigram) else 0)


def test_nothing_but_a_users_own_token_has_no_space_in_front(tmp_path: Path) -> None:
    """The one known difference: the library writes ▁ before it, as before every text."""
    pair = pair_of(train(tmp_path, model_type="bpe", user_defined_symbols=OWN, normalization_rule_name="identity"))
    theirs, mine = pair.theirs, pair.mine
    space, *rest = theirs.encode("台灣")
    assert mine.encode("台灣") == rest and mine.encode("台灣台灣") == theirs.encode("台灣台灣")
    assert mine.backend.id_to_token(space) == "▁"


def test_settings_and_names(pair: Pair) -> None:
    theirs, mine = pair.theirs, pair.mine
    assert mine.vocab_size == theirs.get_piece_size()
    assert (mine.bos_id, mine.eos_id) == (theirs.bos_id(), theirs.eos_id())
    assert mine.pad_id == (theirs.pad_id() if theirs.pad_id() >= 0 else theirs.unk_id())
    for name in ("<s>", "</s>", "<unk>", "<0x41>", "請 <s>[INST] 好</s>"):
        assert mine.encode(name) == theirs.encode(name)


def test_saved_and_opened_again(pair: Pair, tmp_path: Path) -> None:
    first = pair.mine
    for folder in ("json", "model"):
        (tmp_path / folder).mkdir()
    first.save(tmp_path / "json")
    (tmp_path / "model" / "tokenizer.model").write_bytes(pair.path.read_bytes())
    for folder in ("json", "model"):
        again = load_tokenizer(tmp_path / folder)
        assert again.settings == first.settings
        assert all(again.encode(line) == first.encode(line) for line in varied_lines(300))


def test_added_tokens_follow_a_tokenizer_model(tmp_path: Path) -> None:
    """Phi-3 and others list them in tokenizer_config.json, which is believed only if the numbers come out right."""
    path = train(tmp_path, model_type="bpe", normalization_rule_name="identity")
    size = Tokenizer(*ours.read(path)).vocab_size
    path.rename(tmp_path / "tokenizer.model")
    token = {"content": "<|user|>", "special": True, "rstrip": True, "__type": "AddedToken"}
    for place in (size, size + 1):
        settings = {"eos_token": "<|user|>", "add_bos_token": True, "added_tokens_decoder": {str(place): token}}
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
        if place == size:
            tokenizer = load_tokenizer(tmp_path)
            assert tokenizer.eos_id == size and size in tokenizer.special_ids
            assert tokenizer.add_bos and tokenizer.document_id == tokenizer.id_of("<s>")
    with pytest.raises(HanlinError, match=f"would get the number {size}, tokenizer_config.json says {size + 1}"):
        load_tokenizer(tmp_path)


def test_streams(pair: Pair) -> None:
    """Pieces joined are what the backend decodes at once."""
    mine = pair.mine
    for line in varied_lines(500):
        ids, decoder = mine.encode(line), StreamDecoder(mine)
        assert "".join(map(decoder.push, ids)) + decoder.finish() == mine.backend.decode(ids)


@pytest.mark.network
@pytest.mark.parametrize("name", ["tokenizer.model.v1", "mistral_instruct_tokenizer_240323.model.v3"])
def test_mistrals_models(name: str) -> None:
    """32,000 and 32,768 pieces, BPE with byte fallback; 768 of a user's own in the second."""
    path = fetch(MISTRAL.format(name), lambda *_, **__: None).path
    assert compare(pair_of(path), varied_lines(5000) + wild_lines(2000)) == []


def mutated(data: bytes, seed: int) -> Iterator[bytes]:
    """Bytes changed, taken out, put in, cut off, for ever."""
    draw = random.Random(seed)
    while True:
        new = bytearray(data)
        for _ in range(draw.choice([1, 1, 2, 5, 20])):
            place, kind = draw.randrange(len(new)), draw.randrange(5)
            if kind < 2:
                new[place] = draw.randrange(256)
            elif kind == 2:
                del new[place : place + draw.randint(1, 50)]
            elif kind == 3:
                new[place:place] = draw.randbytes(draw.randint(1, 20))
            else:
                new = new[: place + 1]
            new = new or bytearray(b"\0")
        yield bytes(new)


def open_or_refuse(data: bytes) -> bool:
    """Whether it was opened; then it encodes and decodes. Whatever is not a HanlinError breaks the test."""
    try:
        model = ours.parse(data)
        tokenizer = Tokenizer(ours.backend_of(model), ours.settings_of(model))
    except HanlinError:
        return False
    tokenizer.decode(tokenizer.encode("台灣 ＡＢ e\u0301 <s> <unk> ﾊﾞ\r\n軟件"))
    return True


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_broken_files_are_refused(tmp_path: Path, kind: str) -> None:
    """2,000 of a small model, with a character map of three rules: mutations reach every part of it."""
    rules = tmp_path / "rules.tsv"
    rules.write_text("FF21\t41\nFF22\t42\n8EDF 4EF6\t8EDF 9AD4\n", encoding="utf-8")
    path = train(
        tmp_path,
        [line for line in LINES if line.isascii()],
        model_type=kind,
        vocab_size=200 if kind == "bpe" else 400,
        byte_fallback=kind == "unigram",
        normalization_rule_name="",
        normalization_rule_tsv=str(rules),
    )
    data = path.read_bytes()
    assert open_or_refuse(data)
    files = mutated(data, seed=11)
    opened = sum(open_or_refuse(next(files)) for _ in range(2_000))
    assert 0 < opened < 2_000


def test_broken_character_maps_are_refused(tmp_path: Path) -> None:
    """What passes can be walked by the library, which does not look where it steps."""
    path = train(tmp_path, model_type="unigram")
    model = ours.parse(path.read_bytes())
    files = mutated(model.charsmap, seed=5)
    for _ in range(30):
        model.charsmap = next(files)
        try:
            tokenizer = Tokenizer(ours.backend_of(model), {})
        except HanlinError:
            continue
        for line in varied_lines(320):
            tokenizer.encode(line)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model_type": "word", "byte_fallback": False}, "is a WORD or CHAR model"),
        ({"model_type": "char", "byte_fallback": False}, "is a WORD or CHAR model"),
        ({"model_type": "bpe", "treat_whitespace_as_suffix": True}, "puts spaces behind words"),
    ],
)
def test_what_is_not_here_is_refused_by_name(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    path = train(tmp_path, **options)
    with pytest.raises(HanlinError, match=message):
        ours.read(path)
