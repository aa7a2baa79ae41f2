"""The turn rule: text ends the agent's turn, a tool call without text keeps it open.

What the user says next is not decided here, so that a recorded user and one who reacts share this.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from agent_gym_env.envs.actions import RefusedCall
from agent_gym_env.tools.backend import ToolBackend
from agent_gym_env.types import ToolCall, ToolResult

_encode = msgspec.json.Encoder().encode


class Conversation:
    """What has been said and done in one dialogue, and in its open turn.

    Attributes:
        backend: the services behind the tools.
        log: the messages so far in OpenAI's chat format, a JSON array without its closing bracket.
        calls: of the open turn, with full tool names, refused ones included.
        made: the calls of the last action that made any, likewise.
        executed: how many calls the dialogue has seen; they number the calls' ids.
    """

    __slots__ = ("_max_calls", "backend", "calls", "executed", "log", "made")

    def __init__(self, backend: ToolBackend, max_tool_calls_per_turn: int, user: str) -> None:
        """Begin with the user's first words."""
        self._max_calls = max_tool_calls_per_turn
        self.backend = backend
        self.log = f'[{{"role":"user","content":{_encode(user).decode()}}}'
        self.calls: tuple[ToolCall, ...] = ()
        self.made: tuple[ToolCall, ...] = ()
        self.executed = 0

    def is_open(self) -> bool:
        """Tell whether the agent may go on calling tools in this turn."""
        return len(self.calls) <= self._max_calls

    def execute(self, calls: Sequence[ToolCall | RefusedCall]) -> tuple[str, str | None]:
        """Answer calls.

        Returns:
            Their results as a JSON array, and the stable code of the first that was refused.
        """
        requests: list[str] = []
        answers: list[str] = []
        results: list[str] = []
        made: list[ToolCall] = []
        refused = None
        for call in calls:
            result = self._answer(call, len(self.calls) + len(made))
            if result.error is not None and refused is None:
                refused = result.error.partition(":")[0]
            named = _named(call, result.name)
            content = _encode(result).decode()
            call_id = f"call_{self.executed}"
            self.executed += 1
            made.append(named)
            results.append(content)
            requests.append(tool_call_message(call_id, named))
            answers.append(tool_message(call_id, content))
        self.made = tuple(made)
        self.calls += self.made
        self.log += calls_message(requests, answers)
        return f"[{','.join(results)}]", refused

    def close(self, text: str, user: str | None) -> None:
        """Close the agent's turn with its words, and open the next one with the user's, if any."""
        reply = reply_message(text)
        if user is None:
            self.log += reply
        else:
            # One string, not two: the log is long and dear to copy.
            self.log = f'{self.log}{reply},{{"role":"user","content":{_encode(user).decode()}}}'
        self.calls = ()

    def _answer(self, call: ToolCall | RefusedCall, before: int) -> ToolResult:
        if before >= self._max_calls:
            problem = f"tool_call_limit: at most {self._max_calls} calls in one turn"
            return ToolResult(self.backend.full_name(call.name), "error", error=problem)
        if isinstance(call, RefusedCall):
            return ToolResult(self.backend.full_name(call.name), "error", error=call.error)
        return self.backend.execute(call)


def _named(call: ToolCall | RefusedCall, name: str) -> ToolCall:
    """Give a call under its tool's full name."""
    if isinstance(call, ToolCall):
        return call if call.name == name else ToolCall(name, call.arguments)
    return ToolCall(name)


def reply_message(text: str) -> str:
    """Write the agent's words as a message, with the comma before it."""
    return f',{{"role":"assistant","content":{_encode(text).decode()}}}'


def tool_call_message(call_id: str, call: ToolCall) -> str:
    """Write a call as an entry of an assistant message's ``tool_calls``, JSON."""
    arguments = _encode(_encode(call.arguments).decode()).decode()
    return (
        f'{{"id":"{call_id}","type":"function",'
        f'"function":{{"name":{_encode(call.name).decode()},"arguments":{arguments}}}}}'
    )


def tool_message(call_id: str, content: str) -> str:
    """Write a call's result as a message, with the comma before it."""
    return f',{{"role":"tool","tool_call_id":"{call_id}","content":{_encode(content).decode()}}}'


def calls_message(requests: Sequence[str], answers: Sequence[str]) -> str:
    """Write the message that makes calls and those that answer them, each with its comma."""
    request = f',{{"role":"assistant","content":null,"tool_calls":[{",".join(requests)}]}}'
    return request + "".join(answers)
