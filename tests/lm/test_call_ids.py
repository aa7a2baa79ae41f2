from __future__ import annotations

from agent_gym_env.chat import Message
from agent_gym_env.lm.call_ids import CallIds

ASKED: list[Message] = [{"role": "user", "content": "Hi"}]


def called(*ids: str) -> list[Message]:
    calls = [
        {"id": each, "type": "function", "function": {"name": "F", "arguments": "{}"}}
        for each in ids
    ]
    results = [{"role": "tool", "tool_call_id": each, "content": "[]"} for each in ids]
    return [*ASKED, {"role": "assistant", "content": None, "tool_calls": calls}, *results]


def ids_of(messages: list[Message]) -> list[str]:
    calls = [call["id"] for m in messages for call in m.get("tool_calls", ())]
    return calls + [m["tool_call_id"] for m in messages if m["role"] == "tool"]


def test_calls_and_results_get_the_providers_ids_back() -> None:
    ids = CallIds()
    ids.remember(ASKED, ("p1", "p2"))
    assert ids_of(ids.restore(called("call_0", "call_1"))) == ["p1", "p2", "p1", "p2"]


def test_the_conversation_that_was_given_is_not_changed() -> None:
    ids = CallIds()
    ids.remember(ASKED, ("p1",))
    messages = called("call_0")
    ids.restore(messages)
    assert messages == called("call_0")


def test_a_later_call_is_known_by_all_that_came_before_it() -> None:
    ids = CallIds()
    ids.remember(ASKED, ("p1",))
    ids.remember(called("call_0"), ("p2",))
    again = called("call_1")[1:]
    assert ids_of(ids.restore([*called("call_0"), *again])) == ["p1", "p2", "p1", "p2"]


def test_another_conversation_keeps_its_ids() -> None:
    ids = CallIds()
    ids.remember([{"role": "user", "content": "Hello"}], ("p1",))
    assert ids_of(ids.restore(called("call_0"))) == ["call_0", "call_0"]


def test_a_provider_without_ids_changes_nothing() -> None:
    ids = CallIds()
    ids.remember(ASKED, ("", ""))
    assert ids_of(ids.restore(called("call_0"))) == ["call_0", "call_0"]


def test_the_oldest_are_forgotten() -> None:
    ids = CallIds()
    for number in range(5000):
        ids.remember([{"role": "user", "content": str(number)}], ("p",))
    assert len(ids._ids) == 4096
