"""A budget is never exceeded, whatever comes back and however many ask at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanlin.core.connect import Budget, Usage
from hanlin.core.connect.budget import BudgetError
from hanlin.core.run.errors import HanlinError

PRICES = {"m": {"input": 2.0, "output": 8.0, "cached": 0.5}}


def test_what_was_spent_is_counted_as_billed() -> None:
    budget = Budget(money=1.0, prices=PRICES)
    claim = budget.claim("m", 1000, 500)
    budget.settle(claim, Usage(1000, 100, cached_tokens=400), began=True)
    assert budget.spent.money == pytest.approx((600 * 2 + 400 * 0.5 + 100 * 8) / 1e6)
    assert str(budget) == "1 request, 1,000 + 100 tokens, 0.0022 spent, of 1.0000"


@given(
    st.integers(1, 3000),
    st.lists(st.tuples(st.integers(0, 500), st.integers(1, 500), st.floats(0, 1), st.booleans()), max_size=20),
)
def test_tokens_never_exceed_the_limit(limit: int, asked: list[tuple[int, int, float, bool]]) -> None:
    """A reply costs no more than was claimed for it; where nobody says how much, as much."""
    budget = Budget(tokens=limit)
    for read, written, share, is_known in asked:
        try:
            claim = budget.claim("m", read, written)
        except BudgetError:
            continue
        budget.settle(claim, Usage(read, int(written * share)) if is_known else None, began=True)
        assert budget.spent.input_tokens + budget.spent.output_tokens <= limit


def test_what_never_began_costs_nothing() -> None:
    budget = Budget(tokens=100)
    budget.settle(budget.claim("m", 50, 50), None, began=False)
    assert budget.spent.num_requests == 0
    budget.claim("m", 50, 50)


def test_claims_under_way_count() -> None:
    budget = Budget(tokens=100)
    budget.claim("m", 50, 50)
    with pytest.raises(BudgetError, match="101 of 100 tokens"):
        budget.claim("m", 1, 0)


def test_the_patient_wait_for_each_other() -> None:
    """Each claims 60 of 100 tokens and uses 10: together they fit, but not at once."""
    budget = Budget(tokens=100)

    def ask(_: int) -> None:
        budget.settle(budget.claim("m", 10, 50, patient=True), Usage(5, 5), began=True)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ask, range(4)))
    assert budget.spent.num_requests == 4


def test_it_has_to_be_possible_to_know() -> None:
    with pytest.raises(HanlinError, match="how long a reply may be"):
        Budget(tokens=100).claim("m", 1, None)
    with pytest.raises(HanlinError, match="n has no price"):
        Budget(money=1, prices=PRICES).claim("n", 1, 1)
