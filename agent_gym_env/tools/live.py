"""The interface between an environment and live tools, which run outside of its process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from agent_gym_env.corpus.task import Task
from agent_gym_env.tools.validation import ToolCatalogue
from agent_gym_env.types import ToolCall, ToolResult

_MAX_MESSAGE_CHARS = 500


class ToolFailure(Exception):  # noqa: N818  (a message to the agent, not a failure of the program)
    """A live tool gave no result; the message is for the agent: ``"code: what happened"``."""


class LiveTools(Protocol):
    """Tools in another process, or behind an address."""

    def call(self, name: str, arguments: dict[str, object]) -> bytes:
        """Call a tool, and return its result as JSON.

        Raises:
            ToolFailure: there is no such tool, or it gave no result.
        """


class LiveBackend:
    """Answers every valid call by asking live tools, also a call that the corpus recorded.

    Args:
        catalogue: tools of the dialogue, against whose schemas calls are checked.
        begin: returns the tools for a dialogue; called at its beginning.
    """

    def __init__(self, catalogue: ToolCatalogue, begin: Callable[[], LiveTools]) -> None:
        self._catalogue = catalogue
        self._begin = begin
        self._tools: LiveTools | None = None

    def reset(self, task: Task) -> None:
        """Begin a dialogue."""
        self._tools = self._begin()

    def next_turn(self) -> None:
        """Do nothing: live tools do not know of turns."""

    def full_name(self, name: str) -> str:
        """Return the full name of the tool that a name refers to, or the name itself."""
        return self._catalogue.full_name(name)

    def execute(self, call: ToolCall) -> ToolResult:
        """Answer a call of the current turn."""
        spec = self._catalogue.resolve(call.name)
        if isinstance(spec, str):
            return ToolResult(call.name, "error", error=spec)
        problem = self._catalogue.problem(spec, call.arguments)
        if problem is not None:
            return ToolResult(spec.name, "error", error=problem)
        if self._tools is None:
            raise RuntimeError("no dialogue was begun: call reset() first")
        try:
            result = self._tools.call(spec.name, call.arguments)
        except ToolFailure as failure:
            return ToolResult(spec.name, "error", error=f"{failure}"[:_MAX_MESSAGE_CHARS])
        return ToolResult(spec.name, "success", msgspec.Raw(result))
