"""Conversations: replies and their stop tokens are trained, padding is not seen, nothing is read twice in an epoch."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from samples import CONVERSATIONS, assistant, system, user
from toy import VOCAB, small_decoder

from hanlin.core.run.errors import HanlinError
from hanlin.core.text.chat import CHATML
from hanlin.core.text.documents import Row
from hanlin.core.text.tokenizer import Tokenizer
from hanlin.core.train.batch import IGNORED
from hanlin.core.train.conversations import Conversations, Example, collate, prepare, reply_likelihood
from hanlin.core.train.objectives.causal import Causal

PAD = VOCAB - 1


def row(*turns: dict[str, str], name: str = "talk.jsonl:7") -> Row:
    return Row(id=name, messages=turns)


def example(length: int, trained_from: int, seed: int = 0) -> Example:
    random = torch.Generator().manual_seed(seed)
    ids = torch.randint(PAD, (length,), generator=random).tolist()
    return Example(f"row-{seed}", ids, [place >= trained_from for place in range(length)])


def test_exactly_the_replies_with_their_stop_tokens_are_targets(tiny_tokenizer: Tokenizer) -> None:
    rows = [Row(id=str(n), messages=tuple(c)) for n, c in enumerate(CONVERSATIONS) if c[-1]["role"] == "assistant"]
    for prepared, source in zip(prepare(rows, tiny_tokenizer, context=256).examples, rows):
        batch = collate([prepared], tiny_tokenizer.pad_id)
        replies = [message["content"].strip() for message in source.messages if message["role"] == "assistant"]
        trained = batch.targets_BT[batch.targets_BT != IGNORED].tolist()
        assert tiny_tokenizer.decode(trained, skip_special=False) == "".join(f"{text}<|im_end|>" for text in replies)
        assert trained.count(tiny_tokenizer.eos_id) == len(replies)


def test_a_target_is_the_next_token(tiny_tokenizer: Tokenizer) -> None:
    prepared = prepare([row(user("你好"), assistant("嗨"))], tiny_tokenizer, context=256).examples[0]
    batch = collate([prepared], tiny_tokenizer.pad_id)
    assert batch.ids_BT[0].tolist() == prepared.ids[:-1]
    for place, target in enumerate(batch.targets_BT[0].tolist()):
        assert target in (IGNORED, prepared.ids[place + 1])


@pytest.mark.parametrize(
    ("turns", "context", "cause"),
    [
        ((user("只有問題"),), 256, "no assistant message"),
        ((system("規則"), user("問")), 256, "no assistant message"),
        ((user("很長的問題" * 30), assistant("短")), 64, "fills the context"),
    ],
)
def test_a_row_without_a_trained_token_is_refused_by_name(
    tiny_tokenizer: Tokenizer, turns: tuple[dict[str, str], ...], context: int, cause: str
) -> None:
    good = row(user("好"), assistant("好"), name="talk.jsonl:1")
    with pytest.raises(HanlinError) as raised:
        prepare([good, row(*turns)], tiny_tokenizer, context)
    assert "talk.jsonl:7" in raised.value.what and cause in raised.value.what


def test_replies_the_template_cannot_train_are_counted(tiny_tokenizer: Tokenizer) -> None:
    """This one writes something else at the beginning as soon as there are more than `most` messages."""

    def prepared(most: int, *rows: Row) -> int:
        template = f"{{{{ messages | length > {most} }}}}{CHATML}"
        tokenizer = Tokenizer(tiny_tokenizer.backend, {**tiny_tokenizer.settings, "chat_template": template})
        return prepare(rows, tokenizer, 256).num_untrained_replies

    short = row(user("一"), assistant("二"))
    long = row(user("一"), assistant("二"), user("三"), assistant("四"))
    assert prepared(9, short, long) == 0
    assert prepared(2, short, long, long) == 2
    with pytest.raises(HanlinError, match=r"talk\.jsonl:7: no token .* rewrites what was before"):
        prepared(3, long)


def test_a_conversation_the_template_refuses_is_named(tiny_tokenizer: Tokenizer) -> None:
    settings = {**tiny_tokenizer.settings, "chat_template": "{{ raise_exception('不收') }}"}
    with pytest.raises(HanlinError, match=r"talk\.jsonl:7: The chat template fails: 不收"):
        prepare([row(user("一"), assistant("二"))], Tokenizer(tiny_tokenizer.backend, settings), 256)


def test_cut_rows_are_counted(tiny_tokenizer: Tokenizer) -> None:
    short, long = row(user("短"), assistant("好")), row(user("長"), assistant("很長的回答" * 40))
    whole = prepare([short, long], tiny_tokenizer, context=10_000)
    assert (whole.num_cut_rows, whole.num_cut_tokens) == (0, 0)
    context = 50
    cut = prepare([short, long], tiny_tokenizer, context)
    assert [len(e.ids) for e in cut.examples] == [len(whole.examples[0].ids), context + 1]
    assert cut.num_cut_rows == 1
    assert cut.num_cut_tokens == len(whole.examples[1].ids) - (context + 1)
    assert cut.examples[1].ids == whole.examples[1].ids[: context + 1]


@torch.no_grad()
def test_a_padded_batch_loses_what_its_rows_lose_alone() -> None:
    model = small_decoder()
    examples = [example(length, length // 2, seed) for seed, length in enumerate((4, 17, 9, 30))]
    together = collate(examples, PAD)
    whole = Causal()(model, together)
    alone = 0.0
    for single in examples:
        alone += float(Causal()(model, collate([single], PAD)))
    assert float(whole) == pytest.approx(alone, rel=1e-5)
    assert together.num_trained == sum(e.num_trained for e in examples)


@torch.no_grad()
def test_the_likelihood_of_replies_is_the_plain_sum() -> None:
    model = small_decoder()
    examples = [example(5 + 2 * seed, 2 + seed, seed) for seed in range(11)]
    nats, tokens = 0.0, 0
    for single in examples:
        log_p = model(torch.tensor([single.ids[:-1]]))[0].log_softmax(-1)
        for place in range(1, len(single.ids)):
            if single.trained[place]:
                nats -= float(log_p[place - 1, single.ids[place]])
                tokens += 1
    found = reply_likelihood(model, examples, PAD)
    assert found.tokens == tokens and found.nats == pytest.approx(nats, rel=1e-5)


@given(st.integers(1, 60), st.integers(1, 9), st.integers(0, 2**31), st.integers(0, 3))
def test_an_epoch_covers_every_row_once(num_rows: int, batch_rows: int, seed: int, epoch: int) -> None:
    examples = [example(3 + (seed + number) % 7, 1, number) for number in range(num_rows)]
    batches = Conversations(examples, batch_rows, seed, PAD)
    first = epoch * batches.batches_per_epoch
    read = [r for step in range(first, first + batches.batches_per_epoch) for r in batches(step).rows]
    assert sorted(read) == list(range(num_rows))


@given(st.integers(1, 30), st.integers(1, 5), st.integers(0, 100), st.integers(0, 40))
def test_a_step_is_a_pure_function_of_seed_and_step(num_rows: int, batch_rows: int, seed: int, step: int) -> None:
    examples = [example(4, 1, number) for number in range(num_rows)]
    one, other = (Conversations(examples, batch_rows, seed, PAD) for _ in range(2))
    one(step + 3)
    assert one(step).rows == other(step).rows
    assert torch.equal(one(step).ids_BT, other(step).ids_BT)
    assert [one.describe(r) for r in one(step).rows] == [examples[r].name for r in one(step).rows]


def test_rows_of_a_batch_are_of_similar_length() -> None:
    """Less padding than by chance."""
    examples = [example(3 + number % 28, 1, number) for number in range(112)]
    batches = Conversations(examples, 4, 0, PAD)
    wasted = sum(int((batches(step).ids_BT == PAD).sum()) for step in range(batches.batches_per_epoch))
    read = sum(batches(step).ids_BT.numel() for step in range(batches.batches_per_epoch))
    assert wasted / read < 0.12


def test_fewer_rows_than_a_batch() -> None:
    batches = Conversations([example(5, 1, 0), example(6, 1, 1)], 8, 0, PAD)
    assert batches.batches_per_epoch == 1 and sorted(batches(0).rows) == sorted(batches(5).rows) == [0, 1]
