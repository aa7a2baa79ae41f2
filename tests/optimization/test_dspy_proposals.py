"""A proposal that cannot be used costs that proposal; its answer is not used again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent_gym_env.optimization import OptimizationResult, OptimizationRunner
from tests.lm.server import Faults, LMServer, Raw
from tests.lm.wire_formats import ChatAnswer, ChatRequest, bill, write_answer
from tests.optimization.conftest import Client
from tests.optimization.pupil import CARE, Pupil

PROPOSING: dict[str, dict[str, Any]] = {
    "mipro": {"num_candidates": 3, "num_trials": 2, "minibatch": False},
    "gepa": {"max_metric_calls": 60},
    "simba": {"bsize": 8, "num_candidates": 3, "max_steps": 2, "max_demos": 0},
}
UNUSABLE = {
    "prose": "I would rather not.",
    "another object": '{"answer": 3}',
    "no object": "[1, 2",
    "a list": "[]",
    "empty fields": "[[ ## proposed_instruction ## ]]\n\n[[ ## new_instruction ## ]]\n\n",
}

Optimize = Callable[..., OptimizationResult]


def is_proposing(request: ChatRequest) -> bool:
    """Return whether a request is the optimiser's, not the agent's."""
    return "`tool_call`" not in request.messages[0]["content"].partition("All interactions")[0]


@pytest.fixture
def optimize(client: Client, tmp_path: Path) -> Optimize:
    """Makes the same small run, again and again."""

    def run(strategy: str, **options: Any) -> OptimizationResult:
        return OptimizationRunner(
            "sample", strategy, output_path=tmp_path / "agent.json", model=client(**options),
            num_train=12, num_validation=12, num_held_out=6, threads=1, max_errors=200,
            options=PROPOSING[strategy],
        ).run()  # fmt: skip

    return run


def answers_proposals_by(server: LMServer, pupil: Pupil, text: str) -> None:
    def agent(request: ChatRequest) -> str:
        if is_proposing(request):
            return text
        return pupil.answer(request.messages, request.body.get("temperature"))

    server.agent = agent


@pytest.mark.parametrize("text", UNUSABLE.values(), ids=UNUSABLE)
@pytest.mark.parametrize("strategy", PROPOSING)
def test_a_run_whose_every_proposal_is_unusable_comes_to_its_end(
    strategy: str, text: str, optimize: Optimize, server: LMServer, pupil: Pupil
) -> None:
    answers_proposals_by(server, pupil, text)
    result = optimize(strategy)
    assert CARE not in result.optimized_prompt
    assert any(map(is_proposing, server.requests))


@pytest.mark.parametrize("strategy", PROPOSING)
def test_an_answer_that_could_not_be_used_is_not_used_again(
    strategy: str, optimize: Optimize, server: LMServer, pupil: Pupil
) -> None:
    answers_proposals_by(server, pupil, UNUSABLE["prose"])
    optimize(strategy)
    server.exchanges.clear()
    server.agent = lambda request: pupil.answer(request.messages, request.body.get("temperature"))
    result = optimize(strategy)
    # Of the agent's answers all that are the same again come from the cache.
    assert any(map(is_proposing, server.requests))
    assert result.counts.cached > 0
    assert strategy == "simba" or CARE in result.optimized_prompt


@pytest.mark.parametrize("strategy", PROPOSING)
def test_what_could_be_used_is_used_again(
    strategy: str, optimize: Optimize, server: LMServer
) -> None:
    first = optimize(strategy)
    server.exchanges.clear()
    assert optimize(strategy).optimized_prompt == first.optimized_prompt
    assert server.exchanges == []


@pytest.mark.parametrize("strategy", PROPOSING)
def test_a_proposal_that_the_model_fails_at_costs_that_proposal(
    strategy: str, optimize: Optimize, server: LMServer, pupil: Pupil
) -> None:
    def answer(request: ChatRequest) -> Raw:
        if is_proposing(request):
            return Raw(404, b"no such model")
        said = ChatAnswer(pupil.answer(request.messages, request.body.get("temperature")))
        return Raw(200, write_answer(request, said, bill(request, said), 1))

    server.faults = Faults(rate=1.0, kinds=[answer])
    result = optimize(strategy)
    assert result.counts.failed > 0
    assert CARE not in result.optimized_prompt
