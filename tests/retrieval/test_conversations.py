import json
from typing import Any

import pytest

from agent_gym_env.corpus.sgd import TODAY
from agent_gym_env.corpus.tool_specs import tools_json
from agent_gym_env.retrieval.candidates import Conversations
from agent_gym_env.retrieval.state import State
from tests.retrieval.scenes import FIND, SENCHA, TOOLS, answering, vocabulary

TOOLS_JSON = tools_json(TOOLS, ["Teas_1"])


def call(name: str, **arguments: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": json.dumps(arguments)}
    calls = [{"id": "call_0", "type": "function", "function": function}]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def result(name: str, status: str = "success", **content: Any) -> dict[str, Any]:
    answer = {"name": name, "status": status, **content}
    return {"role": "tool", "tool_call_id": "call_0", "content": json.dumps(answer)}


MESSAGES = [
    {"role": "user", "content": "Green tea please"},
    call(FIND, kind="green"),
    result(FIND, results=[SENCHA]),
    {"role": "assistant", "content": "Sencha?"},
    {"role": "user", "content": "Yes"},
]


def conversations() -> Conversations:
    return Conversations(vocabulary(), answering(lambda question: FIND), TODAY)


def observation(messages: list[dict[str, Any]]) -> dict[str, str]:
    text = json.dumps(messages, separators=(",", ":"))
    return {"user": "", "tool_result": "", "messages": text, "tools": TOOLS_JSON}


def known(state: State) -> tuple[Any, ...]:
    return state.turn, state.calls, state.row, state.values, state.reply, state.user


def test_a_conversation_is_taken_in_message_by_message() -> None:
    state = conversations().state(observation(MESSAGES))
    assert state.turn == 2
    assert state.calls == {FIND: {"kind": "green"}}
    assert state.row == {"Teas_1": SENCHA}
    assert state.reply == ("sencha",)
    assert (state.user, state.has_called) == ("Yes", False)


def test_reading_message_by_message_gives_the_state_of_reading_all_at_once() -> None:
    along = conversations()
    for count in range(1, len(MESSAGES) + 1):
        state = along.state(observation(MESSAGES[:count]))
        assert known(state) == known(conversations().state(observation(MESSAGES[:count])))


def test_conversations_may_take_turns_and_branch() -> None:
    mixed = conversations()
    other = [{"role": "user", "content": "Black tea"}, *MESSAGES[1:]]
    branch = [*MESSAGES[:4], {"role": "user", "content": "No"}]
    for messages in (MESSAGES[:3], other[:3], MESSAGES, other, branch, MESSAGES):
        expected = known(conversations().state(observation(messages)))
        assert known(mixed.state(observation(messages))) == expected


def test_the_same_observation_is_the_same_conversation() -> None:
    followed = conversations()
    assert followed.state(observation(MESSAGES)) is followed.state(observation(MESSAGES))


@pytest.mark.parametrize("kind", [7, True, None, ["green"]])
def test_arguments_of_any_json_type_are_read(kind: Any) -> None:
    messages = [MESSAGES[0], call(FIND, kind=kind), result(FIND, results=[SENCHA])]
    arguments = conversations().state(observation(messages)).calls[FIND]
    assert isinstance(arguments["kind"], str)


def test_a_refused_call_is_not_recorded_as_a_call() -> None:
    messages = [MESSAGES[0], call("Nothing"), result("Nothing", "error", error="unknown_tool: …")]
    state = conversations().state(observation(messages))
    assert (state.calls, state.has_called, state.status) == ({}, True, "error")
