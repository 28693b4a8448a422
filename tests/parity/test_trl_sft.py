"""SFT equals TRL's SFTTrainer on the same ids: the labels its own collator makes, the loss its own model code computes,
and an optimizer step of eight rows computed one at a time or all at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from reference import ours_of
from samples import CONVERSATIONS
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging
from trl import SFTConfig, SFTTrainer

from hanlin.core.model.pretrained import load
from hanlin.core.run.events import silent
from hanlin.core.text.chat import CHATML
from hanlin.core.text.documents import Row
from hanlin.core.text.tokenizer import Tokenizer
from hanlin.core.train.batch import Batch
from hanlin.core.train.config import Train
from hanlin.core.train.conversations import Conversations, collate, prepare
from hanlin.core.train.fit import fit
from hanlin.core.train.objectives.causal import Causal

logging.disable_progress_bar()

pytestmark = [
    # TRL turns checkpointing on under the name that its transformers has just retired.
    pytest.mark.filterwarnings("ignore:`gradient_checkpointing` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:`loss_type='chunked_nll'` is deprecated:FutureWarning"),
]

CONTEXT = 256
RATE = 0.01

# The tiny model's own template, with the marks by which TRL knows a reply.
TURN = "{{ message.content | trim }}<|im_end|>"
REPLY = "{% if message.role == 'assistant' %}{% generation %}" + TURN + "{% endgeneration %}{% else %}" + TURN
MARKED = CHATML.replace(TURN, REPLY + "{% endif %}{{ '' }}")  # after a bare {% endif %} Jinja drops the line end
# One in which a turn ends with its stop token.
TIGHT = (
    "{%- for message in messages -%}{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' }}"
    "{%- endfor -%}{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\n' }}{%- endif -%}"
)


def conversations() -> list[list[dict[str, str]]]:
    """Eight that end in a reply, of uneven lengths: three with several replies, five with one."""
    texts = [c for c in CONVERSATIONS if c[-1]["role"] == "assistant" and all(set(m) == {"role", "content"} for m in c)]
    several = [talk for talk in texts if num_replies(talk) > 1]
    return several[:3] + [talk for talk in texts if num_replies(talk) == 1][: 8 - len(several[:3])]


def num_replies(talk: list[dict[str, str]]) -> int:
    return sum(message["role"] == "assistant" for message in talk)


def batch_of(tokenizer: Tokenizer, talks: Sequence[list[dict[str, str]]]) -> Batch:
    rows = [Row(id=str(place), messages=tuple(talk)) for place, talk in enumerate(talks)]
    return collate(prepare(rows, tokenizer, CONTEXT).examples, tokenizer.pad_id)


def trainer_of(folder: Path, out: Path, rows: list[dict[str, Any]], template: str, **options: Any) -> SFTTrainer:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = template
    settings = SFTConfig(
        output_dir=str(out),
        use_cpu=True,
        bf16=False,
        max_length=CONTEXT + 1,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        **options,
    )
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return SFTTrainer(model, args=settings, train_dataset=Dataset.from_list(rows), processing_class=tokenizer)


def collated(trainer: SFTTrainer) -> dict[str, torch.Tensor]:
    return trainer.data_collator([trainer.train_dataset[place] for place in range(len(trainer.train_dataset))])


def assert_equal_labels(batch: dict[str, torch.Tensor], ours: Batch) -> None:
    """Their labels stand at the token itself, our targets at the one before it."""
    real_BT = batch["attention_mask"][:, 1:].bool()
    assert torch.equal(batch["labels"][:, 1:], ours.targets_BT)
    assert torch.equal(batch["input_ids"][:, :-1][real_BT], ours.ids_BT[real_BT])
    assert 0 < ours.num_trained < real_BT.sum()


def test_labels_of_assistant_only_loss(tmp_path: Path, tiny_model_folder: Path, tiny_tokenizer: Tokenizer) -> None:
    """Every reply of a conversation with its stop token, nothing else."""
    talks = conversations()
    rows = [{"messages": talk} for talk in talks]
    trainer = trainer_of(tiny_model_folder, tmp_path, rows, MARKED, assistant_only_loss=True)
    assert_equal_labels(collated(trainer), batch_of(tiny_tokenizer, talks))


def asked_and_answered(talks: Sequence[list[dict[str, str]]]) -> list[dict[str, Any]]:
    return [{"prompt": talk[:-1], "completion": talk[-1:]} for talk in talks]


def test_labels_of_completions(tmp_path: Path, tiny_model_folder: Path, tiny_tokenizer: Tokenizer) -> None:
    """Questions with one reply. TRL trains whatever the template writes after the reply; we train through the stop
    token, so under ChatML the line end behind it is theirs alone."""
    talks = [talk for talk in conversations() if num_replies(talk) == 1]
    tight = Tokenizer(tiny_tokenizer.backend, {**tiny_tokenizer.settings, "chat_template": TIGHT})
    trainer = trainer_of(tiny_model_folder, tmp_path, asked_and_answered(talks), TIGHT)
    assert_equal_labels(collated(trainer), batch_of(tight, talks))

    assert tiny_tokenizer.chat_template is not None
    chatml = trainer_of(tiny_model_folder, tmp_path, asked_and_answered(talks), tiny_tokenizer.chat_template)
    batch, ours = collated(chatml), batch_of(tiny_tokenizer, talks)
    differ_BT = batch["labels"][:, 1:] != ours.targets_BT
    line_end = tiny_tokenizer.encode("\n")
    assert differ_BT.sum(1).tolist() == [1] * len(talks)
    assert set(batch["labels"][:, 1:][differ_BT].tolist()) == set(line_end)
    assert (ours.ids_BT[differ_BT] == tiny_tokenizer.eos_id).all()


@pytest.mark.parametrize("loss_type", ["nll", "chunked_nll"])
def test_loss_of_a_batch(tmp_path: Path, tiny_model_folder: Path, tiny_tokenizer: Tokenizer, loss_type: str) -> None:
    """TRL's loss, whose logits are made in chunks, and the plain one that transformers computes from whole logits."""
    talks = conversations()
    rows = [{"messages": talk} for talk in talks]
    options = {"assistant_only_loss": True, "loss_type": loss_type, "gradient_checkpointing": False}
    trainer = trainer_of(tiny_model_folder, tmp_path, rows, MARKED, **options)
    batch, ours = collated(trainer), batch_of(tiny_tokenizer, talks)
    model = load(tiny_model_folder).model
    with torch.no_grad():
        found = Causal()(model, ours)
        theirs = trainer.compute_loss(trainer.model, dict(batch))
        shared = trainer.compute_loss(trainer.model, dict(batch), num_items_in_batch=2 * ours.num_trained)
        plain = trainer.model(**batch).loss
    torch.testing.assert_close(found / ours.num_trained, theirs, rtol=1e-6, atol=0)
    torch.testing.assert_close(found / ours.num_trained, plain, rtol=1e-6, atol=0)
    torch.testing.assert_close(found / (2 * ours.num_trained), shared, rtol=1e-6, atol=0)


@pytest.mark.parametrize("micro_rows", [1, 8])
def test_accumulated_step(tmp_path: Path, tiny_model_folder: Path, tiny_tokenizer: Tokenizer, micro_rows: int) -> None:
    """One step of gradient descent on eight uneven rows: 8 × 1 and 1 × 8 here, 8 × 1 there, the same weights."""
    talks = conversations()
    rows = [{"messages": talk} for talk in talks]
    trainer = trainer_of(
        tiny_model_folder,
        tmp_path,
        rows,
        MARKED,
        assistant_only_loss=True,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=8,
        max_steps=1,
        optim="sgd",
        learning_rate=RATE,
        lr_scheduler_type="constant",
        max_grad_norm=0.0,
        logging_steps=1,
        gradient_checkpointing=False,
    )
    theirs_loss = trainer.train().training_loss

    prepared = prepare([Row(id=str(n), messages=tuple(t)) for n, t in enumerate(talks)], tiny_tokenizer, CONTEXT)
    config = Train(
        steps=1,
        batch_rows=8,
        micro_rows=micro_rows,
        optimizer="sgd",
        matrix_rate=RATE,
        embedding_rate=RATE,
        schedule="constant",
        dtype="float32",
        compile="off",
    )
    model = load(tiny_model_folder).model.train()
    fitted = fit(model, Conversations(prepared.examples, 8, 0, tiny_tokenizer.pad_id), config, silent, tmp_path)
    assert fitted.loss == pytest.approx(theirs_loss, rel=1e-6)
    theirs, before = dict(ours_of(trainer.model)[0].named_parameters()), load(tiny_model_folder).model.state_dict()
    for name, parameter in model.named_parameters():
        assert not torch.equal(parameter, before[name]), name
        torch.testing.assert_close(
            parameter, theirs[name], rtol=1e-6, atol=1e-7, msg=lambda m, name=name: f"{name}: {m}"
        )
