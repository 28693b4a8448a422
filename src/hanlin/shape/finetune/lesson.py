"""What a fine-tuning step reads and what it is measured by: the conversations alone, or with a teacher's answers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from hanlin.core.model.cross_entropy import CrossEntropy
from hanlin.core.model.opening import open_model
from hanlin.core.run.artifact import Artifact
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import Emit
from hanlin.core.run.ranks import is_first
from hanlin.core.text.tokenizer import Tokenizer
from hanlin.core.train.batch import Batches
from hanlin.core.train.compiling import training_dtype
from hanlin.core.train.conversations import Conversations, Example
from hanlin.core.train.fit import Objective
from hanlin.core.train.objectives.causal import Causal
from hanlin.core.train.objectives.distil import Distil
from hanlin.core.train.packing import Packed
from hanlin.core.train.teacher import TopK, WithTeacher, refuse_other_vocabulary, write_topk
from hanlin.shape.finetune.config import Finetune


def conversations(
    config: Finetune, examples: Sequence[Example], tokenizer: Tokenizer, context: int
) -> Conversations | Packed:
    rows, seed = config.train.batch_rows, config.train.seed
    if config.pack:
        return Packed(examples, rows, seed, tokenizer.pad_id, context)
    return Conversations(examples, rows, seed, tokenizer.pad_id)


def objective_of(config: Finetune, has_teacher: bool) -> Objective:
    cross_entropy = CrossEntropy(config.train.label_smoothing, config.train.z_loss)
    if not has_teacher:
        return Causal(cross_entropy)
    distil = config.distil
    return Distil(distil.direction, distil.temperature, distil.share, cross_entropy)


def with_teacher(
    config: Finetune, teacher: Artifact, batches: Conversations | Packed, tokenizer: Tokenizer, folder: Path, emit: Emit
) -> Batches:
    """The teacher is asked once, by the first process; its answers lie in `folder` while the student reads them."""
    if is_first():
        asked = open_model(teacher.path, training_dtype(config.train.dtype))
        refuse_other_vocabulary(asked.tokenizer, tokenizer)
        write_topk(folder, asked.model, batches.examples, config.distil.top_k, emit, config.distil.temperature)
    examples_of = batches.examples_of if isinstance(batches, Packed) else None
    return WithTeacher(batches, _answers(folder), examples_of)


def _answers(folder: Path) -> TopK:
    """The other processes wait for them."""
    while not is_first():
        try:
            return TopK(folder)
        except (HanlinError, OSError, ValueError):
            time.sleep(0.5)
    return TopK(folder)
