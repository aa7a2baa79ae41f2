"""An MCP client plays a session: the messages of the protocol, without a library."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent_gym_env.server.mcp import (
    MAX_MESSAGE_BYTES,
    OVER,
    REPLY_KEY,
    VERSIONS,
    McpServer,
    serve_stdio,
)
from agent_gym_env.server.session import Reply, Session
from agent_gym_env.types import Action

OWN = ["reply_to_user", "read_conversation", "start_episode"]


class Client:
    """Sends messages to a server as an MCP client does, and keeps the notifications."""

    def __init__(self, server: McpServer) -> None:
        self.server = server
        self.notified: list[str] = []

    def ask(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send a request and return its answer."""
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}}
        *notifications, answer = map(json.loads, self.server.answer(json.dumps(message)))
        self.notified += [each["method"] for each in notifications]
        assert answer["id"] == 1
        return dict(answer)

    def call(self, name: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool and return its result."""
        return dict(self.ask("tools/call", {"name": name, "arguments": arguments})["result"])

    def problem(self, method: str, params: dict[str, Any] | None = None) -> tuple[int, str]:
        """Return the code and the message of the error that a request is answered with."""
        error = self.ask(method, params)["error"]
        return error["code"], error["message"]


def client(env_id: str = "SGD-v0", **options: Any) -> Client:
    arguments = {"split": "dev", **options.pop("arguments", {})}
    return Client(McpServer(Session(env_id, arguments), **{"seed": 0, **options}))


def text(result: dict[str, Any]) -> str:
    (block,) = result["content"]
    assert block["type"] == "text"
    return str(block["text"])


@pytest.mark.parametrize("env_id", ["SGD-v0", "SGDSim-v0"])
def test_the_instructions_have_the_users_first_words(env_id: str) -> None:
    result = client(env_id).ask("initialize", {"protocolVersion": "2025-06-18"})["result"]
    first = Session(env_id, {"split": "dev"}).reset(seed=0)
    assert result["instructions"].endswith(first.observation["user"])
    assert first.info["date"] in result["instructions"]
    assert result["capabilities"] == {"tools": {"listChanged": True}}


@pytest.mark.parametrize(
    ("asked", "given"), [(each, each) for each in VERSIONS] + [("x", VERSIONS[0])]
)
def test_a_known_revision_of_the_protocol_is_used(asked: str, given: str) -> None:
    answer = client().ask("initialize", {"protocolVersion": asked})
    assert answer["result"]["protocolVersion"] == given


def test_the_tools_are_those_of_the_dialogue_and_three_more() -> None:
    listed = client().ask("tools/list")["result"]["tools"]
    first = Session("SGD-v0", {"split": "dev"}).reset(seed=0)
    offered = [each["function"] for each in json.loads(first.observation["tools"])]
    assert [each["name"] for each in listed] == [*(each["name"] for each in offered), *OWN]
    assert listed[0]["inputSchema"] == offered[0]["parameters"]
    assert listed[0]["description"] == offered[0]["description"]


@pytest.mark.parametrize("env_id", ["SGD-v0", "SGDSim-v0"])
def test_each_step_is_a_step_of_the_session(env_id: str) -> None:
    player = client(env_id, reveal_info=True)
    session = Session(env_id, {"split": "dev"})
    first = session.reset(seed=0)
    tool = json.loads(first.observation["tools"])[0]["function"]["name"]
    calls: list[tuple[str, dict[str, Any]]] = [
        (tool, {}),
        ("Nothing-Here", {"a": [1, None]}),
        ("reply_to_user", {"text": "Hm? ü"}),
    ]
    for name, arguments in calls:
        action = {"tool_calls": json.dumps([{"name": name, "arguments": arguments}])}
        words = {"text": arguments.get("text", "")}
        expected = session.step(words if name == "reply_to_user" else action)
        revealed = player.call(name, **arguments)["_meta"][REPLY_KEY]
        assert msgspec.convert(revealed, Reply) == expected


def test_words_are_answered_with_the_users_next_words_and_the_reward() -> None:
    player = client("SGDSim-v0")
    result = player.call("reply_to_user", text="Which city do you prefer?")
    assert result["structuredContent"] == {"user": text(result), "over": False}
    assert result["_meta"][REPLY_KEY].keys() == {
        "reward", "reward_valid", "terminated", "truncated", "dialogue_id", "turn"
    }  # fmt: skip
    assert result["_meta"][REPLY_KEY]["turn"] == 1


def test_what_the_corpus_did_is_not_revealed_unasked() -> None:
    player = client()
    session = Session("SGD-v0", {"split": "dev"})
    session.reset(seed=0)
    target = session.step("Hm?").info["target"][-1]["content"]
    assert target not in json.dumps(player.call("reply_to_user", text="Hm?"))


def test_a_call_is_answered_with_its_result() -> None:
    result = client().call("Nothing-Here")
    assert result["isError"]
    assert json.loads(text(result)) == result["structuredContent"]
    assert result["structuredContent"]["status"] == "error"


def test_one_call_too_many_shows_what_the_user_says_next() -> None:
    player = client(arguments={"max_tool_calls_per_turn": 1})
    assert "user" not in player.call("Nothing-Here")["structuredContent"]
    result = player.call("Nothing-Here")
    assert result["structuredContent"]["user"]
    assert text(result).endswith(f"The user says: {result['structuredContent']['user']}")


def test_the_end_is_shown_and_only_another_episode_is_possible_then() -> None:
    player = client(arguments={"max_episode_steps": 1})
    result = player.call("reply_to_user", text="Hello?")
    assert result["structuredContent"]["over"]
    assert text(result).endswith(OVER)
    assert result["_meta"][REPLY_KEY]["truncated"]
    for name in ("reply_to_user", "Nothing-Here"):
        refused = player.call(name, text="Hello?")
        assert (refused["isError"], text(refused)) == (True, OVER)
    assert not player.call("start_episode")["isError"]
    assert player.call("Nothing-Here")["structuredContent"]["status"] == "error"


def test_another_episode_notifies_of_other_tools() -> None:
    player = client()
    ids = Session("SGD-v0", {"split": "dev"}).env.split.dialogue_ids()
    player.ask("tools/list")
    for dialogue_id in ids:
        before = player.ask("tools/list")["result"]
        noticed = len(player.notified)
        result = player.call("start_episode", dialogue_id=dialogue_id)
        assert result["structuredContent"]["dialogue_id"] == dialogue_id
        changed = player.ask("tools/list")["result"] != before
        assert player.notified[noticed:] == ["notifications/tools/list_changed"] * changed
    assert player.notified


def test_the_same_seed_begins_the_same_episode() -> None:
    player = client()
    begun = [player.call("start_episode", seed=seed) for seed in (3, 4, 3)]
    assert begun[0] == begun[2] != begun[1]


def test_the_conversation_can_be_read_again() -> None:
    player = client()
    player.call("reply_to_user", text="Hm?")
    result = player.call("read_conversation")
    assert json.loads(text(result)) == result["structuredContent"]["messages"]
    assert [each["role"] for each in json.loads(text(result))] == ["user", "assistant", "user"]


@pytest.mark.parametrize(
    ("name", "arguments", "part"),
    [
        ("reply_to_user", {}, "missing required field `text`"),
        ("reply_to_user", {"text": 5}, "Expected `str`, got `int`"),
        ("read_conversation", {"turn": 1}, "`turn`"),
        ("start_episode", {"dialogue_id": "no"}, "no dialogue 'no'"),
        ("start_episode", {"seed": -1}, ">= 0"),
        ("start_episode", {"sed": 1}, "`sed`"),
    ],
)
def test_the_model_reads_what_is_wrong_with_its_arguments(
    name: str, arguments: dict[str, Any], part: str
) -> None:
    player = client()
    before = player.call("read_conversation")
    result = player.call(name, **arguments)
    assert (result["isError"], part in text(result)) == (True, True), text(result)
    assert text(result).startswith(f"{name} was not done: ")
    assert player.call("read_conversation") == before


def test_only_a_step_has_a_reward() -> None:
    player = client(arguments={"max_episode_steps": 1})
    step = player.call("reply_to_user", text="Hello?")
    others = [
        player.call("read_conversation"),
        player.call("reply_to_user", text="Hello?"),  # refused: the conversation is over
        player.call("start_episode", dialogue_id="no"),
        player.call("start_episode"),
    ]
    assert isinstance(step["_meta"][REPLY_KEY]["reward"], float)
    assert [each["_meta"][REPLY_KEY]["reward"] for each in others] == [None] * 4


def test_a_listener_hears_each_step() -> None:
    heard: list[tuple[Action, Reply]] = []
    player = client(on_step=lambda action, reply: heard.append((action, reply)))
    player.call("read_conversation")
    player.call("reply_to_user", text="Hm?")
    assert [action for action, _ in heard] == [Action("Hm?")]


def test_a_tool_with_a_name_of_the_servers_own_is_refused(tmp_path: Path) -> None:
    tool = {"name": "reply_to_user", "description": "Reply", "parameters": {"type": "object"}}
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    conversation = {"messages": messages, "tools": [{"type": "function", "function": tool}]}
    log = tmp_path / "log.jsonl"
    log.write_text(json.dumps(conversation))
    server = McpServer(Session("Traces-v0", {"corpus": str(log), "split": "train"}))
    code, message = Client(server).problem("tools/list")
    assert (code, "'reply_to_user'" in message) == (-32602, True)


@pytest.mark.parametrize(
    ("method", "params", "code", "part"),
    [
        ("prompts/list", {}, -32601, "unknown method 'prompts/list'"),
        ("tools/call", {}, -32602, "missing required field `name`"),
        ("tools/call", {"name": "x", "arguments": [1]}, -32602, "Expected `object"),
    ],
)
def test_what_a_client_gets_wrong_is_explained(
    method: str, params: dict[str, Any], code: int, part: str
) -> None:
    found, message = client().problem(method, params)
    assert (found, part in message) == (code, True), message


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"{", -32700),
        (b"\xff", -32700),
        (b"[" * 100_000, -32700),
        (b"[]", -32600),
        (b"1", -32600),
        (b"{}", -32600),
        (b'{"jsonrpc": "1.0", "method": "ping", "id": 1}', -32600),
        (b'{"jsonrpc": "2.0", "method": "ping", "id": {}}', -32600),
        (b'{"jsonrpc": "2.0", "method": "ping", "id": 1, "params": 5}', -32600),
    ],
)
def test_what_is_not_a_request_is_refused(message: bytes, code: int) -> None:
    (answer,) = client().server.answer(message)
    assert json.loads(answer)["error"]["code"] == code


@pytest.mark.parametrize(
    "message",
    [
        b'{"jsonrpc": "2.0", "method": "notifications/initialized"}',
        b'{"jsonrpc": "2.0", "method": "tools/call"}',
        b'{"jsonrpc": "2.0", "id": 5, "result": {}}',
    ],
)
def test_what_needs_no_answer_gets_none(message: bytes) -> None:
    assert client().server.answer(message) == []


def test_lines_are_answered_in_order_and_one_that_is_too_long_is_skipped() -> None:
    ping = b'{"jsonrpc": "2.0", "method": "ping", "id": %d}\n'
    lines = [ping % 1, b"\n", b"x" * (3 * MAX_MESSAGE_BYTES) + b"\n", ping % 2]
    sink = io.BytesIO()
    serve_stdio(client().server, io.BytesIO(b"".join(lines)), sink)
    answers = [json.loads(line) for line in sink.getvalue().splitlines()]
    assert [each["id"] for each in answers] == [1, None, 2]
    assert answers[1]["error"]["message"] == "a message may have 1,048,576 bytes"
