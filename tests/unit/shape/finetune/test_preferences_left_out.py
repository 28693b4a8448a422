"""Preference rows have messages too, but no reply among them: supervised fine-tuning leaves them out, and says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from samples import assistant, user

from hanlin.core.run.artifact import Artifact
from hanlin.core.run.errors import HanlinError
from hanlin.core.text.documents import Row, write_rows
from hanlin.shape.finetune import sft

CHAT = Row("c", messages=(user("問"), assistant("答")))
PAIR = Row("p", messages=(user("問"),), chosen=(assistant("好"),), rejected=(assistant("壞"),))
JUDGED = Row("j", messages=(user("問"),), chosen=(assistant("好"),))


def test_conversations_alone_are_trained_on(tmp_path: Path) -> None:
    corpus = Artifact(path=tmp_path, kind="corpus", id="0" * 64)
    write_rows(tmp_path / "train.parquet", [PAIR, CHAT, JUDGED])
    assert [row.id for row in sft._conversations(corpus, "train")] == ["c"]
    with pytest.raises(HanlinError, match="has no conversations") as caught:
        sft._refuse_empty([], corpus)
    assert "preferences are none" in caught.value.expected
