"""Masked language modelling: how many tokens are hidden, which never are, and what is put in their place."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from hanlin.core.model.encoder import Encoder
from hanlin.core.model.families import bert
from hanlin.core.train.batch import IGNORED, Batch
from hanlin.core.train.initialise import initialise
from hanlin.core.train.objectives.masked import Masked, Masking, mask_tokens

VOCAB, MASK = 60, 59
SPECIAL = [0, 1, 2, MASK]
ORDINARY = torch.ones(VOCAB, dtype=torch.bool)
ORDINARY[SPECIAL] = False

shares = st.floats(0.01, 0.9)
row_lengths = st.lists(st.integers(1, 40), min_size=1, max_size=5)


def random_rows(lengths: list[int], seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids, some of them special, padded with 0; which are real."""
    present = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    ids = torch.randint(VOCAB, present.shape, generator=torch.Generator().manual_seed(seed))
    return ids.masked_fill(~present, 0), present


@given(row_lengths, shares, st.integers(0, 999))
def test_exactly_the_share_of_ordinary_tokens_is_chosen(lengths: list[int], share: float, seed: int) -> None:
    ids, present = random_rows(lengths, seed)
    batch = mask_tokens(ids, present, Masking(MASK, ORDINARY, share), np.random.default_rng(seed), (7,) * len(lengths))
    chosen, choosable = batch.targets_BT != IGNORED, ORDINARY[ids] & present
    assert not (chosen & ~choosable).any()
    assert torch.equal(batch.targets_BT[chosen], ids[chosen])
    assert torch.equal(batch.ids_BT[~chosen], ids[~chosen])
    for row in range(len(lengths)):
        possible = int(choosable[row].sum())
        assert int(chosen[row].sum()) == min(possible, max(1, round(possible * share)))
    assert not torch.isin(batch.ids_BT[chosen], torch.tensor([0, 1, 2])).any()
    assert torch.equal(batch.extras["present"], present) and batch.rows == (7,) * len(lengths)


def test_eighty_ten_ten() -> None:
    """Of 60,000 chosen tokens: within four standard deviations."""
    ids = torch.randint(3, MASK, (400, 1000), generator=torch.Generator().manual_seed(0))
    batch = mask_tokens(ids, torch.ones_like(ids, dtype=torch.bool), Masking(MASK, ORDINARY), np.random.default_rng(0))
    chosen = batch.targets_BT != IGNORED
    seen, wanted = batch.ids_BT[chosen], batch.targets_BT[chosen]
    count = int(chosen.sum())
    assert count == 400 * 150
    others = (VOCAB - len(SPECIAL) - 1) / (VOCAB - len(SPECIAL))  # a random token may be the right one
    for found, expected in (
        (seen == MASK, 0.8),
        ((seen != MASK) & (seen != wanted), 0.1 * others),
        (seen == wanted, 0.2 - 0.1 * others),
    ):
        deviation = (expected * (1 - expected) / count) ** 0.5
        assert abs(float(found.float().mean()) - expected) < 4 * deviation
    replaced = seen[(seen != MASK) & (seen != wanted)]
    assert len(replaced.unique()) == int(ORDINARY.sum())  # every ordinary token, and no other
    places = chosen.float().mean(0)
    assert float(places.min()) > 0.07 and float(places.max()) < 0.23  # nowhere rarer or more often than elsewhere


def test_equal_numbers_hide_equal_tokens() -> None:
    ids, present = random_rows([30, 20], 0)
    one, same, other = (
        mask_tokens(ids, present, Masking(MASK, ORDINARY), np.random.Generator(np.random.Philox(key=[1, step])))
        for step in (4, 4, 5)
    )
    assert torch.equal(one.ids_BT, same.ids_BT) and torch.equal(one.targets_BT, same.targets_BT)
    assert not torch.equal(one.targets_BT, other.targets_BT)


def small_encoder() -> Encoder:
    model = bert.build(
        bert.new_config(vocab_size=VOCAB, width=32, num_layers=2, num_heads=2, hidden=48, max_positions=40, pad_id=0)
    )
    initialise(model, 0)
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.empty_like(parameter).normal_(0, 0.1, generator=random))
    return model


@torch.no_grad()
def test_the_loss_is_of_hidden_tokens_alone_and_padding_is_not_seen() -> None:
    model = small_encoder()
    ids, present = random_rows([33, 12], 2)
    batch = mask_tokens(ids, present, Masking(MASK, ORDINARY), np.random.default_rng(0))
    logits = model(batch.ids_BT, present).flatten(0, 1)
    plain = F.cross_entropy(logits, batch.targets_BT.flatten(), ignore_index=IGNORED, reduction="sum")
    assert torch.allclose(Masked()(model, batch), plain, rtol=1e-6)
    short = Batch(batch.ids_BT[1:, :12], batch.targets_BT[1:, :12], extras={"present": present[1:, :12]})
    first, second = batch.split(1)
    assert torch.allclose(Masked()(model, second), Masked()(model, short), rtol=1e-6)
    assert torch.allclose(Masked()(model, first) + Masked()(model, short), plain, rtol=1e-6)
