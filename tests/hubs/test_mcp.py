"""The MCP server with the real client of either line of the SDK, over standard input and output.

`make test` has the second line, `make test-hub-openenv` the first.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from agent_gym_env.server.mcp import REPLY_KEY
from agent_gym_env.server.session import Reply
from tests.hubs.ways import Player, Step, in_process, played

mcp = pytest.importorskip("mcp", reason="an MCP client needs it: pip install -e '.[mcp]'")

COMMAND = ["-m", "agent_gym_env", "serve-mcp", "--split", "dev"]


@contextlib.asynccontextmanager
async def connected(*options: str) -> AsyncIterator[Any]:
    """Start the server, and connect the SDK's client."""
    named = ("PYTHONPATH", "PATH", "AGENT_GYM_HOME")
    env = {name: os.environ[name] for name in named if name in os.environ}
    server = mcp.StdioServerParameters(command=sys.executable, args=[*COMMAND, *options], env=env)
    if hasattr(mcp, "Client"):
        async with mcp.Client(mcp.stdio_client(server)) as client:
            yield client
        return
    async with mcp.stdio_client(server) as streams, mcp.ClientSession(*streams) as session:
        await session.initialize()
        yield session


def snake(result: Any, name: str) -> Any:
    """Return a member of a result, which the first line of the SDK writes in camel case."""
    first, *rest = name.split("_")
    camel = first + "".join(map(str.title, rest))
    return getattr(result, name) if hasattr(result, name) else getattr(result, camel)


async def player_replies(options: tuple[str, ...], seed: int) -> list[bytes]:
    async with connected("--reveal-info", *options) as client:
        loop = asyncio.get_running_loop()

        def reply(name: str, arguments: Any) -> Reply:
            asked = asyncio.run_coroutine_threadsafe(client.call_tool(name, arguments), loop)
            return msgspec.convert(asked.result(60).meta[REPLY_KEY], Reply)

        def step(step: Step) -> Reply:
            name, arguments = step
            return reply("reply_to_user" if name == "say" else name, arguments)

        player = Player(lambda seed: reply("start_episode", {"seed": seed}), step)
        return await asyncio.to_thread(played, player, seed)


@pytest.mark.parametrize("env_id", ["SGD-v0", "SGDSim-v0"])
def test_an_mcp_client_gets_the_bytes_of_a_session(env_id: str) -> None:
    reward = "task" if env_id == "SGDSim-v0" else "balanced"
    with in_process(env_id, {"split": "dev", "reward": reward}) as player:
        expected = played(player, 4)
    assert asyncio.run(player_replies(("--env", env_id), 4)) == expected


def test_an_mcp_client_plays_two_episodes_and_sees_the_tools_change() -> None:
    async def play() -> None:
        async with connected("--dialogue-id", "1_00000", "--split", "train") as client:
            first = [each.name for each in (await client.list_tools()).tools]
            result = await client.call_tool("reply_to_user", {"text": "Which city?"})
            assert snake(result, "structured_content")["over"] is False
            assert result.content[0].text == snake(result, "structured_content")["user"]
            result = await client.call_tool(first[0], {"nothing": 1})
            assert snake(result, "is_error")
            result = await client.call_tool("start_episode", {"dialogue_id": "2_00063"})
            assert snake(result, "structured_content")["user"]
            second = [each.name for each in (await client.list_tools()).tools]
            assert first[-3:] == second[-3:]
            assert first != second

    asyncio.run(play())
