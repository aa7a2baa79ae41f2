"""The interface between an environment and the backend of its tools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from agent_gym_env.corpus.task import Task
from agent_gym_env.tools.validation import ToolCatalogue
from agent_gym_env.types import ToolCall, ToolResult


class ToolBackend(Protocol):
    """Answers the tool calls of one dialogue at a time."""

    def reset(self, task: Task) -> None:
        """Begin a dialogue."""

    def next_turn(self) -> None:
        """Move on to the agent's next turn."""

    def full_name(self, name: str) -> str:
        """Return the full name of the tool that a name refers to, or the name itself."""

    def execute(self, call: ToolCall) -> ToolResult:
        """Answer a call of the current turn.

        Never raises for what an agent asks: a call that is not valid is answered by a result whose
        ``error`` reads ``"code: what was found, what is expected"``. The result's name is the full
        name of the tool, or the agent's name for it if the tool is unknown.
        """


@runtime_checkable
class ResumableBackend(ToolBackend, Protocol):
    """A backend whose answers depend on the calls before, and which a snapshot can restore."""

    def resume(self, calls: Sequence[ToolCall]) -> None:
        """Take the calls as made that the agent has made in the open turn."""


@runtime_checkable
class BackendSource(Protocol):
    """Makes the backends of an environment's dialogues, which share a model or a process.

    A factory of tool backends that does not ask for ``catalogue`` may return one; it is then called
    once for an environment.
    """

    def backend(self, catalogue: ToolCatalogue) -> ToolBackend:
        """Return a backend for a dialogue with these tools."""
