"""The teacher's answers on disk are what the teacher says, at the right tokens, whenever the work was interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer as Backend
from toy import VOCAB, small_decoder

from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import silent
from hanlin.core.text.tokenizer import Tokenizer
from hanlin.core.train import teacher
from hanlin.core.train.batch import IGNORED
from hanlin.core.train.conversations import Conversations, Example
from hanlin.core.train.objectives.distil import Distil
from hanlin.core.train.packing import Packed
from hanlin.core.train.teacher import TopK, WithTeacher, refuse_other_vocabulary, write_topk

PAD = VOCAB - 1


def examples_of(lengths: list[int]) -> list[Example]:
    random = np.random.default_rng(0)
    made = []
    for number, length in enumerate(lengths):
        trained = random.random(length) < 0.5
        trained[1] = True
        made.append(Example(f"row-{number}", random.integers(0, PAD, length).tolist(), trained.tolist()))
    return made


EXAMPLES = examples_of([9, 20, 5, 2, 14, 30, 11])


@pytest.mark.parametrize(("k", "temperature"), [(1, 1.0), (6, 2.0), (VOCAB, 1.0)])
def test_what_is_kept_is_what_the_teacher_says(tmp_path: Path, k: int, temperature: float) -> None:
    model = small_decoder(5)
    write_topk(tmp_path, model, EXAMPLES, k, silent, temperature)
    store = TopK(tmp_path)
    assert (store.k, store.temperature) == (k, temperature)
    for number, example in enumerate(EXAMPLES):
        ids, logprobs, rest = store.rows(number)
        logits = model(torch.tensor([example.ids[:-1]]))[0][torch.tensor(example.trained[1:])]
        plain = (logits / temperature).log_softmax(-1).detach()
        assert ids.shape == logprobs.shape == (example.num_trained, k) and rest.shape == (example.num_trained,)
        assert torch.allclose(logprobs, plain.gather(-1, ids), rtol=1e-3, atol=1e-3)
        assert torch.allclose(logprobs.exp().sum(-1) + rest.exp(), torch.ones(len(ids)), atol=5e-3)
        assert (plain.gather(-1, ids).amin(-1) >= plain.topk(k).values.amin(-1) - 1e-5).all()


def test_an_interrupted_call_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was finished is not asked again, and the result is that of a call nobody disturbed."""
    monkeypatch.setattr(teacher, "EXAMPLES_AT_ONCE", 2)
    model, whole, cut = small_decoder(5), tmp_path / "whole", tmp_path / "cut"
    write_topk(whole, model, EXAMPLES, 4, silent)

    def interrupt(kind: str, **fields: Any) -> None:
        if fields["done"] == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_topk(cut, model, EXAMPLES, 4, interrupt)
    with pytest.raises(HanlinError, match="does not hold the teacher's answers"):
        TopK(cut)
    begun: list[int] = []
    write_topk(cut, model, EXAMPLES, 4, lambda kind, **fields: begun.append(fields["done"]))
    assert begun == [4, 6]
    for name in ("ids.npy", "logprobs.npy", "rest.npy", "index.json"):
        assert (cut / name).read_bytes() == (whole / name).read_bytes()
    begun.clear()
    write_topk(cut, model, EXAMPLES, 4, lambda kind, **fields: begun.append(fields["done"]))
    assert begun == []


def test_answers_to_other_questions_are_not_used(tmp_path: Path) -> None:
    model = small_decoder(5)
    write_topk(tmp_path, model, EXAMPLES, 4, silent)
    write_topk(tmp_path, model, EXAMPLES[::-1], 4, silent)
    store = TopK(tmp_path)
    assert [len(store.rows(number)[0]) for number in range(len(EXAMPLES))] == [
        example.num_trained for example in EXAMPLES[::-1]
    ]
    with pytest.raises(HanlinError, match=f"top_k is {VOCAB + 1}; the teacher knows {VOCAB} tokens"):
        write_topk(tmp_path, model, EXAMPLES, VOCAB + 1, silent)


def test_a_batch_carries_the_answers_at_its_trained_tokens(tmp_path: Path) -> None:
    """And a student that is the teacher has nothing to learn from them."""
    model = small_decoder(5)
    write_topk(tmp_path, model, EXAMPLES, VOCAB, silent)
    batches = Conversations(EXAMPLES, 3, 0, PAD)
    told = WithTeacher(batches, TopK(tmp_path))
    for step in range(5):
        batch, plain = told(step), batches(step)
        assert torch.equal(batch.ids_BT, plain.ids_BT) and batch.rows == plain.rows
        logprobs = model(batch.ids_BT).log_softmax(-1).detach()
        trained = batch.targets_BT != IGNORED
        kept = logprobs.gather(-1, batch.extras["teacher_ids"])
        assert torch.allclose(kept[trained], batch.extras["teacher_logprobs"][trained], atol=5e-3)
        assert float(Distil(share=1.0)(model, batch).detach()) == pytest.approx(0, abs=1e-2)
    assert told.describe(2) == "row-2" and told.longest() == batches.longest()


def test_packed_rows_carry_the_answers_to_each_of_their_examples(tmp_path: Path) -> None:
    write_topk(tmp_path, small_decoder(5), EXAMPLES, 3, silent)
    store, packed = TopK(tmp_path), Packed(EXAMPLES, 2, 0, PAD, 40)
    told = WithTeacher(packed, store, packed.examples_of)
    for step in range(2 * packed.batches_per_epoch):
        batch = told(step)
        for place, row in enumerate(batch.rows):
            found = batch.extras["teacher_ids"][place][batch.targets_BT[place] != IGNORED]
            wanted = [store.rows(example)[0] for example in packed.examples_of(row)]
            assert torch.equal(found, torch.cat(wanted))


def test_another_vocabulary_is_refused(tiny_tokenizer: Tokenizer) -> None:
    refuse_other_vocabulary(tiny_tokenizer, tiny_tokenizer)
    backend = Backend.from_str(tiny_tokenizer.backend.to_str().replace('"玉山"', '"玉米"'))
    larger = Backend.from_str(tiny_tokenizer.backend.to_str())
    larger.add_tokens(["新的詞"])
    refuse_other_vocabulary(Tokenizer(larger, tiny_tokenizer.settings), tiny_tokenizer)
    with pytest.raises(HanlinError, match="'新的詞' is 500 here and unknown there"):
        refuse_other_vocabulary(Tokenizer(backend, tiny_tokenizer.settings), Tokenizer(larger, {}))
