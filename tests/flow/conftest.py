"""Fixtures of the flows: the command line in this process, and one finished toy life cycle to read from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from toy import FINETUNE, PRETRAIN, TOKENIZE, command, write_conversations, write_texts

from hanlin.core.run.artifact import Artifact
from hanlin.workflow import make

__all__ = ["command"]


@dataclass(frozen=True)
class Life:
    """Finished toy artifacts. Tests read them and write elsewhere."""

    texts: Path
    talk: Path
    corpus: Artifact
    tokenizer: Artifact
    base: Artifact
    questions: Artifact
    chat: Artifact
    adapter: Artifact


@pytest.fixture(scope="session")
def life(tmp_path_factory: pytest.TempPathFactory) -> Life:
    folder = tmp_path_factory.mktemp("life")
    texts = write_texts(folder / "texts")
    talk = write_conversations(folder / "talk.jsonl")
    corpus = make("collect", {"sources": str(texts), "heldout_share": 0.2}, folder / "corpus")
    questions = make("collect", {"sources": str(talk), "heldout_share": 0.3}, folder / "questions")
    tokenizer = make("tokenize", {"corpus": str(corpus.path), **TOKENIZE}, folder / "tokenizer")
    made_of = {"corpus": str(corpus.path), "tokenizer": str(tokenizer.path)}
    base = make("pretrain", {**made_of, **PRETRAIN}, folder / "base")
    chat = make("finetune", {"model": str(base.path), "data": str(questions.path), **FINETUNE}, folder / "chat")
    tuned = {"model": str(base.path), "data": str(questions.path), "tune": "lora", **FINETUNE}
    adapter = make("finetune", tuned, folder / "adapter")
    return Life(texts, talk, corpus, tokenizer, base, questions, chat, adapter)
