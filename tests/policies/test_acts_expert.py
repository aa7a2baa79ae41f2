"""The acts expert says what the acts oracle would do, whoever has led the dialogue so far."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agent_gym_env.assembly import choose_dialogues, make_env, make_policy
from agent_gym_env.envs.sgd_sim import SGDSimEnv, unwrap_simulation
from agent_gym_env.policies.acts_expert import ActsExpert
from agent_gym_env.policies.base import Policy
from agent_gym_env.types import Action


@pytest.fixture(scope="module")
def env() -> SGDSimEnv:
    return unwrap_simulation(make_env(env="SGDSim-v0", split="train", reward="task_strict"))


def play(
    env: SGDSimEnv, policy: Policy, dialogue_id: str, *, turns: int
) -> Iterator[tuple[Action, Action]]:
    """Let a policy play some turns and the expert the others; yield advice and action."""
    expert = ActsExpert(env)
    observation, _ = env.reset(seed=0, options={"dialogue_id": dialogue_id})
    policy.reset(seed=0)
    over = False
    while not over:
        advice = expert.advise(observation)
        action = policy.act(observation) if env.simulation.turn < turns else advice
        yield advice, action
        observation, _, over, _, info = env.step(action)
        meaning = env.simulation.agent_turn if info["user_understood"] else None
        expert.note(env.simulation.last_action, meaning)


def test_in_the_oracles_own_dialogues_it_says_what_the_oracle_says(env: SGDSimEnv) -> None:
    oracle = make_policy("acts-oracle", env)
    for dialogue_id in choose_dialogues(env, 40, seed=0):
        for advice, action in play(env, oracle, dialogue_id, turns=100):
            assert (advice.text, advice.tool_calls) == (action.text, action.tool_calls)


@pytest.mark.parametrize("student", ["rule", "retrieval", "silent", "uniform"])
def test_it_takes_over_from_any_agent_and_solves_the_dialogue(env: SGDSimEnv, student: str) -> None:
    policy, dialogues = make_policy(student, env), choose_dialogues(env, 30, seed=1)
    solved = 0
    for dialogue_id in dialogues:
        for _ in play(env, policy, dialogue_id, turns=2):
            pass
        solved += env.simulation.verdict.strict
    # A few are lost by then: the agent has reported or booked what is wrong.
    assert solved >= 0.9 * len(dialogues)


def test_after_a_booking_that_nobody_asked_for_it_reports_the_booking(env: SGDSimEnv) -> None:
    """The agent books at once, without a question for the user's consent."""
    for dialogue_id in choose_dialogues(env, 40, seed=0):
        expert = ActsExpert(env)
        observation, _ = env.reset(seed=0, options={"dialogue_id": dialogue_id})
        over = False
        while not over:
            advice = expert.advise(observation)
            tool = expert.tool
            if tool is not None and advice.acts and advice.acts[0].act == "CONFIRM":
                call = {act.slot: act.value for act in advice.acts}
                observation, *_ = env.step({"tool_calls": [{"name": tool.name, "arguments": call}]})
                expert.note(env.simulation.last_action, None)
                if '"status":"success"' in observation["tool_result"]:
                    assert expert.advise(observation).acts[0].act == "NOTIFY_SUCCESS"
                    return
                break
            observation, _, over, _, info = env.step(advice)
            meaning = env.simulation.agent_turn if info["user_understood"] else None
            expert.note(env.simulation.last_action, meaning)
    pytest.fail("no dialogue with a booking was found")
