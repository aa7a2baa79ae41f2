"""The tool backend ``nearest``: calls that were not recorded get the most similar call's answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from agent_gym_env.corpus.corpus import Split
from agent_gym_env.corpus.task import RecordedCall, Task
from agent_gym_env.corpus.tool_specs import ToolSpec
from agent_gym_env.tools.replay import ReplayBackend, result_of
from agent_gym_env.tools.validation import ToolCatalogue
from agent_gym_env.types import ToolCall, ToolResult
from agent_gym_env.values.equality import agreement, canonical, stated_arguments, value_text

_DISTANCE_DIGITS = 4

_Key = tuple[str, str, str]
"""Name of an argument, kind of its value (text or JSON), and the value."""


class NearestBackend:
    """Answers a call as recorded in its dialogue, any other as the nearest call of the split.

    The distance of two calls of a tool is ``1 - (equal arguments) / (distinct argument names in
    either)``, by `agent_gym_env.values.equality.agreement`; of equally near calls the first of the
    corpus answers. The result says its ``distance``. Calls that a log marks as errors answer no
    other call. A tool that the split never calls is answered as by `ReplayBackend`.

    Args:
        catalogue: tools of the dialogue.
        split: split whose recorded calls answer. They are indexed when the first is needed.
    """

    def __init__(self, catalogue: ToolCatalogue, split: Split) -> None:
        self._replay = ReplayBackend(catalogue, split.entities)
        self._split = split
        self._date: str | None = None

    def reset(self, task: Task) -> None:
        """Begin a dialogue."""
        self._date = task.date
        self._replay.reset(task)

    def next_turn(self) -> None:
        """Move on to the agent's next turn."""
        self._replay.next_turn()

    def resume(self, calls: Sequence[ToolCall]) -> None:
        """Take the calls as made that the agent has made in the open turn."""
        self._replay.resume(calls)

    def full_name(self, name: str) -> str:
        """Return the full name of the tool that a name refers to, or the name itself."""
        return self._replay.full_name(name)

    def execute(self, call: ToolCall) -> ToolResult:
        """Answer a call of the current turn."""
        found = self._replay.recorded_answer(call)
        if isinstance(found, ToolResult):
            return found
        nearest = recorded_answers(self._split).nearest(found, call.arguments, self._date)
        if nearest is None:
            return self._replay.execute(call)
        result = result_of(nearest.call)
        return ToolResult(result.name, result.status, result.results, distance=nearest.distance)


class Nearest(NamedTuple):
    """A recorded call, and its distance from the call that was asked about, in [0, 1]."""

    call: RecordedCall
    distance: float


class RecordedAnswers:
    """The recorded calls of a split, by tool and by the values of their arguments.

    Args:
        split: the split; all of its dialogues are read once.
    """

    def __init__(self, split: Split) -> None:
        self._split = split
        self._tools: dict[str, _CallsOfTool] = {}
        for index in range(len(split)):
            task = split.task(index)
            specs = _specs(split, task.services)
            for number, call in enumerate(_calls(task)):
                if call.name in specs and call.status != "error":
                    spec = specs[call.name]
                    self._of(spec).add(call, spec, (index, number))

    def _of(self, spec: ToolSpec) -> _CallsOfTool:
        return self._tools.setdefault(_tool_key(spec), _CallsOfTool())

    def nearest(
        self, spec: ToolSpec, arguments: Mapping[str, object], today: str | None
    ) -> Nearest | None:
        """Find the nearest recorded call of a tool.

        The cost grows with the calls that share the rarest of the arguments, and not with the
        split.

        Args:
            spec: the tool.
            arguments: arguments that its schema allows.
            today: day of the conversation, ISO; ``None`` if it is not known.

        Returns:
            The call; ``None`` if the split never calls the tool.
        """
        calls = self._tools.get(_tool_key(spec))
        if calls is None:
            return None
        [call] = self.read(
            [calls.nearest(stated_arguments(arguments, spec.defaults, today), today)]
        )
        found = agreement(call.arguments, call.forms, arguments, spec.defaults, today)
        share = found.equal / found.either if found.either else 1.0
        return Nearest(call, round(1 - share, _DISTANCE_DIGITS))

    def read(self, places: Iterable[tuple[int, int]]) -> list[RecordedCall]:
        """Read calls, each given by the index of its dialogue and its number in it."""
        return [[*_calls(self._split.task(index))][number] for index, number in places]

    def first_calls(self, spec: ToolSpec, count: int) -> list[RecordedCall]:
        """Return the first calls of a tool with different arguments, at most so many."""
        calls = self._tools.get(_tool_key(spec))
        return [] if calls is None else self.read(calls.places[:count])


@lru_cache(maxsize=4)
def recorded_answers(split: Split) -> RecordedAnswers:
    """Return the index of a split's recorded calls, made once for a split."""
    return RecordedAnswers(split)


class _CallsOfTool:
    """The calls of one tool with different arguments, each by its number, from the first."""

    def __init__(self) -> None:
        self.places: list[tuple[int, int]] = []
        self._keys: list[frozenset[_Key]] = []
        self._numbers: dict[frozenset[_Key], int] = {}
        self._having: dict[_Key, list[int]] = {}

    def add(self, call: RecordedCall, spec: ToolSpec, place: tuple[int, int]) -> None:
        """Add a call, unless one with these arguments is there."""
        stated = stated_arguments(call.arguments, spec.defaults, None)
        keys = frozenset(
            key for name, value in stated.items() for key in _recorded_keys(name, value, call)
        )
        if keys in self._numbers:
            return
        number = self._numbers[keys] = len(self.places)
        self.places.append(place)
        self._keys.append(keys)
        for key in keys:
            self._having.setdefault(key, []).append(number)

    def nearest(self, said: Mapping[str, object], today: str | None) -> tuple[int, int]:
        """Return the place of the nearest call.

        Arguments are looked up from the rarest to the most common one. A call that has none of the
        first ``k`` of ``n`` arguments shares at most ``n - k``: where such a call could not be
        nearer than the best one so far, the search ends.
        """
        asked = [_said_keys(name, value, today) for name, value in said.items()]
        found = [each for keys in asked if (each := self._having_any(keys))]
        found.sort(key=len)
        best = 0 if said else self._numbers.get(frozenset(), 0)
        best_share = 0.0
        seen: set[int] = set()
        for left, numbers in zip(range(len(found), 0, -1), found, strict=True):
            for number in numbers:
                if (-left / len(said), number) > (-best_share, best):
                    break
                if number in seen:
                    continue
                seen.add(number)
                share = self._share(number, asked, said)
                if (-share, number) < (-best_share, best):
                    best, best_share = number, share
        return self.places[best]

    def _share(
        self, number: int, asked: Sequence[frozenset[_Key]], said: Mapping[str, object]
    ) -> float:
        keys = self._keys[number]
        equal = sum(not keys.isdisjoint(each) for each in asked)
        return equal / len(said.keys() | {name for name, *_ in keys})

    def _having_any(self, keys: frozenset[_Key]) -> list[int]:
        """Return the numbers of the calls that have one of some keys, in order."""
        lists = [self._having[key] for key in keys if key in self._having]
        if len(lists) < 2:
            return lists[0] if lists else []
        return sorted({number for numbers in lists for number in numbers})


def _specs(split: Split, services: tuple[str, ...]) -> dict[str, ToolSpec]:
    return {spec.name: spec for key in services for spec in _of_service(split).get(key, ())}


@lru_cache(maxsize=4)
def _of_service(split: Split) -> dict[str, list[ToolSpec]]:
    specs: dict[str, list[ToolSpec]] = {}
    for spec in split.tools.values():
        specs.setdefault(spec.service, []).append(spec)
    return specs


def _tool_key(spec: ToolSpec) -> str:
    """Return the key of a tool in its split: functions of one name can have different schemas."""
    return spec.name if spec.parameters is None else spec.service


def _calls(task: Task) -> Iterator[RecordedCall]:
    return (call for turn in task.turns for call in turn.calls)


def _recorded_keys(name: str, value: object, call: RecordedCall) -> Iterator[_Key]:
    if not isinstance(value, str):
        yield _json_key(name, value)
        return
    for form in (value, *call.forms.get(name, ())):
        yield name, "text", canonical(form, None)


def _said_keys(name: str, value: object, today: str | None) -> frozenset[_Key]:
    """Return the keys of the recorded values that an argument equals: a number may be a text."""
    keys = set()
    if isinstance(value, (str, int, float)):
        keys = {(name, "text", canonical(value, day)) for day in (today, None)}
    if not isinstance(value, str):
        keys.add(_json_key(name, value))
    return frozenset(keys)


def _json_key(name: str, value: object) -> _Key:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return name, "json", value_text(value)
