"""Answers calls from the recording of a dialogue, and other calls from the split's database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from agent_gym_env.corpus.entities import EntityTable
from agent_gym_env.corpus.task import RecordedCall, Task
from agent_gym_env.corpus.tool_specs import ToolSpec
from agent_gym_env.tools.database import Database
from agent_gym_env.tools.validation import ToolCatalogue
from agent_gym_env.types import ToolCall, ToolResult
from agent_gym_env.values.equality import agreement


class ReplayBackend:
    """Answers the recorded call of a turn with its recorded result, any other from the database.

    Recordings are kept by turn, since one call can be answered differently within a dialogue. A
    recorded call is answered even where it lacks an argument that its tool requires: in SGD, 18 do.

    Args:
        catalogue: tools of the dialogue.
        entities: table of all rows that the split's tools have returned.
    """

    __slots__ = ("_catalogue", "_date", "_entities", "_recorded", "_turn", "_turns")

    def __init__(self, catalogue: ToolCatalogue, entities: EntityTable) -> None:
        self._catalogue = catalogue
        self._entities = entities

    def reset(self, task: Task) -> None:
        """Begin a dialogue."""
        self._date = task.date
        self._turns = task.turns
        self._turn = 0
        self._recorded = task.turns[0].call

    def next_turn(self) -> None:
        """Move on to the agent's next turn; after the last one nothing is recorded."""
        self._turn += 1
        over = self._turn >= len(self._turns)
        self._recorded = None if over else self._turns[self._turn].call

    def full_name(self, name: str) -> str:
        """Return the full name of the tool that a name refers to, or the name itself."""
        spec = self._catalogue.resolve(name)
        return name if isinstance(spec, str) else spec.name

    def execute(self, call: ToolCall) -> ToolResult:
        """Answer a call of the current turn."""
        recorded = self._recorded
        if (
            recorded is not None
            and call.name == recorded.name
            and call.arguments == recorded.arguments
        ):
            return _replayed(recorded)
        spec = self._catalogue.resolve(call.name)
        if isinstance(spec, str):
            return ToolResult(call.name, "error", error=spec)
        if recorded is not None and self._is_recorded(spec, call.arguments, recorded):
            return _replayed(recorded)
        problem = self._catalogue.problem(spec, call.arguments)
        if problem is not None:
            return ToolResult(spec.name, "error", error=problem)
        return Database(self._catalogue.tools, self._entities).answer(
            spec, call.arguments, self._date
        )

    def _is_recorded(
        self, spec: ToolSpec, arguments: Mapping[str, Any], recorded: RecordedCall
    ) -> bool:
        """Return whether a call means the same as the recorded one, however it is worded."""
        if spec.name != recorded.name:
            return False
        due, forms = recorded.arguments, recorded.forms
        return agreement(due, forms, arguments, spec.defaults, self._date).is_whole()


def _replayed(recorded: RecordedCall) -> ToolResult:
    return ToolResult(recorded.name, recorded.status, msgspec.Raw(recorded.results))
