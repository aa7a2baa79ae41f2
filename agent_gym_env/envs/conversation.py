"""The turn rule: text ends the agent's turn, a tool call without text keeps it open.

What the user says next is not decided here, so that a recorded user and one who reacts share this.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from agent_gym_env.envs.actions import ParsedAction, RefusedCall
from agent_gym_env.tools.backend import ToolBackend
from agent_gym_env.types import ToolCall, ToolResult

_encode = msgspec.json.Encoder().encode


class Conversation:
    """What has been said and done in one dialogue, and in its open turn.

    Attributes:
        backend: the services behind the tools.
        log: the messages so far in OpenAI's chat format, a JSON array without its closing bracket.
        latest: the messages of a turn that has just closed, which are not in the log yet: it is long
            and dear to copy, and the user's next words follow at once.
        calls: of the open turn, with full tool names, refused ones included.
        made: the calls of the last action, likewise.
        executed: how many calls the dialogue has seen; they number the calls' ids.
        error: stable code of the first thing that was wrong with the last action, or ``None``.
    """

    __slots__ = ("_max_calls", "backend", "calls", "error", "executed", "latest", "log", "made")

    def __init__(self, backend: ToolBackend, max_tool_calls_per_turn: int, user: str) -> None:
        """Begin with the user's first words."""
        self._max_calls = max_tool_calls_per_turn
        self.backend = backend
        self.log = f'[{{"role":"user","content":{_encode(user).decode()}}}'
        self.latest = ""
        self.calls: list[ToolCall] = []
        self.made: list[ToolCall] = []
        self.executed = 0
        self.error: str | None = None

    def act(self, action: ParsedAction) -> tuple[bool, str]:
        """Execute an action.

        Returns:
            Whether it closes the turn, and the results of its calls: a JSON array, ``""`` for none.
        """
        text, calls, self.error = action
        results, exchange = "", ""
        self.made = []
        if calls:
            results, exchange = self._execute(calls)
            if not text and len(self.calls) <= self._max_calls:
                self.log += exchange
                return False, results
        self.latest = f'{exchange},{{"role":"assistant","content":{_encode(text).decode()}}}'
        return True, results

    def hear(self, user: str) -> None:
        """Open the agent's next turn with the user's words."""
        self.log = (
            f'{self.log}{self.latest},{{"role":"user","content":{_encode(user).decode()}}}'
        )
        self.latest = ""
        self.calls = []

    def end(self) -> None:
        """Close the conversation with the agent's last words."""
        self.log += self.latest
        self.latest = ""
        self.calls = []

    def _execute(self, calls: Sequence[ToolCall | RefusedCall]) -> tuple[str, str]:
        """Answer calls: their results as a JSON array, and the messages that this makes."""
        requests, answers, results = [], [], []
        for call in calls:
            result = self._answer(call)
            call_id = f"call_{self.executed}"
            self.executed += 1
            arguments = call.arguments if isinstance(call, ToolCall) else {}
            made = ToolCall(result.name, arguments)
            self.calls.append(made)
            self.made.append(made)
            encoded = _encode(result).decode()
            results.append(encoded)
            requests.append(tool_call_message(call_id, made))
            answers.append(
                f',{{"role":"tool","tool_call_id":"{call_id}","content":{_encode(encoded).decode()}}}'
            )
        request = f',{{"role":"assistant","content":null,"tool_calls":[{",".join(requests)}]}}'
        return f"[{','.join(results)}]", request + "".join(answers)

    def _answer(self, call: ToolCall | RefusedCall) -> ToolResult:
        if len(self.calls) >= self._max_calls:
            problem = f"tool_call_limit: at most {self._max_calls} calls in one turn"
            result = ToolResult(call.name, "error", error=problem)
        elif isinstance(call, RefusedCall):
            result = ToolResult(call.name, "error", error=call.error)
        else:
            result = self.backend.execute(call)
        if result.error is not None and self.error is None:
            self.error = result.error.partition(":")[0]
        return result


def tool_call_message(call_id: str, call: ToolCall) -> str:
    """Write a call as an entry of an assistant message's ``tool_calls``, JSON."""
    arguments = _encode(_encode(call.arguments).decode()).decode()
    return (
        f'{{"id":"{call_id}","type":"function",'
        f'"function":{{"name":{_encode(call.name).decode()},"arguments":{arguments}}}}}'
    )
