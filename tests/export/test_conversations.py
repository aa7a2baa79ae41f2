import json
from datetime import date

import msgspec
import pytest

from agent_gym_env.errors import DataError
from agent_gym_env.export.from_episodes import conversation_row
from agent_gym_env.lm.prompt import RULES, system_message
from tests.evaluation.episode_factory import FIND, call, episode, turn

TOOLS = json.dumps([{"type": "function", "function": {"name": FIND, "parameters": {}}}])


def test_a_row_holds_the_whole_dialogue_as_the_model_is_asked_about_it() -> None:
    played = episode(
        turn(0.5, user="Hi", made=[call(city="Lisbon")], says="One."),
        turn(None, user="More", says="No."),
        tools=TOOLS,
        policy="teacher",
    )
    row = msgspec.to_builtins(conversation_row(played))
    result = f'{{"name":"{FIND}","status":"success","results":[]}}'
    function = {"name": FIND, "arguments": {"city": "Lisbon"}}
    assert row == {
        "messages": [
            system_message(RULES, date(2019, 3, 1)),
            {"role": "user", "content": "Hi"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "call_0", "type": "function", "function": function}],
            },
            {"role": "tool", "tool_call_id": "call_0", "content": result},
            {"role": "assistant", "content": "One."},
            {"role": "user", "content": "More"},
            {"role": "assistant", "content": "No."},
        ],
        "tools": json.loads(TOOLS),
        "dialogue_id": "1_00000",
        "split": "test",
        "policy": "teacher",
        "reward": 0.5,
    }


def test_other_rules_make_another_system_message() -> None:
    row = conversation_row(episode(turn()), rules="Be brief on {today}.")
    assert row.messages[0]["content"] == "Be brief on Friday, 2019-03-01."


@pytest.mark.parametrize(
    ("rewards", "mean"), [([1.0, 0.0], 0.5), ([0.5, None], 0.5), ([None], None), ([0.0], 0.0)]
)
def test_the_mean_leaves_out_turns_without_a_reward(
    rewards: list[float | None], mean: float | None
) -> None:
    assert episode(*map(turn, rewards)).ranking_reward == mean


def test_an_inconsistent_episode_is_refused_with_its_dialogue() -> None:
    good = turn(made=[call()])
    first = msgspec.structs.replace(good.steps[0], tool_result="[]")
    broken = msgspec.structs.replace(good, steps=(first, *good.steps[1:]))
    with pytest.raises(DataError, match="dialogue 1_00000, turn 0"):
        conversation_row(episode(broken))
