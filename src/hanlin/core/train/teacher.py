"""What a larger model says of each trained token, kept on disk: asked once, however often the student reads it.

    teacher/  index.json  ids.npy  logprobs.npy  rest.npy

A row for each trained token of each example, in order: ids (n, k) int32 and log-probabilities (n, k) float16 of the k
likeliest tokens, and (n,) float16 that of all others together. Memory-mapped, written example by example.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hanlin.core.run.artifact import write_json
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import Emit
from hanlin.core.text.tokenizer import Tokenizer
from hanlin.core.train.batch import IGNORED, Batch, Batches
from hanlin.core.train.conversations import Example

INDEX_FILE = "index.json"
ARRAYS = ("ids", "logprobs", "rest")
EXAMPLES_AT_ONCE = 32
"""Between two notes in the index of how far the work is."""
LOGITS_AT_ONCE = 2**24


def refuse_other_vocabulary(teacher: Tokenizer, student: Tokenizer) -> None:
    """Raises HanlinError where an id does not mean the same token to both."""
    theirs, ours = (side.backend.get_vocab(with_added_tokens=True) for side in (teacher, student))
    different = next((token for token, number in ours.items() if theirs.get(token) != number), None)
    if different is not None:
        raise HanlinError(
            f"The teacher's vocabulary is not the student's: {different!r} is {ours[different]} here and "
            f"{theirs.get(different, 'unknown')} there.",
            "a teacher with the same tokenizer.json",
            "name a larger model of the same family",
            "src/hanlin/shape/finetune/README.md",
        )


def write_topk(
    folder: Path, teacher: Any, examples: Sequence[Example], k: int, emit: Emit, temperature: float = 1.0
) -> None:
    """Ask `teacher`, a decoder, about every trained token. What an interrupted call has finished is kept.

    temperature: of its softmax. Raises HanlinError when k exceeds its vocabulary.
    """
    if k > teacher.vocab_size:
        raise HanlinError(
            f"top_k is {k}; the teacher knows {teacher.vocab_size} tokens.",
            f"at most {teacher.vocab_size}",
            "a smaller distil.top_k",
            "src/hanlin/shape/finetune/README.md",
        )
    key = {"k": k, "temperature": temperature, "examples": _fingerprint(examples)}
    folder.mkdir(parents=True, exist_ok=True)
    starts = _starts(examples)
    arrays, done = _resume(folder, key, starts[-1])
    for first in range(done, len(examples), EXAMPLES_AT_ONCE):
        emit("progress", what="the teacher's answers", done=first, total=len(examples))
        last = min(first + EXAMPLES_AT_ONCE, len(examples))
        for number in range(first, last):
            answers = _ask(teacher, examples[number], k, temperature)
            for array, answer in zip(arrays, answers):
                array[starts[number] : starts[number + 1]] = answer
        for array in arrays:
            array.flush()
        write_json(folder / INDEX_FILE, {**key, "starts": starts, "done": last})


def _fingerprint(examples: Sequence[Example]) -> str:
    hashed = hashlib.sha256()
    for example in examples:
        hashed.update(np.asarray(example.ids, dtype=np.int64).tobytes())
        hashed.update(np.asarray(example.trained, dtype=bool).tobytes())
    return hashed.hexdigest()


def _starts(examples: Sequence[Example]) -> list[int]:
    """The first row of each example, and the number of all rows."""
    return [0, *np.cumsum([example.num_trained for example in examples]).tolist()]


def _resume(folder: Path, key: dict[str, Any], num_rows: int) -> tuple[list[np.memmap], int]:
    """(arrays to write to, examples done): those of a call that was interrupted, or new ones."""
    index = _read_index(folder)
    if index and all(index[name] == value for name, value in key.items()):
        return [np.load(folder / f"{name}.npy", mmap_mode="r+") for name in ARRAYS], index["done"]
    (folder / INDEX_FILE).unlink(missing_ok=True)
    shapes = {"ids": (num_rows, key["k"]), "logprobs": (num_rows, key["k"]), "rest": (num_rows,)}
    kinds = {"ids": np.int32, "logprobs": np.float16, "rest": np.float16}
    return [
        np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=kinds[name], shape=shapes[name])
        for name in ARRAYS
    ], 0


def _read_index(folder: Path) -> dict[str, Any]:
    path = folder / INDEX_FILE
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


@torch.inference_mode()
def _ask(teacher: Any, example: Example, k: int, temperature: float) -> list[np.ndarray]:
    """(ids, log-probabilities, rest) of the example's trained tokens."""
    device = teacher.embed_tokens.weight.device
    trained_T = torch.tensor(example.trained[1:], device=device)
    states_NC = teacher.states(torch.tensor([example.ids[:-1]], device=device))[0][trained_T]
    parts = []
    for chunk in states_NC.split(max(1, LOGITS_AT_ONCE // teacher.vocab_size)):
        logprobs_NV = (teacher.head(chunk).float() / temperature).log_softmax(-1)
        kept = logprobs_NV.topk(k, dim=-1)
        rest_N = logprobs_NV.scatter(-1, kept.indices, -torch.inf).logsumexp(-1)
        parts.append((kept.indices.int(), kept.values.half(), rest_N.half()))
    return [torch.cat(pieces).cpu().numpy() for pieces in zip(*parts)]


class TopK:
    """A finished folder. Raises HanlinError for one that is not."""

    def __init__(self, folder: Path):
        index = _read_index(folder)
        if not index or index["done"] + 1 != len(index["starts"]):
            raise HanlinError(
                f"{folder} does not hold the teacher's answers to all examples.",
                f"a finished {INDEX_FILE}",
                "run the same command again: it goes on where it stopped",
                "src/hanlin/shape/finetune/README.md",
            )
        self.k, self.temperature, self.starts = index["k"], index["temperature"], index["starts"]
        self.arrays = [np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS]

    def rows(self, example: int) -> list[torch.Tensor]:
        """ids (n, k) int64, log-probabilities (n, k) and rest (n,) float32 of the example's trained tokens."""
        part = slice(self.starts[example], self.starts[example + 1])
        ids, logprobs, rest = (torch.from_numpy(np.array(array[part])) for array in self.arrays)
        return [ids.long(), logprobs.float(), rest.float()]


class WithTeacher:
    """Batches whose trained tokens carry what the teacher says of them: `teacher_ids`, `teacher_logprobs` (B, T, k) and
    `teacher_rest` (B, T).

    examples_of: the examples a row is made of, in their order (`Packed.examples_of`); None where a row is the example
    of its own number.
    """

    def __init__(self, batches: Batches, store: TopK, examples_of: Callable[[int], Sequence[int]] | None = None):
        self.batches, self.store = batches, store
        self.examples_of = examples_of or (lambda row: [row])

    def __call__(self, step: int) -> Batch:
        batch = self.batches(step)
        trained_BT = batch.targets_BT != IGNORED
        told = [self.store.rows(example) for row in batch.rows for example in self.examples_of(row)]
        shape = (*trained_BT.shape, self.store.k)
        extras = {
            "teacher_ids": torch.zeros(shape, dtype=torch.int64),
            "teacher_logprobs": torch.zeros(shape),
            "teacher_rest": torch.zeros(trained_BT.shape),
        }
        for tensor, parts in zip(extras.values(), zip(*told)):
            tensor[trained_BT] = torch.cat(parts)
        return Batch(batch.ids_BT, batch.targets_BT, batch.rows, batch.documents_BT, {**batch.extras, **extras})

    def describe(self, row: int) -> str:
        return self.batches.describe(row)

    def longest(self) -> int:
        return self.batches.longest()
