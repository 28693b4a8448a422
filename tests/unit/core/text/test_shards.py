"""Token shards: the corpus as ids, memory-mapped, kept when finished, refused for another corpus."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from samples import SENTENCES, varied_lines

from hanlin.core.run.artifact import Artifact
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import silent
from hanlin.core.text import shards as module
from hanlin.core.text.documents import Row, write_rows
from hanlin.core.text.shards import has_shards, open_shards, write_shards
from hanlin.core.text.tokenizer import Tokenizer

TEXTS = [line for line in varied_lines(80) if line.strip()]


@pytest.fixture
def corpus(tmp_path: Path) -> Artifact:
    folder = tmp_path / "corpus"
    folder.mkdir()
    write_rows(folder / "train.parquet", [Row(id=f"t{n}", text=text) for n, text in enumerate(TEXTS)])
    write_rows(folder / "heldout.parquet", [Row(id=f"h{n}", text=text) for n, text in enumerate(SENTENCES[:5])])
    return Artifact(folder, "corpus", "c" * 24)


def test_round_trip(tmp_path: Path, corpus: Artifact, tiny_tokenizer: Tokenizer) -> None:
    write_shards(corpus, tiny_tokenizer, tmp_path / "tokens", silent)
    documents = open_shards(tmp_path / "tokens", "train", corpus)
    assert len(documents) == len(TEXTS) and documents.names[3] == "t3"
    for ids, text in zip(documents, TEXTS, strict=True):
        assert ids[0] == tiny_tokenizer.document_id
        assert tiny_tokenizer.decode(ids[1:].tolist()) == text
        assert ids[1:].tolist() == tiny_tokenizer.encode(text)
    assert documents.num_tokens == sum(1 + len(tiny_tokenizer.encode(text)) for text in TEXTS)
    assert documents.characters == sum(map(len, TEXTS))
    assert len(open_shards(tmp_path / "tokens", "heldout", corpus)) == 5


def test_the_cut_into_shards_changes_nothing(
    tmp_path: Path, corpus: Artifact, tiny_tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_shards(corpus, tiny_tokenizer, tmp_path / "one", silent)
    monkeypatch.setattr(module, "SHARD_CHARACTERS", 100)
    monkeypatch.setattr(module, "BATCH_CHARACTERS", 30)
    write_shards(corpus, tiny_tokenizer, tmp_path / "many", silent)
    one, many = (open_shards(tmp_path / name, "train", corpus) for name in ("one", "many"))
    assert len(many.shards) > 5 and len(one.shards) == 1
    assert many.names == one.names and many.lengths == one.lengths
    for a, b in zip(one, many, strict=True):
        assert np.array_equal(a, b)


def test_memory_is_mapped_and_ids_are_small(tmp_path: Path, corpus: Artifact, tiny_tokenizer: Tokenizer) -> None:
    write_shards(corpus, tiny_tokenizer, tmp_path / "tokens", silent)
    documents = open_shards(tmp_path / "tokens", "train", corpus)
    assert all(isinstance(shard, np.memmap) and shard.dtype == np.uint16 for shard in documents.shards)
    assert all(isinstance(ids, np.memmap) for ids in documents)


def test_another_corpus_is_refused(tmp_path: Path, corpus: Artifact, tiny_tokenizer: Tokenizer) -> None:
    other = Artifact(corpus.path, "corpus", "d" * 24)
    write_shards(corpus, tiny_tokenizer, tmp_path / "tokens", silent)
    assert has_shards(tmp_path / "tokens", corpus) and not has_shards(tmp_path / "tokens", other)
    with pytest.raises(HanlinError, match="another corpus"):
        open_shards(tmp_path / "tokens", "train", other)
    with pytest.raises(HanlinError, match="no token shards"):
        open_shards(tmp_path / "nowhere", "train", corpus)
    assert not has_shards(tmp_path / "nowhere", corpus)


def test_finished_shards_are_kept_after_an_interruption(
    tmp_path: Path, corpus: Artifact, tiny_tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SHARD_CHARACTERS", 100)
    write_shards(corpus, tiny_tokenizer, tmp_path / "whole", silent)

    def interrupt(kind: str, **fields: object) -> None:
        if (tmp_path / "cut" / "train-00002.npy").exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shards(corpus, tiny_tokenizer, tmp_path / "cut", interrupt)
    assert not has_shards(tmp_path / "cut", corpus)
    kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "cut").iterdir()}
    (tmp_path / "cut" / "train-00003.npy").write_bytes(b"one file of the pair alone is not a shard")
    write_shards(corpus, tiny_tokenizer, tmp_path / "cut", silent)
    names = sorted(path.name for path in (tmp_path / "whole").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "cut").iterdir())
    for name in names:
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes(), name
    assert {name: (tmp_path / "cut" / name).stat().st_mtime_ns for name in kept} == kept


def test_an_empty_held_out_split(tmp_path: Path, corpus: Artifact, tiny_tokenizer: Tokenizer) -> None:
    write_rows(corpus.path / "heldout.parquet", [])
    write_shards(corpus, tiny_tokenizer, tmp_path / "tokens", silent)
    documents = open_shards(tmp_path / "tokens", "heldout", corpus)
    assert (len(documents), documents.num_tokens, documents.characters, list(documents)) == (0, 0, 0, [])
