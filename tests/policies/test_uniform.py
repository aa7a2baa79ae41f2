import json
from typing import Any

import pytest

from agent_gym_env.policies.uniform import UniformPolicy
from agent_gym_env.types import Action

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "Teas_1-FindTea",
            "parameters": {
                "properties": {
                    "kind": {"enum": ["green", "black"]},
                    "origin": {},
                },
                "required": ["kind"],
            },
        },
    }
]
MESSAGES = [
    {"role": "user", "content": "green tea from Uji"},
    {"role": "assistant", "content": None, "tool_calls": []},
    {"role": "assistant", "content": "Certainly"},
]


def observation(tools: list[object] | None = None) -> dict[str, str]:
    offered = TOOLS if tools is None else tools
    return {
        "user": "",
        "tool_result": "",
        "messages": json.dumps(MESSAGES),
        "tools": json.dumps(offered),
    }


def draw(count: int, **options: Any) -> list[Action]:
    policy = UniformPolicy(**options)
    policy.reset(seed=5)
    return [policy.act(observation()) for _ in range(count)]


def test_the_same_seed_draws_the_same_actions() -> None:
    assert draw(50) == draw(50)


def test_another_seed_draws_others() -> None:
    policy = UniformPolicy(seed=1)
    first = [policy.act(observation()) for _ in range(20)]
    policy.reset(seed=2)
    assert [policy.act(observation()) for _ in range(20)] != first


def test_without_a_seed_reset_goes_on_drawing() -> None:
    policy = UniformPolicy(seed=1)
    first = [policy.act(observation()) for _ in range(20)]
    policy.reset()
    assert [policy.act(observation()) for _ in range(20)] != first


def test_it_calls_as_often_as_it_is_told() -> None:
    calls = sum(bool(action.tool_calls) for action in draw(2000, call_probability=0.25))
    assert 420 < calls < 580  # 500, with five standard deviations on either side


def test_calls_have_required_arguments_with_listed_values_and_no_text() -> None:
    calls = [action.tool_calls[0] for action in draw(200, call_probability=1.0)]
    assert {call.arguments["kind"] for call in calls} == {"green", "black"}
    assert {"origin" in call.arguments for call in calls} == {True, False}
    assert not any(action.text for action in draw(200, call_probability=1.0))


def test_free_values_are_runs_of_what_the_user_said() -> None:
    calls = [action.tool_calls[0] for action in draw(200, call_probability=1.0)]
    values = {call.arguments["origin"] for call in calls if "origin" in call.arguments}
    assert {"from Uji", "tea"} <= values
    assert all(value in "green tea from Uji" for value in values)


def test_texts_are_words_of_the_conversation() -> None:
    texts = [action.text for action in draw(100, call_probability=0.0, max_words=3)]
    words = {word for text in texts for word in text.split()}
    assert words == {"green", "tea", "from", "Uji", "Certainly"}
    assert {len(text.split()) for text in texts} == {1, 2, 3}


def test_without_tools_on_offer_it_speaks() -> None:
    policy = UniformPolicy(call_probability=1.0, seed=0)
    assert policy.act(observation([])).text


def test_it_speaks_in_a_conversation_without_words() -> None:
    silent = {**observation([]), "messages": "[]"}
    assert UniformPolicy(seed=0).act(silent).text


@pytest.mark.parametrize(
    ("options", "message"),
    [({"call_probability": 1.5}, "call_probability must lie in"), ({"max_words": 0}, "max_words")],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        UniformPolicy(**options)
