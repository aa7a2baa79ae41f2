"""Episodes as trajectories of Harbor's format."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from agent_gym_env.export.atif import trajectories, trajectory
from agent_gym_env.export.rows import Tally
from agent_gym_env.rollout.episode import Episode, StepRecord, TurnRecord
from agent_gym_env.types import Action, Completion, DialogueAct, ToolCall, Usage
from tests.evaluation.episode_factory import FIND, call, due, episode, turn

BY_A_MODEL = Completion("raw", "gemini/flash", Usage(30, 4), 0.25, 1.5, (1, 2))


def written(played: Episode) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(trajectory(played, "t-1")))
    return document


def modelled(completion: Completion) -> Episode:
    """An episode with a call and a reply in one step, by a model."""
    action = Action("It is free.", (ToolCall(FIND, {"n": 2}),), completion)
    step = StepRecord(action, '[{"name":"F","status":"success","results":[]}]', "unknown_tool")
    target = turn(due=due(FIND)).target
    scored = TurnRecord("A room?", (step,), target, 0.5, {"calls": None, "reply": 1.0}, "half")
    return episode(scored, system="Be brief.")


def test_each_step_says_who_spoke_and_the_agents_have_calls_and_results() -> None:
    steps = written(episode(turn(made=[call(city="Köln")], says="Two hotels.")))["steps"]
    assert [(step["step_id"], step["source"], step["message"]) for step in steps] == [
        (1, "user", "A room, please."),
        (2, "agent", ""),
        (3, "agent", "Two hotels."),
    ]
    (made,), (result,) = steps[1]["tool_calls"], steps[1]["observation"]["results"]
    assert made == {
        "tool_call_id": "call_0",
        "function_name": FIND,
        "arguments": {"city": "Köln"},
    }
    assert result["source_call_id"] == "call_0"
    assert json.loads(result["content"]) == {"name": FIND, "status": "success", "results": []}
    assert steps[2]["extra"] == {"reward": 1.0}


def test_a_models_tokens_cost_and_latency_are_metrics() -> None:
    document = written(modelled(BY_A_MODEL))
    system, _, agent = document["steps"]
    assert (system["source"], system["message"]) == ("system", "Be brief.")
    assert agent["model_name"] == document["agent"]["model_name"] == "gemini/flash"
    assert agent["metrics"] == {
        "prompt_tokens": 30,
        "completion_tokens": 4,
        "cost_usd": 0.25,
        "completion_token_ids": [1, 2],
        "extra": {"latency_s": 1.5},
    }
    assert agent["extra"] == {
        "action_error": "unknown_tool",
        "reward": 0.5,
        "components": {"calls": None, "reply": 1.0},
        "reason": "half",
    }
    totals = document["final_metrics"]
    assert totals.pop("extra")["reward"] == 0.5
    assert totals == {
        "total_steps": 3,
        "total_prompt_tokens": 30,
        "total_completion_tokens": 4,
        "total_cost_usd": 0.25,
    }


def test_an_unknown_price_is_no_cost_of_zero() -> None:
    totals = written(modelled(Completion("raw")))["final_metrics"]
    assert "total_cost_usd" not in totals


def test_acts_are_kept_where_nothing_was_said() -> None:
    silent = StepRecord(Action(acts=(DialogueAct("INFORM", "city", "Köln"),)))
    steps = written(episode(TurnRecord("Hi", (silent,), turn().target, 1.0)))["steps"]
    assert steps[-1]["extra"]["acts"] == [["INFORM", "city", "Köln"]]


def test_an_episode_without_turns_is_left_out_and_ids_are_unique() -> None:
    tally = Tally()
    same = episode(turn())
    found = list(trajectories([same, episode(error="Error: lost"), same], tally))
    assert [each.trajectory_id for each in found] == [
        "000000-test-1_00000",
        "000002-test-1_00000",
    ]
    assert tally.left_out == {"without turns": 1}
