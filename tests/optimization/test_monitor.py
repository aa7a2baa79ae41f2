from __future__ import annotations

import pytest

from agent_gym_env.corpus.task import Turn
from agent_gym_env.errors import (
    BudgetExceeded,
    CircuitOpenError,
    LMError,
    PermanentLMError,
    TransientLMError,
)
from agent_gym_env.lm.base import Request, Response
from agent_gym_env.lm.scripted import Reply, ScriptedLM
from agent_gym_env.optimization.monitor import (
    CallCounts,
    Meter,
    MeteredLM,
    MeteredReward,
    RunAborted,
)
from agent_gym_env.rewards.base import ClosedTurn
from agent_gym_env.rewards.ground_truth import GroundTruthReward
from agent_gym_env.rewards.judge import JudgeReward
from agent_gym_env.types import Usage

HELLO = Request([{"role": "user", "content": "Hello"}])
TURN = ClosedTurn("Hi", (), Turn("Hello", "Hi", "Cafes_1"), "2026-03-01")


def test_a_completion_is_counted_once_with_what_it_took() -> None:
    meter = Meter(1)
    replies: list[Reply] = [
        Response("a", usage=Usage(10, 2), cost_usd=0.5),
        Response("b", usage=Usage(), cost_usd=0.0, cached=True, attempts=0),
        Response("c"),
        TransientLMError("no"),
    ]
    lm = MeteredLM(ScriptedLM(replies), meter)
    outcomes = lm.complete_many([HELLO] * 4)
    assert isinstance(outcomes[3], TransientLMError)
    assert meter.counts == CallCounts(
        calls=4, cached=1, failed=1, prompt_tokens=10, completion_tokens=2, cost_usd=0.5,
        unpriced=1,
    )  # fmt: skip


def test_one_failure_too_many_breaks_the_run_off() -> None:
    lm = MeteredLM(ScriptedLM([TransientLMError("one"), PermanentLMError("two")]), Meter(1))
    with pytest.raises(TransientLMError):
        lm.complete(HELLO)
    with pytest.raises(RunAborted) as end:
        lm.complete(HELLO)
    assert str(end.value.__cause__) == "two"


@pytest.mark.parametrize("error", [BudgetExceeded, CircuitOpenError])
def test_when_nothing_more_is_answered_the_run_is_broken_off_at_once(error: type[LMError]) -> None:
    lm = MeteredLM(ScriptedLM([error("no more"), "late"]), Meter(1000))
    with pytest.raises(RunAborted):
        lm.complete(HELLO)
    with pytest.raises(RunAborted):
        lm.complete(HELLO)


def test_breaking_off_is_no_exception_that_an_optimiser_would_swallow() -> None:
    assert not issubclass(RunAborted, Exception)


def test_a_judge_without_a_budget_breaks_the_run_off() -> None:
    meter = Meter(1000)
    reward = MeteredReward(JudgeReward(ScriptedLM([BudgetExceeded("no more")])), meter)
    with pytest.raises(RunAborted):
        reward.score(TURN)
    with pytest.raises(RunAborted):
        meter.check()


def test_a_metered_reward_is_the_reward() -> None:
    reward = MeteredReward(GroundTruthReward(), Meter(0))
    assert (reward.name, reward.parts) == (GroundTruthReward.name, GroundTruthReward.parts)
    assert reward.score(TURN) == GroundTruthReward().score(TURN)
