"""The tools of a dialogue as a toolset of verifiers; verifiers starts this module as a server."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from agent_gym_env.adapters.verifiers_state import DialogueState, take_step
from agent_gym_env.chat import functions_of, read_tools
from agent_gym_env.extras import require
from agent_gym_env.types import Action, ToolCall

require("verifiers", extra="verifiers")

import verifiers.v1 as vf  # noqa: E402  (`require` names the extra if it is missing)
from mcp.server.mcpserver import MCPServer  # noqa: E402
from mcp.types import CallToolResult, TextContent, Tool  # noqa: E402
from verifiers.v1.mcp import SharedToolsetConfig  # noqa: E402

OVER = "The conversation is over: say goodbye."


class DialogueToolset(vf.Toolset[SharedToolsetConfig, DialogueState]):
    """The tools of the dialogue in play. A call is one step of the session."""

    TOOL_PREFIX = None

    def register(self, mcp: MCPServer) -> None:
        """Answer with the tools of the rollout that asks, in place of a fixed list."""
        server = cast(Any, mcp)  # verifiers' own toolset of NeMo Gym replaces these methods, too
        server.list_tools = self._with_state(self._list_tools)
        server.call_tool = self._with_state(self._call_tool)

    async def _list_tools(self) -> list[Tool]:
        return listed(self.state)

    async def _call_tool(
        self, name: str, arguments: dict[str, Any], context: Any = None
    ) -> CallToolResult:
        return called(self.state, name, arguments)


def listed(state: DialogueState) -> list[Tool]:
    """Return the tools of the dialogue of a state."""
    if not state.snapshot:
        return []
    tools = read_tools(state.snapshot["reply"]["observation"]["tools"])
    return [
        Tool(
            name=function["name"],
            description=function.get("description"),
            input_schema=function.get("parameters") or {"type": "object"},
        )
        for function in functions_of(tools)
    ]


def called(state: DialogueState, name: str, arguments: dict[str, Any]) -> CallToolResult:
    """Call a tool from the snapshot of a state, and write the next snapshot to it."""
    if state.over:
        return _answer(OVER, is_error=True)
    reply = take_step(state, Action(tool_calls=(ToolCall(name, arguments),)))
    (raw,) = msgspec.json.decode(reply.observation["tool_result"], type=list[msgspec.Raw])
    is_error = msgspec.json.decode(raw)["status"] == "error"
    state.calls += 1
    state.refused += is_error
    texts = [bytes(raw).decode()]
    if reply.observation["user"]:
        texts.append(f"Your turn was closed. The user says: {reply.observation['user']}")
    if state.over:
        texts.append(OVER)
    return _answer("\n\n".join(texts), is_error=is_error)


def _answer(text: str, *, is_error: bool) -> CallToolResult:
    content: list[Any] = [TextContent(type="text", text=text)]
    return CallToolResult(content=content, is_error=is_error)


if __name__ == "__main__":
    DialogueToolset.run()
