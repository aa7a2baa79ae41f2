"""A person talks to a policy: the tools are real, and the policy sees what an agent sees."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from agent_gym_env.registry import POLICIES
from agent_gym_env.server.chats import MAX_CALLS_PER_TURN, BeginChat, PolicyChat
from agent_gym_env.types import Action, ToolCall
from tests.server.running import Running


class Watching:
    """Calls the first tool in its first step of a turn, then repeats the user's words."""

    name = "watching"

    def __init__(self, calls: int = 1) -> None:
        self.seen: list[Any] = []
        self.calls = calls

    def reset(self, *, seed: int | None = None) -> None:
        self.seen = []

    def act(self, observation: Any) -> Action:
        self.seen.append(dict(observation))
        messages = json.loads(observation["messages"])
        words = [each for each in messages if each["role"] == "user"][-1]["content"]
        made = (
            len(messages) - 1 - max(n for n, each in enumerate(messages) if each["role"] == "user")
        )
        if made < 2 * self.calls:
            tool = json.loads(observation["tools"])[0]["function"]["name"]
            return Action(tool_calls=(ToolCall(tool, {}),))
        return Action(f"You said: {words}")


@pytest.fixture
def watching(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(POLICIES.registered, "watching", Watching)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("runs")) as running:
        yield running


def test_the_policy_sees_the_conversation_and_its_calls_are_answered(watching: None) -> None:
    chat = PolicyChat(BeginChat("watching"))
    first = chat.say("A table, please.")
    second = chat.say("At seven.")
    assert [first.text, second.text] == ["You said: A table, please.", "You said: At seven."]
    assert len(first.calls) == 1
    assert first.calls[0].result["status"] in ("success", "failure", "error")
    seen = chat.policy.seen  # type: ignore[attr-defined]
    assert [each["user"] for each in seen] == ["A table, please.", "", "At seven.", ""]
    assert json.loads(seen[1]["tool_result"])[0] == first.calls[0].result
    roles = [each["role"] for each in json.loads(seen[3]["messages"])]
    assert roles == ["user", "assistant", "tool", "assistant", "user", "assistant", "tool"]


def test_a_policy_that_only_calls_is_stopped(watching: None) -> None:
    chat = PolicyChat(BeginChat({"name": "watching", "calls": 100}))
    answer = chat.say("Hello.")
    assert answer.text == ""
    assert len(answer.calls) == MAX_CALLS_PER_TURN + 1
    assert answer.calls[-1].result["error"].startswith("tool_call_limit")


def test_a_chat_over_http(server: Running) -> None:
    status, begun, _ = server.ask("POST", "/v1/chats", {"policy": "rule", "seed": 3})
    assert status == 201, begun
    assert begun["services"]
    path = f"/v1/chats/{begun['chat']}"
    status, answer, _ = server.ask("POST", f"{path}/say", {"text": begun["example"]})
    assert status == 200, answer
    assert answer["text"]
    assert server.ask("POST", f"{path}/say", {"text": " "})[0] == 422
    assert server.ask("DELETE", path)[0] == 200
    assert server.ask("POST", f"{path}/say", {"text": "Hello?"})[0] == 404


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"policy": "oracle"}, 422, "looks at the environment"),
        ({"policy": "nobody"}, 422, "policy must be"),
        ({"policy": "os:system"}, 403, "names the module"),
        ({"policy": {"name": "transformers", "path": "/etc"}}, 403, "outside"),
        ({"policy": "rule", "corpus": "/etc"}, 403, "corpus"),
        ({"policy": "rule", "dialogue_id": "nowhere"}, 422, "nowhere"),
        ({"policy": "rule", "split": "never"}, 422, "never"),
    ],
)
def test_a_chat_that_cannot_begin_says_why(
    server: Running, body: dict[str, Any], status: int, said: str
) -> None:
    found, answer, _ = server.ask("POST", "/v1/chats", body)
    assert found == status, answer
    assert said in answer["error"]["message"]
