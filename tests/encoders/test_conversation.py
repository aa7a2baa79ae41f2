"""The vector of a conversation knows what was said, asked, filled and offered."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_gym_env.chat import ConversationReader
from agent_gym_env.encoders.conversation import (
    FLAGS,
    TEXTS,
    ConversationEncoder,
    ConversationState,
    in_words,
)
from agent_gym_env.encoders.text import HashingEncoder

Message = dict[str, Any]


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def reply(text: str) -> Message:
    return {"role": "assistant", "content": text}


def call(name: str, **arguments: str) -> Message:
    function = {"name": name, "arguments": json.dumps(arguments, separators=(",", ":"))}
    entry = {"id": "call_0", "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [entry]}


def result(status: str, *rows: dict[str, str]) -> Message:
    content = json.dumps({"name": "Teas_1-FindTea", "status": status, "results": rows})
    return {"role": "tool", "tool_call_id": "call_0", "content": content}


def written(*messages: Message) -> str:
    return json.dumps(messages, separators=(",", ":"))


SENCHA = {"name": "Sencha", "origin": "Uji", "price": "9"}
CONVERSATION = [
    user("I want tea."),
    reply("Sure. Which kind? And how much?"),
    user("Green."),
    call("Teas_1-FindTea", kind="green"),
    result("success", SENCHA, {"name": "Gyokuro", "origin": "Yame", "price": "30"}),
    reply("There is sencha from Uji."),
    user("Is it dear?"),
]


def state_of(*messages: Message) -> ConversationState:
    reader = ConversationReader(lambda _: ConversationState(), ConversationState.add)
    return reader.read(written(*messages))


def test_the_last_words_of_both_are_kept() -> None:
    state = state_of(*CONVERSATION)
    assert (state.user, state.reply) == ("Is it dear?", "There is sencha from Uji.")
    assert (state.turns, state.calls, state.calls_in_turn) == (2, 1, 0)


def test_questions_of_the_agent_are_what_was_asked() -> None:
    assert [text.strip() for text in state_of(*CONVERSATION).asked] == [
        "Which kind?",
        "And how much?",
    ]


def test_arguments_of_calls_are_what_was_filled() -> None:
    again = [call("Teas_1-FindTea", kind="black", origin="Assam"), result("failure")]
    state = state_of(*CONVERSATION, *again)
    assert state.filled == {"kind": "black", "origin": "Assam"}
    assert state.made == {
        'Teas_1-FindTea {"kind":"green"}',
        'Teas_1-FindTea {"kind":"black","origin":"Assam"}',
    }
    assert (state.status, state.rows, state.calls_in_turn) == ("failure", (), 1)


def test_values_of_results_that_the_agent_says_are_what_was_offered() -> None:
    assert state_of(*CONVERSATION).offered == {"name": "Sencha", "origin": "Uji"}


def test_an_error_has_no_rows() -> None:
    error = {"role": "tool", "tool_call_id": "call_0", "content": '{"status":"error","error":"no"}'}
    state = state_of(user("Tea."), call("Nothing"), error)
    assert (state.status, state.rows) == ("error", ())


@given(st.lists(st.integers(1, len(CONVERSATION)), max_size=6))
def test_a_state_depends_on_the_conversation_alone(lengths: list[int]) -> None:
    encoder = ConversationEncoder()
    for length in [*lengths, len(CONVERSATION)]:
        encoder.encode(observation(*CONVERSATION[:length]))
    assert vars(encoder.state) == vars(state_of(*CONVERSATION))


def observation(*messages: Message) -> dict[str, str]:
    tools = [{"type": "function", "function": {"name": "Teas_1-FindTea", "description": "Look"}}]
    return {
        "user": "",
        "tool_result": "",
        "messages": written(*messages),
        "tools": json.dumps(tools),
    }


def facts(*messages: Message) -> dict[str, float]:
    vector = ConversationEncoder().encode(observation(*messages))
    return dict(zip(FLAGS, vector[-len(FLAGS) :].tolist(), strict=True))


def test_the_facts_say_what_the_last_call_gave() -> None:
    after = facts(*CONVERSATION[:5])
    assert (after["after_a_call"], after["success"], after["one_row"], after["no_row"]) == (
        1,
        1,
        0,
        0,
    )
    assert after["rows"] == pytest.approx(np.log(3) / 3)
    assert facts(*CONVERSATION[:4], result("failure"))["no_row"] == 1
    before = facts(*CONVERSATION[:3])
    assert (before["after_a_call"], before["no_row"], before["agent_asked"]) == (0, 0, 1)


def test_texts_come_first_each_scaled_to_length_one() -> None:
    vector = ConversationEncoder(HashingEncoder(8)).encode(observation(*CONVERSATION))
    lengths = np.linalg.norm(vector[: 8 * len(TEXTS)].reshape(len(TEXTS), 8), axis=1)
    assert lengths == pytest.approx([1.0] * len(TEXTS))
    assert vector.dtype == np.float32
    assert (np.abs(vector) <= 1).all()


def test_another_encoder_can_be_given() -> None:
    encoder = ConversationEncoder(HashingEncoder(5))
    assert encoder.encode(observation(user("Hi."))).shape == (encoder.dim,) == (5 * 7 + 16,)


def test_identifiers_are_cut_into_words() -> None:
    assert in_words("Teas_1-FindTea") == "Teas 1 Find Tea"
