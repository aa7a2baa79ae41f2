from __future__ import annotations

import threading

import pytest

from agent_gym_env.errors import BudgetExceeded
from agent_gym_env.lm.budget import Budget, Spent
from agent_gym_env.types import Usage


def test_without_limits_everything_is_counted_and_nothing_refused() -> None:
    budget = Budget()
    for _ in range(3):
        assert budget.reserve(10.0)
        budget.settle(10.0, Usage(5, 2), 0.5)
    assert budget.spent == Spent(calls=3, cost_usd=1.5, prompt_tokens=15, completion_tokens=6)


def test_what_others_have_reserved_may_come_free() -> None:
    budget = Budget(usd=1.0)
    assert budget.reserve(0.6)
    assert not budget.reserve(0.6)
    budget.settle(0.6, Usage(1, 1), 0.1)
    assert budget.reserve(0.6)


def test_what_is_spent_does_not_come_free() -> None:
    budget = Budget(usd=1.0)
    budget.reserve(0.6)
    budget.settle(0.6, Usage(1, 1), 0.6)
    with pytest.raises(BudgetExceeded, match=r"\$0\.6000 of the budget of \$1\.0000 is spent"):
        budget.reserve(0.6)


def test_a_request_without_an_answer_costs_a_call_and_nothing_else() -> None:
    budget = Budget(usd=1.0, calls=5)
    budget.reserve(0.6)
    budget.settle(0.6, None, None)
    assert budget.spent == Spent(calls=1)
    assert budget.reserve(1.0)


def test_an_answer_of_unknown_price_is_counted_as_such() -> None:
    budget = Budget()
    budget.reserve(0.0)
    budget.settle(0.0, Usage(3, 4), None)
    assert budget.spent == Spent(calls=1, unpriced_calls=1, prompt_tokens=3, completion_tokens=4)


def test_a_resumed_run_goes_on_counting() -> None:
    budget = Budget(calls=3, spent=Spent(calls=2, cost_usd=0.5))
    assert budget.reserve(0.0)
    with pytest.raises(BudgetExceeded):
        budget.reserve(0.0)


def test_a_budget_of_nothing_lets_nothing_through() -> None:
    for budget in (Budget(calls=0), Budget(usd=0.0)):
        with pytest.raises(BudgetExceeded):
            budget.reserve(0.0)


def test_a_negative_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="usd must not be negative"):
        Budget(usd=-1.0)
    with pytest.raises(ValueError, match="calls must not be negative"):
        Budget(calls=-1)


def test_threads_cannot_pass_a_limit_together() -> None:
    budget = Budget(calls=500)
    passed = []

    def spend() -> None:
        for _ in range(100):
            try:
                budget.reserve(0.0)
            except BudgetExceeded:
                return
            passed.append(1)

    threads = [threading.Thread(target=spend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(passed) == budget.spent.calls == 500
