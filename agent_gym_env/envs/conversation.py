"""The turn rule: text ends the agent's turn, a tool call without text keeps it open.

The user's next words are passed in, so that a recorded and a simulated user can share this code.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from agent_gym_env.chat import begin_log
from agent_gym_env.envs.actions import RefusedCall
from agent_gym_env.tools.backend import ToolBackend
from agent_gym_env.types import ToolCall, ToolResult

_encode = msgspec.json.Encoder().encode


class Conversation:
    """The messages and calls of one dialogue.

    Attributes:
        backend: tool backend that answers the calls.
        log: messages so far.
        calls: calls of the open turn, with full tool names, refused ones included.
        made: calls of the last action that had any, in the same form.
    """

    __slots__ = ("_max_calls", "backend", "calls", "log", "made")

    def __init__(
        self,
        backend: ToolBackend,
        max_tool_calls_per_turn: int,
        user: str,
        system: str | None = None,
    ) -> None:
        """Begin with the system prompt, if any, and the user's first words, if the user begins."""
        self._max_calls = max_tool_calls_per_turn
        self.backend = backend
        self.log = begin_log(user, system)
        self.calls: tuple[ToolCall, ...] = ()
        self.made: tuple[ToolCall, ...] = ()

    def is_open(self) -> bool:
        """Return whether the agent may make more calls in this turn."""
        return len(self.calls) <= self._max_calls

    def execute(self, calls: Sequence[ToolCall | RefusedCall]) -> tuple[str, str | None]:
        """Answer calls.

        Returns:
            The results as a JSON array, and the code of the first refusal or ``None``.
        """
        results: list[str] = []
        made: list[ToolCall] = []
        refused = None
        for call in calls:
            result = self._answer(call, len(self.calls) + len(made))
            if result.error is not None and refused is None:
                refused = result.error.partition(":")[0]
            made.append(_named(call, result.name))
            results.append(_encode(result).decode())
        self.made = tuple(made)
        self.calls += self.made
        self.log.add_calls(self.made, results)
        return f"[{','.join(results)}]", refused

    def close(self, text: str, user: str | None) -> None:
        """Close the agent's turn with its words, and open the next one with the user's, if any."""
        self.log.add_reply(text, user)
        self.calls = ()

    def _answer(self, call: ToolCall | RefusedCall, before: int) -> ToolResult:
        if before >= self._max_calls:
            problem = f"tool_call_limit: at most {self._max_calls} calls in one turn"
            return ToolResult(self.backend.full_name(call.name), "error", error=problem)
        if isinstance(call, RefusedCall):
            return ToolResult(self.backend.full_name(call.name), "error", error=call.error)
        return self.backend.execute(call)


def _named(call: ToolCall | RefusedCall, name: str) -> ToolCall:
    """Return a call with its tool's full name."""
    if isinstance(call, ToolCall):
        return call if call.name == name else ToolCall(name, call.arguments)
    return ToolCall(name)
