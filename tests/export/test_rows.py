from typing import Any

import pytest

from agent_gym_env.chat import read_tools
from agent_gym_env.errors import DataError
from agent_gym_env.export.preference_pairs import turn_messages
from agent_gym_env.export.rows import conversation
from tests.evaluation.episode_factory import FIND, call, turn

ASKED = '[{"role":"user","content":"Hi"}]'


def test_the_system_message_comes_first_and_contains_the_date() -> None:
    system, user = conversation(ASKED, "2019-03-01", "Today is {today}.")
    assert system == {"role": "system", "content": "Today is Friday, 2019-03-01."}
    assert user == {"role": "user", "content": "Hi"}


def test_arguments_are_objects_with_the_values_that_were_given() -> None:
    arguments: dict[str, Any] = {"city": "Köln", "n": None, "nested": {"a": [1, True]}}
    request, result, reply = turn_messages(turn(made=[call(**arguments)], says="One.").steps, 0)
    assert request == {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": "call_0",
                "type": "function",
                "function": {"name": FIND, "arguments": arguments},
            }
        ],
    }
    assert result == {
        "role": "tool",
        "tool_call_id": "call_0",
        "content": f'{{"name":"{FIND}","status":"success","results":[]}}',
    }
    assert reply == {"role": "assistant", "content": "One."}


def test_calls_are_numbered_on_from_those_before() -> None:
    request, *_ = turn_messages(turn(made=[call(), call()]).steps, 3)
    assert [each["id"] for each in request["tool_calls"]] == ["call_3", "call_4"]


def test_an_invalid_date_is_refused() -> None:
    with pytest.raises(DataError, match="like 2019-03-01, not 'tomorrow'"):
        conversation(ASKED, "tomorrow", "")


@pytest.mark.parametrize(
    "messages",
    [
        "nonsense",
        "{}",
        '[{"role":"assistant","tool_calls":[{"id":"call_0"}]}]',
        '[{"role":"assistant","tool_calls":[{"function":{"arguments":"{"}}]}]',
        '[{"content":"Hi"}]',
    ],
)
def test_messages_that_no_environment_wrote_are_refused(messages: str) -> None:
    with pytest.raises(DataError, match="not an environment's"):
        conversation(messages, "2019-03-01", "")


@pytest.mark.parametrize("tools", ["nonsense", "{}", "[1]", ""])
def test_tools_must_be_a_list_of_objects(tools: str) -> None:
    with pytest.raises(DataError, match="tools are not an environment's"):
        read_tools(tools)
