"""Packing: every example once, no row too long, hardly a row too many; and the loss is that of each example alone."""

from __future__ import annotations

import math
from functools import cache
from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import VOCAB, small_decoder

from hanlin.core.model.equality import difference
from hanlin.core.train.batch import IGNORED, Batch
from hanlin.core.train.conversations import Conversations, Example, collate
from hanlin.core.train.objectives.causal import Causal
from hanlin.core.train.packing import Packed, best_fit, pack, row_lengths, token_micro_batches

PAD = VOCAB - 1
CONTEXT = 32

capacities = st.integers(1, 60)
seeds = st.integers(0, 2**31)


def lengths_within(capacity: int, most: int = 40) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(1, capacity), min_size=1, max_size=most)


def example(length: int, seed: int) -> Example:
    """`length` tokens and one more, which is a target alone; the last is always trained."""
    random = torch.Generator().manual_seed(seed)
    ids = torch.randint(PAD, (length + 1,), generator=random).tolist()
    trained = (torch.rand(length + 1, generator=random) > 0.4).tolist()
    return Example(f"row-{seed}", ids, [*trained[:-1], True])


examples_lists = st.lists(st.integers(1, CONTEXT), min_size=1, max_size=30).map(
    lambda lengths: [example(length, number) for number, length in enumerate(lengths)]
)


@given(capacities.flatmap(lambda capacity: st.tuples(st.just(capacity), lengths_within(capacity))))
def test_every_length_stands_in_one_row_and_no_two_rows_could_be_one(case: tuple[int, list[int]]) -> None:
    capacity, lengths = case
    rows = best_fit(lengths, capacity)
    assert sorted(place for row in rows for place in row) == list(range(len(lengths)))
    sums = [sum(lengths[place] for place in row) for row in rows]
    assert max(sums) <= capacity
    assert all(one + other > capacity for one, other in combinations(sums, 2))
    assert rows == best_fit(lengths, capacity)
    assert sorted(sums) == sorted(plainly(lengths, capacity))


def plainly(lengths: list[int], capacity: int) -> list[int]:
    """The rows' sums, every row looked at for every length."""
    sums: list[int] = []
    for length in sorted(lengths, reverse=True):
        fitting = [row for row in range(len(sums)) if sums[row] + length <= capacity]
        if fitting:
            sums[max(fitting, key=lambda row: sums[row])] += length
        else:
            sums.append(length)
    return sums


@settings(max_examples=300)
@given(capacities.flatmap(lambda capacity: st.tuples(st.just(capacity), lengths_within(capacity, most=9))))
def test_hardly_more_rows_than_the_fewest_there_could_be(case: tuple[int, list[int]]) -> None:
    """The bound of best-fit decreasing, 11/9 · fewest + 4, and for so few that of first-fit decreasing, + 2/3."""
    capacity, lengths = case
    assert len(best_fit(lengths, capacity)) <= 11 / 9 * fewest_rows(tuple(lengths), capacity) + 2 / 3


def fewest_rows(lengths: tuple[int, ...], capacity: int) -> int:
    """By trying all: over the sets of lengths, (rows, tokens in the last row) at best."""

    @cache
    def best(chosen: int) -> tuple[int, int]:
        if not chosen:
            return 1, 0
        found = []
        for place, length in enumerate(lengths):
            if chosen >> place & 1:
                rows, filled = best(chosen & ~(1 << place))
                found.append((rows, filled + length) if filled + length <= capacity else (rows + 1, length))
        return min(found)

    return best((1 << len(lengths)) - 1)[0]


def test_many_lengths_fill_their_rows() -> None:
    """Drawn as texts' lengths are, more than 99 % of the space is used."""
    random = torch.Generator().manual_seed(0)
    lengths = torch.empty(20_000).log_normal_(5, 1, generator=random).long().clamp(1, 2048).tolist()
    assert sum(lengths) / 2048 / len(best_fit(lengths, 2048)) > 0.99


@pytest.mark.parametrize("length", [0, 9])
def test_what_fits_no_row_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match=f"{length} tokens do not fit a row of 8"):
        best_fit([3, length], 8)


@given(examples_lists, st.integers(1, 4), seeds, st.integers(0, 3))
def test_an_epoch_reads_every_example_once(
    examples: list[Example], batch_rows: int, seed: int, epochs_before: int
) -> None:
    batches = Packed(examples, batch_rows, seed, PAD, CONTEXT)
    step, read = 0, []
    while len(read) < (epochs_before + 1) * len(examples):
        batch = batches(step)
        assert 1 <= batch.ids_BT.shape[0] <= batch_rows and batch.ids_BT.shape[1] == batches.context <= CONTEXT
        for place, row in enumerate(batch.rows):
            names = batches.describe(row).split(" + ")
            assert names[:3] == [examples[number].name for number in batches.examples_of(row)][:3]
            read += batches.examples_of(row)
            assert_row_holds(batch, place, [examples[number] for number in batches.examples_of(row)])
        step += 1
        if step == batches.batches_per_epoch:
            assert len(read) == len(examples)
    for epoch in range(epochs_before + 1):
        assert sorted(read[epoch * len(examples) : (epoch + 1) * len(examples)]) == list(range(len(examples)))


def assert_row_holds(batch: Batch, row: int, examples: list[Example]) -> None:
    """Token by token: ids, targets and documents are those of the examples in their order, padding behind them."""
    expected = [
        (token, target if trained else IGNORED, number)
        for number, example in enumerate(examples)
        for token, target, trained in zip(example.ids, example.ids[1:], example.trained[1:])
    ]
    assert batch.documents_BT is not None
    found = list(zip(*(tensor[row].tolist() for tensor in (batch.ids_BT, batch.targets_BT, batch.documents_BT))))
    assert found == expected + [(PAD, IGNORED, -1)] * (len(found) - len(expected))


@given(examples_lists, st.integers(1, 4), seeds, st.lists(st.integers(0, 60), min_size=1, max_size=5))
def test_a_step_is_the_same_whatever_was_read_before(
    examples: list[Example], batch_rows: int, seed: int, steps: list[int]
) -> None:
    one, other = (Packed(examples, batch_rows, seed, PAD, CONTEXT) for _ in range(2))
    for step in steps:
        read = one(step)
    again = other(steps[-1])
    assert torch.equal(read.ids_BT, again.ids_BT) and read.rows == again.rows
    assert [one.describe(row) for row in read.rows] == [other.describe(row) for row in again.rows]


def test_epochs_and_seeds_pack_in_ways_of_their_own() -> None:
    examples = [example(3 + number % 20, number) for number in range(60)]
    first = [Packed(examples, 4, seed, PAD, CONTEXT)(0).ids_BT for seed in range(3)]
    batches = Packed(examples, 4, 0, PAD, CONTEXT)
    second = batches(batches.batches_per_epoch).ids_BT
    assert len({tuple(ids.flatten().tolist()) for ids in [*first, second]}) == 4


def test_pools_are_filled_by_themselves() -> None:
    """So many examples that an epoch has several pools."""
    examples = [example(1 + number * 7 % CONTEXT, number) for number in range(600)]
    batches = Packed(examples, 8, 0, PAD, CONTEXT)
    rows = [row for step in range(batches.batches_per_epoch) for row in batches(step).rows]
    assert sorted(number for row in rows for number in batches.examples_of(row)) == list(range(600))
    fewest = math.ceil(sum(len(e.ids) - 1 for e in examples) / CONTEXT)
    assert fewest <= len(rows) <= 1.05 * fewest


@given(examples_lists, st.integers(1, 4), seeds)
def test_the_longest_step_holds_the_longest_example(examples: list[Example], batch_rows: int, seed: int) -> None:
    packed, padded = Packed(examples, batch_rows, seed, PAD, CONTEXT), Conversations(examples, batch_rows, seed, PAD)

    def longest(step: int) -> int:
        return max(len(examples[number].ids) for row in packed(step).rows for number in packed.examples_of(row))

    most_rows = [step for step in range(packed.batches_per_epoch) if len(packed(step).rows) == len(packed(0).rows)]
    assert packed.longest() in most_rows
    assert longest(packed.longest()) == max(longest(step) for step in most_rows)
    sizes = [padded(step).ids_BT.numel() for step in range(padded.batches_per_epoch)]
    assert sizes[padded.longest()] == max(sizes)


def gradients(batches: list[Batch]) -> tuple[float, int, dict[str, torch.Tensor]]:
    """(loss, trained tokens, gradients), summed over the batches."""
    model, loss, trained = small_decoder(), 0.0, 0
    for batch in batches:
        total = Causal()(model, batch)
        total.backward()
        loss, trained = loss + float(total.detach()), trained + batch.num_trained
    return loss, trained, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def assert_same(ours: list[Batch], theirs: list[Batch]) -> None:
    (loss, trained, found), (expected_loss, expected_trained, expected) = gradients(ours), gradients(theirs)
    assert trained == expected_trained
    assert loss == pytest.approx(expected_loss, rel=1e-6)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert difference(found[name], gradient, sized=True) <= 1e-5, name


@settings(max_examples=300)
@given(examples_lists, st.integers(1, 4))
def test_a_packed_batch_loses_what_its_examples_lose_alone(examples: list[Example], batch_rows: int) -> None:
    packed = Packed(examples, batch_rows, 0, PAD, CONTEXT)
    epoch = [packed(step) for step in range(packed.batches_per_epoch)]
    assert sum(batch.num_trained for batch in epoch) == sum(e.num_trained for e in examples)
    assert_same(epoch, [collate([e], PAD) for e in examples])


@settings(max_examples=300)
@given(examples_lists, st.integers(1, 3), st.integers(2, 4))
def test_parts_and_shares_of_a_packed_batch_are_the_batch(examples: list[Example], at_once: int, world: int) -> None:
    """Split for accumulation and shared among processes, some of which get rows of nothing."""
    whole = Packed(examples, 5, 0, PAD, CONTEXT)(0)
    assert_same(whole.split(at_once), [whole])
    assert_same([micro for rank in range(world) for micro in whole.share(rank, world).split(at_once)], [whole])


@settings(max_examples=300)
@given(examples_lists, st.integers(1, 200), st.booleans())
def test_micro_batches_by_tokens_are_the_batch(examples: list[Example], most_tokens: int, packed: bool) -> None:
    numbers = tuple(range(len(examples)))
    whole = collate(examples, PAD, numbers)
    if packed:
        rows = best_fit([len(e.ids) - 1 for e in examples], CONTEXT)
        whole = pack([[examples[place] for place in row] for row in rows], CONTEXT + 3, PAD, tuple(range(len(rows))))
    micros = token_micro_batches(whole, most_tokens)
    assert sorted(row for micro in micros for row in micro.rows) == sorted(whole.rows)
    sizes = [micro.ids_BT.shape for micro in micros]
    assert all(size[0] == 1 or size.numel() <= most_tokens for size in sizes)
    assert [size[1] for size in sizes] == sorted((size[1] for size in sizes), reverse=True)
    for micro in micros:
        assert row_lengths(micro).max() == micro.ids_BT.shape[1], "nothing to trim is left"
    assert_same(micros, [whole])


@given(examples_lists, st.integers(1, 200), st.integers(2, 3))
def test_processes_that_share_micro_batches_have_equally_many(
    examples: list[Example], most_tokens: int, world: int
) -> None:
    whole = Packed(examples, 6, 0, PAD, CONTEXT)(0)
    micros = token_micro_batches(whole, most_tokens)
    shares = [[micro.share(rank, world) for micro in micros] for rank in range(world)]
    assert {tuple(tuple(part.ids_BT.shape) for part in share) for share in shares} == {
        tuple((-(-micro.ids_BT.shape[0] // world), micro.ids_BT.shape[1]) for micro in micros)
    }
    assert sum(part.num_trained for share in shares for part in share) == whole.num_trained


def test_what_objectives_read_besides_is_trimmed_with_the_rows() -> None:
    """What is as wide as the rows; of it, what something true or false says is there stays (an encoder's right side).
    Sources of their own width, and a number a row, stay whole."""
    present = torch.tensor([[1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]]).bool()
    targets = torch.full((3, 6), IGNORED)
    targets[0, 1], targets[1, 0] = 5, 7
    extras = {
        "present": present,
        "teacher": torch.arange(18.0).view(3, 6, 1).expand(3, 6, 4),
        "source": torch.arange(6).view(3, 2),
        "weight": torch.tensor([1.0, 2.0, 3.0]),
    }
    micros = token_micro_batches(Batch(torch.zeros(3, 6).long(), targets, (0, 1, 2), extras=extras), 4)
    assert [(micro.rows, *micro.ids_BT.shape) for micro in micros] == [((0,), 1, 4), ((1, 2), 2, 2)]
    for micro in micros:
        for name in ("present", "teacher"):
            assert torch.equal(micro.extras[name], extras[name][list(micro.rows), : micro.ids_BT.shape[1]])
        assert torch.equal(micro.extras["source"], extras["source"][list(micro.rows)])
        assert torch.equal(micro.extras["weight"], extras["weight"][list(micro.rows)])


def test_rows_without_a_target_keep_one_place() -> None:
    micros = token_micro_batches(Batch(torch.zeros(3, 6).long(), torch.full((3, 6), IGNORED), (0, 1, 2)), 2)
    assert [micro.ids_BT.shape for micro in micros] == [(2, 1), (1, 1)]
