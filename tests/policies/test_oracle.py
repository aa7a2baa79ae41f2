from pathlib import Path

import pytest

from agent_gym_env.envs.dialogue import SGDEnv
from agent_gym_env.policies.oracle import OraclePolicy
from agent_gym_env.types import Action, ToolCall


class Recording:
    def __init__(self, action: Action) -> None:
        self._action = action
        self.unwrapped = self

    def recorded_action(self) -> Action:
        return self._action


def observation(tool_result: str = "") -> dict[str, str]:
    return {"user": "", "tool_result": tool_result, "messages": "[]", "tools": "[]"}


def test_a_due_call_is_made_alone_and_the_reply_said_after_its_result() -> None:
    call = ToolCall("Teas_1-FindTea", {"kind": "green"})
    oracle = OraclePolicy(Recording(Action("Sencha.", (call,))))
    assert oracle.act(observation()) == Action(tool_calls=(call,))
    assert oracle.act(observation("[{}]")) == Action(text="Sencha.")


def test_without_a_due_call_the_reply_is_said_at_once() -> None:
    assert OraclePolicy(Recording(Action("Bye."))).act(observation()) == Action(text="Bye.")


def test_an_environment_that_knows_no_answer_is_refused() -> None:
    class Bare:
        unwrapped = object()

    with pytest.raises(TypeError, match="recorded_action"):
        OraclePolicy(Bare())


def test_it_earns_everything_on_a_whole_dialogue(tiny_corpus: Path) -> None:
    env = SGDEnv(tiny_corpus, reward="balanced")
    seen, _ = env.reset(options={"dialogue_id": "1_00000"})
    oracle, over, rewards = OraclePolicy(env), False, []
    while not over:
        seen, reward, over, _, _ = env.step(oracle.act(seen))
        rewards.append(reward)
    assert rewards == [0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 1.0]
