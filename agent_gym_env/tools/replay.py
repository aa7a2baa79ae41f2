"""Answers calls from the recording of a dialogue, and other calls from the split's database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from agent_gym_env.corpus.entities import EntityTable
from agent_gym_env.corpus.task import RecordedCall, Task
from agent_gym_env.corpus.tool_specs import ToolSpec
from agent_gym_env.tools.database import Database
from agent_gym_env.tools.validation import ToolCatalogue
from agent_gym_env.types import ToolCall, ToolResult
from agent_gym_env.values.equality import agreement, same_json


class ReplayBackend:
    """Answers a recorded call of a turn with its recorded result, any other from the database.

    Recordings are kept by turn, since one call can be answered differently within a dialogue; of
    equal calls in one turn, each is answered as its own. A recorded call is answered even where it
    lacks an argument that its tool requires: in SGD, 18 do.

    A log has no database. A call of its functions is also answered as in another turn of the
    dialogue; one that was never recorded there is answered with the error ``not_recorded``.

    Args:
        catalogue: tools of the dialogue.
        entities: table of all rows that the split's tools have returned.
    """

    __slots__ = ("_answered", "_catalogue", "_date", "_entities", "_only", "_turn", "_turns")

    def __init__(self, catalogue: ToolCatalogue, entities: EntityTable) -> None:
        self._catalogue = catalogue
        self._entities = entities

    def reset(self, task: Task) -> None:
        """Begin a dialogue."""
        self._date = task.date
        self._turns = task.turns
        self._begin_turn(0)

    def next_turn(self) -> None:
        """Move on to the agent's next turn; after the last one nothing is recorded."""
        self._begin_turn(self._turn + 1)

    def _begin_turn(self, number: int) -> None:
        self._turn = number
        self._answered: tuple[RecordedCall, ...] = ()
        turn = self._turns[number] if number < len(self._turns) else None
        # The usual case, which is answered without a search: arguments of services are all texts.
        is_usual = turn is not None and not turn.more_calls and not self._catalogue.has_functions
        self._only = turn.call if turn is not None and is_usual else None

    def _recorded(self) -> tuple[RecordedCall, ...]:
        return self._turns[self._turn].calls if self._turn < len(self._turns) else ()

    def resume(self, calls: Sequence[ToolCall]) -> None:
        """Take the calls as made that the agent has made in the open turn."""
        for call in calls:
            self.execute(call)

    def full_name(self, name: str) -> str:
        """Return the full name of the tool that a name refers to, or the name itself."""
        return self._catalogue.full_name(name)

    def execute(self, call: ToolCall) -> ToolResult:
        """Answer a call of the current turn."""
        found = self.answer_of_turn(call)
        if isinstance(found, ToolResult):
            return found
        if found.parameters is not None:
            return self.answer_of_dialogue(found, call) or not_recorded(found)
        return Database(self._catalogue.tools, self._entities).answer(
            found, call.arguments, self._date
        )

    def recorded_answer(self, call: ToolCall) -> ToolResult | ToolSpec:
        """Answer a call that the dialogue recorded in any turn, or refuse one that is not valid.

        Returns:
            The answer; for a valid call that the dialogue did not record, the tool.
        """
        found = self.answer_of_turn(call)
        if isinstance(found, ToolResult):
            return found
        return self.answer_of_dialogue(found, call) or found

    def answer_of_turn(self, call: ToolCall) -> ToolResult | ToolSpec:
        """Answer a call that the turn recorded, or refuse one that is not valid.

        Returns:
            The answer; for a valid call that the turn did not record, the tool.
        """
        only = self._only
        if only is not None and call.name == only.name and call.arguments == only.arguments:
            return result_of(only)
        recorded = [each for each in self._recorded() if _is_equal(call, each)]
        if recorded:
            return self._replayed(recorded)
        spec = self._catalogue.resolve(call.name)
        if isinstance(spec, str):
            return ToolResult(call.name, "error", error=spec)
        recorded = [each for each in self._recorded() if self._means(spec, call, each)]
        if recorded:
            return self._replayed(recorded)
        problem = self._catalogue.problem(spec, call.arguments)
        if problem is not None:
            return ToolResult(spec.name, "error", error=problem)
        return spec

    def answer_of_dialogue(self, spec: ToolSpec, call: ToolCall) -> ToolResult | None:
        """Answer a call of a tool as in another turn; ``None`` if no turn recorded it."""
        found = next((each for each in self._elsewhere() if self._means(spec, call, each)), None)
        return None if found is None else result_of(found)

    def _replayed(self, recorded: Sequence[RecordedCall]) -> ToolResult:
        """Answer with the first recording that was not given yet in this turn, or the last."""
        if len(recorded) == 1:
            return result_of(recorded[0])
        left = (each for each in recorded if not any(each is other for other in self._answered))
        given = next(left, recorded[-1])
        self._answered += (given,)
        return result_of(given)

    def _elsewhere(self) -> Iterator[RecordedCall]:
        """Yield the calls of the other turns: from this turn back to the first, then onwards."""
        for turn in (*self._turns[: self._turn][::-1], *self._turns[self._turn + 1 :]):
            yield from reversed(turn.calls)

    def _means(self, spec: ToolSpec, call: ToolCall, recorded: RecordedCall) -> bool:
        """Return whether a call means the same as a recorded one, however it is worded."""
        if spec.name != recorded.name:
            return False
        due, forms = recorded.arguments, recorded.forms
        return agreement(due, forms, call.arguments, spec.defaults, self._date).is_whole()


def _is_equal(call: ToolCall, recorded: RecordedCall) -> bool:
    """Return whether a call is the recorded one, value by value."""
    if call.name != recorded.name or call.arguments != recorded.arguments:
        return False
    # For Python, 1 equals True.
    return all(
        type(value) is str or same_json(value, recorded.arguments[name])
        for name, value in call.arguments.items()
    )


def result_of(recorded: RecordedCall) -> ToolResult:
    """Return the recorded answer to a call."""
    return ToolResult(recorded.name, recorded.status, msgspec.Raw(recorded.results))


def not_recorded(spec: ToolSpec) -> ToolResult:
    """Return the error for a call of a function to which a log has no answer."""
    problem = (
        f"not_recorded: {spec.name} was never called with these arguments in the recorded "
        "conversation; a log answers recorded calls only"
    )
    return ToolResult(spec.name, "error", error=problem)
