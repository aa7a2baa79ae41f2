import json

from agent_gym_env.chat import Message
from agent_gym_env.envs.dialogue import SGDEnv
from agent_gym_env.lm.plain_messages import json_lines, plain_messages, plain_tools


def test_a_conversation_becomes_records_without_ids() -> None:
    function = {"name": "Buy", "arguments": '{"item":"tea"}'}
    messages: list[Message] = [
        {"role": "user", "content": "Tea!"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": function}]},
        {"role": "tool", "tool_call_id": "1", "content": '{"status":"success"}'},
        {"role": "assistant", "content": "Here."},
    ]
    assert list(plain_messages(messages)) == [
        {"user": "Tea!"},
        {"call": "Buy", "arguments": {"item": "tea"}},
        {"result": {"status": "success"}},
        {"assistant": "Here."},
    ]


def test_words_beside_a_call_and_arguments_that_are_no_json_are_kept() -> None:
    function = {"name": "Buy", "arguments": "tea"}
    message = {"role": "assistant", "content": "Well.", "tool_calls": [{"function": function}]}
    assert list(plain_messages([message])) == [
        {"call": "Buy", "arguments": "tea"},
        {"assistant": "Well."},
    ]


def test_a_tool_says_in_words_what_each_argument_is() -> None:
    env = SGDEnv(split="dev")
    observation, _ = env.reset(seed=1)
    tools = list(plain_tools(json.loads(observation["tools"])))
    (reserve,) = (tool for tool in tools if tool["name"] == "Dining_1-ReserveTable")
    assert reserve["arguments"]["city"] == "City in which to eat; required"
    assert reserve["arguments"]["party_size"] == (
        "How many people will sit at the table; one of: 1, 2, 3, 4, 5, 6; optional, default 2"
    )


def test_a_tool_without_parameters_has_no_arguments() -> None:
    assert list(plain_tools([{"function": {"name": "Stop"}}])) == [
        {"name": "Stop", "description": "", "arguments": {}}
    ]


def test_no_text_begins_a_line_of_its_own() -> None:
    assert json_lines([{"user": "a\nb\u2028c"}, {"user": "d"}]).split("\n") == [
        '{"user":"a\\nb\u2028c"}',
        '{"user":"d"}',
    ]


def test_a_result_too_deep_to_be_read_stays_a_text() -> None:
    deep = "[" * 50_000
    assert list(plain_messages([{"role": "tool", "content": deep}])) == [{"result": deep}]
