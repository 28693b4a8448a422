"""What a step reads and is measured by: padded or packed, of the text alone or of a teacher as well."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from hanlin.core.model.opening import open_model
from hanlin.core.model.pretrained import save
from hanlin.core.run.artifact import Artifact
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import silent
from hanlin.core.text.tokenizer import Tokenizer
from hanlin.core.train import teacher as teacher_module
from hanlin.core.train.conversations import Conversations, Example
from hanlin.core.train.objectives.causal import Causal
from hanlin.core.train.objectives.distil import Distil
from hanlin.core.train.packing import Packed
from hanlin.shape.finetune.config import Finetune
from hanlin.shape.finetune.lesson import conversations, objective_of, with_teacher

CONTEXT = 40


@pytest.fixture
def examples(tiny_tokenizer: Tokenizer) -> list[Example]:
    random, made = np.random.default_rng(0), []
    for number, length in enumerate([9, 21, 5, 30, 12]):
        ids = random.integers(0, 400, length).tolist()
        made.append(Example(f"row-{number}", ids, [place >= length // 2 for place in range(length)]))
    return made


def options(**values: object) -> Finetune:
    return Finetune(**{"train": {"steps": 2, "batch_rows": 2, "dtype": "float32"}, "distil": {"top_k": 5}, **values})


def test_rows_are_conversations_or_hold_several(tiny_tokenizer: Tokenizer, examples: list[Example]) -> None:
    plain = conversations(options(), examples, tiny_tokenizer, CONTEXT)
    packed = conversations(options(pack=True), examples, tiny_tokenizer, CONTEXT)
    assert isinstance(plain, Conversations) and isinstance(packed, Packed)
    assert plain(0).documents_BT is None and packed(0).documents_BT is not None
    for batches in (plain, packed):
        steps = [batches(step) for step in range(batches.batches_per_epoch)]
        assert sum(batch.num_trained for batch in steps) == sum(example.num_trained for example in examples)
        assert batches.describe(0).startswith("row-") and 0 <= batches.longest() < batches.batches_per_epoch
    assert packed(0).ids_BT.shape == (2, CONTEXT)


def test_the_objective_takes_the_options() -> None:
    train = {"steps": 2, "label_smoothing": 0.1, "z_loss": 1e-4}
    plain = objective_of(options(train=train), has_teacher=False)
    assert isinstance(plain, Causal)
    assert (plain.cross_entropy.label_smoothing, plain.cross_entropy.z_loss) == (0.1, 1e-4)
    distil = {"direction": "reverse", "temperature": 2.0, "share": 0.75}
    taught = objective_of(options(train=train, distil=distil), has_teacher=True)
    assert isinstance(taught, Distil) and taught.cross_entropy == plain.cross_entropy
    assert (taught.direction, taught.temperature, taught.share) == ("reverse", 2.0, 0.75)


@pytest.mark.parametrize("pack", [False, True])
def test_each_trained_token_carries_the_teachers_answer(
    tmp_path: Path, tiny_model_folder: Path, tiny_tokenizer: Tokenizer, examples: list[Example], pack: bool
) -> None:
    """Of the student itself, all of whose tokens are kept: the same loss as without the rest, and no divergence."""
    config = options(pack=pack, distil={"top_k": 500, "share": 1.0})
    student, artifact = open_model(tiny_model_folder, torch.float32), Artifact(tiny_model_folder, "model", "m" * 24)
    plain = conversations(config, examples, tiny_tokenizer, CONTEXT)
    batches = with_teacher(config, artifact, plain, tiny_tokenizer, tmp_path / "teacher", silent)
    for step in range(plain.batches_per_epoch):
        batch = batches(step)
        assert torch.equal(batch.ids_BT, plain(step).ids_BT) and batch.extras["teacher_ids"].shape[-1] == 500
        divergence = objective_of(config, has_teacher=True)(student.model, batch)
        assert float(divergence.detach()) == pytest.approx(0, abs=1e-3 * batch.num_trained)


def test_a_teacher_with_another_vocabulary_is_refused(
    tmp_path: Path, tiny_model_folder: Path, tiny_tokenizer: Tokenizer, examples: list[Example]
) -> None:
    loaded = open_model(tiny_model_folder, torch.float32)
    backend = type(tiny_tokenizer.backend).from_str(tiny_tokenizer.backend.to_str())
    backend.add_tokens(["新詞"])
    student = Tokenizer(backend, tiny_tokenizer.settings)
    (tmp_path / "other").mkdir()
    save(tmp_path / "other", loaded.model, loaded.family, tiny_tokenizer)
    artifact = Artifact(tmp_path / "other", "model", "m" * 24)
    plain = conversations(options(), examples, student, CONTEXT)
    with pytest.raises(HanlinError, match="teacher's vocabulary is not the student's"):
        with_teacher(options(), artifact, plain, student, tmp_path / "teacher", silent)


def test_the_other_processes_read_what_the_first_one_asked(
    tmp_path: Path,
    tiny_model_folder: Path,
    tiny_tokenizer: Tokenizer,
    examples: list[Example],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They open no teacher, and wait until its answers are complete."""
    folder, config = tmp_path / "teacher", options()
    plain = conversations(config, examples, tiny_tokenizer, CONTEXT)
    waited: list[float] = []

    def first_finishes(seconds: float) -> None:
        waited.append(seconds)
        with monkeypatch.context() as first:
            first.setenv("RANK", "0")
            artifact = Artifact(tiny_model_folder, "model", "m" * 24)
            with_teacher(config, artifact, plain, tiny_tokenizer, folder, silent)

    monkeypatch.setattr("hanlin.shape.finetune.lesson.time.sleep", first_finishes)
    monkeypatch.setattr(teacher_module, "EXAMPLES_AT_ONCE", 2)
    monkeypatch.setenv("RANK", "1")
    nowhere = Artifact(tmp_path / "nowhere", "model", "m" * 24)
    batches = with_teacher(config, nowhere, plain, tiny_tokenizer, folder, silent)
    assert len(waited) == 1 and batches(0).extras["teacher_ids"].shape[-1] == 5
