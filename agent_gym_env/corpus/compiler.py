"""From the dialogues of a split to its compiled store, one dialogue in memory at a time."""

from __future__ import annotations

import warnings
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from pathlib import Path

import msgspec

from agent_gym_env.corpus.entities import EntityTableBuilder
from agent_gym_env.corpus.goals import Goal, read_goal
from agent_gym_env.corpus.logs.reader import LogReader
from agent_gym_env.corpus.reader import (
    CorpusReader,
    Located,
    LocatedTask,
    OnProgress,
    Place,
    SplitReading,
    read_split,
)
from agent_gym_env.corpus.sgd import (
    TODAY,
    Dialogue,
    DialogueAction,
    SystemFrame,
    SystemTurn,
    UserTurn,
)
from agent_gym_env.corpus.sgd_reader import SGDReader
from agent_gym_env.corpus.store import STORE_FORMAT, Header, StoreWriter
from agent_gym_env.corpus.task import RecordedCall, SpokenValue, Task, Turn
from agent_gym_env.corpus.tool_specs import (
    ToolSpec,
    function_specs,
    refused_names,
    tool_name,
    tool_specs,
    without_nulls,
)
from agent_gym_env.errors import DataError
from agent_gym_env.storage.files import written_whole
from agent_gym_env.values.words import words

_NO_GOAL = Goal((), ())
"""A log does not say what its users wanted."""

_ENCODE_TASK = msgspec.msgpack.Encoder().encode
_ENCODE_GOAL = msgspec.msgpack.Encoder().encode
_ENCODE_JSON = msgspec.json.Encoder().encode


class WordCounts(msgspec.Struct, frozen=True):
    """Number of system utterances of a split that contain each word, and number of all.

    Attributes:
        documents: number of utterances.
        frequency: number of utterances by word.
    """

    documents: int
    frequency: dict[str, int]


def compile_split(
    reader: CorpusReader, split: str, path: Path, *, on_progress: OnProgress | None = None
) -> None:
    """Compile a split into a store.

    Args:
        reader: reader of the corpus.
        split: name of the split.
        path: path of the store; the file appears when it is complete.
        on_progress: called with the number of parts that have been read, and the number of all.

    Raises:
        DataError: a file is missing, or a dialogue is not what the format promises.
        StorageError: the store cannot be written.
    """
    stamp = reader.fingerprint()
    reading = begin_reading(reader, split, on_progress)
    compiler = _SplitCompiler(reading)
    _warn_of_refused_names(reading)
    with written_whole(path) as file:
        writer = StoreWriter(file)
        for task in compiler.tasks(reading.dialogues):
            compiler.note_offset(writer.write(_ENCODE_TASK(task)))
        if not compiler.ids:
            raise DataError(f"split {split!r} has no dialogues", file=reader.name)
        writer.end_section("tasks")
        for name, section in compiler.sections():
            writer.write(section)
            writer.end_section(name)
        writer.finish(
            Header(
                format=STORE_FORMAT,
                stamp=stamp,
                fingerprint=reading.fingerprint(),
                split=split,
                schema_variant=getattr(reader, "schema_variant", None),
                dialogues=len(compiler.ids),
                turns=compiler.turns,
                services=tuple(compiler.services),
                seen_services=reading.train_services,
            )
        )


def begin_reading(
    reader: CorpusReader, split: str, on_progress: OnProgress | None = None
) -> SplitReading:
    """Begin to read a split; the package's own readers know the place of each dialogue."""
    if isinstance(reader, (SGDReader, LogReader)):
        return reader.read(split, on_progress)
    return read_split(reader, split, on_progress)


def source_fingerprint(reader: CorpusReader, split: str) -> str:
    """Return the fingerprint that a store of this split carries, from all that the reader reads."""
    if isinstance(reader, SGDReader):
        return reader.content_fingerprint(split)
    reading = begin_reading(reader, split)
    for _ in reading.dialogues:
        pass
    return reading.fingerprint()


def _warn_of_refused_names(reading: SplitReading) -> None:
    refused = refused_names([*tool_specs(reading.services), *(f.name for f in reading.functions)])
    if refused:
        warnings.warn(
            f"{reading.at.file}: {len(refused)} tools have "
            f"names that providers of language models refuse, the first {refused[0]!r:.80}: a "
            "service, a hyphen and an intent should be 1 to 64 letters of ASCII, digits, '_' and "
            "'-' together. Models of your own and other policies play them as they are",
            stacklevel=3,
        )


class _SplitCompiler:
    """Compiles dialogues one by one, and collects what a store says about all of them."""

    def __init__(self, reading: SplitReading) -> None:
        self.ids: dict[str, None] = {}
        self.turns = 0
        self._schema = reading.services
        self._functions = reading.functions
        self._tools = tool_specs(reading.services) | function_specs(reading.functions)
        self.services = [
            *(service.service_name for service in reading.services),
            *(function.key for function in reading.functions),
        ]
        self._bits = {name: 1 << bit for bit, name in enumerate(self.services)}
        self._mask_size = (len(self.services) + 7) // 8
        self._masks = bytearray()
        self._offsets = array("Q", [0])
        self._frequency: Counter[bytes] = Counter()
        self._entities = EntityTableBuilder()
        self._goals = bytearray()
        self._with_errands = bytearray()
        self._goal_offsets = array("Q", [0])

    def tasks(self, dialogues: Iterable[Located | LocatedTask]) -> Iterator[Task]:
        for located in dialogues:
            dialogue = located[0]
            if dialogue.dialogue_id in self.ids:
                raise located.at.error("this dialogue_id is in the split twice")
            self.ids[dialogue.dialogue_id] = None
            self._masks += self._mask(dialogue, located.at).to_bytes(self._mask_size, "little")
            goal = _NO_GOAL
            if isinstance(located, Located):
                task = _task(located, self._tools)
                self._note_entities(located.dialogue)
                goal = read_goal(located.dialogue, self._tools)
            else:
                task = _checked_task(located, self._tools)
            self.turns += len(task.turns)
            for turn in task.turns:
                self._frequency.update(set(words(turn.text)))
            self._with_errands.append(bool(goal.errands))
            self._goals += _ENCODE_GOAL(goal)
            self._goal_offsets.append(len(self._goals))
            yield task

    def note_offset(self, offset: int) -> None:
        self._offsets.append(offset)

    def _mask(self, dialogue: Dialogue | Task, at: Place) -> int:
        mask = 0
        for service in dialogue.services:
            if service not in self._bits:
                raise at.error(f"{service!r} is not in the split's schema")
            mask |= self._bits[service]
        return mask

    def _note_entities(self, dialogue: Dialogue) -> None:
        for turn in dialogue.turns[1::2]:
            for frame in turn.frames:
                if isinstance(frame, SystemFrame) and frame.service_call and frame.service_results:
                    tool = tool_name(frame.service, frame.service_call.method)
                    self._entities.add(tool, frame.service_results)

    def sections(self) -> Iterator[tuple[str, bytes]]:
        # Sorted, since sets of words have another order in each process.
        frequency = {word.decode(): count for word, count in sorted(self._frequency.items())}
        encode = msgspec.msgpack.encode
        yield "offsets", self._offsets.tobytes()
        yield "service_masks", bytes(self._masks)
        yield "ids", encode(list(self.ids))
        yield "schema", encode(self._schema)
        yield "functions", encode(self._functions)
        yield "words", encode(WordCounts(self.turns, frequency))
        yield "entities", self._entities.encode(self._tools)
        yield "goals", bytes(self._goals)
        yield "with_errands", bytes(self._with_errands)
        yield "goal_offsets", self._goal_offsets.tobytes()


def _checked_task(located: LocatedTask, tools: Mapping[str, ToolSpec]) -> Task:
    """Check a dialogue that a reader gives in compiled form."""
    task, at = located
    if not task.turns:
        raise at.error("a dialogue has one turn at least, this one has none")
    if task.date is not None:
        _checked_date(at, task.date)
    wanted = set(task.services)
    names = {tool.name: tool for tool in tools.values() if tool.service in wanted}
    for number, turn in enumerate(task.turns):
        if turn.call is None and turn.more_calls:
            raise at.of_dialogue("more_calls are calls after the first, and call is None", number)
        if turn.service and turn.service not in wanted:
            raise at.of_dialogue(f"{turn.service!r} is not one of the dialogue's services", number)
        rounds = [call.round for call in turn.calls]
        if rounds != sorted(rounds) or min(rounds, default=0) < 0:
            raise at.of_dialogue(f"rounds count up from 0, found {rounds}", number)
        for call in turn.calls:
            if call.name not in names:
                problem = f"{call.name!r:.80} is not one of the dialogue's tools"
                raise at.of_dialogue(problem, number)
            _check_json(at, number, call)
    turns = tuple(_without_nulls(turn, names) for turn in task.turns)
    return msgspec.structs.replace(task, turns=turns)


def _without_nulls(turn: Turn, tools: Mapping[str, ToolSpec]) -> Turn:
    """Return a turn whose calls leave out arguments that are null and not required."""
    if not any(None in call.arguments.values() for call in turn.calls):
        return turn
    first, *more = (
        msgspec.structs.replace(call, arguments=without_nulls(tools[call.name], call.arguments))
        for call in turn.calls
    )
    return msgspec.structs.replace(turn, call=first, more_calls=tuple(more))


def _check_json(at: Place, number: int, call: RecordedCall) -> None:
    try:
        msgspec.json.decode(call.results)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        problem = f"results of {call.name!r:.80} must be JSON, found {call.results!r:.60}: {error}"
        raise at.of_dialogue(problem, number) from error


def _task(located: Located, tools: Mapping[str, ToolSpec]) -> Task:
    dialogue = located.dialogue
    if not dialogue.turns or len(dialogue.turns) % 2:
        raise located.error(
            f"a dialogue has an even number of turns, two at least, not {len(dialogue.turns)}"
        )
    forms = _spoken_forms(dialogue)
    return Task(
        dialogue_id=dialogue.dialogue_id,
        services=tuple(dialogue.services),
        turns=tuple(
            _turn(located, number, tools, forms) for number in range(0, len(dialogue.turns), 2)
        ),
        date=TODAY if dialogue.date is None else _checked_date(located.at, dialogue.date),
    )


def _checked_date(at: Place, day: str) -> str:
    try:
        if date.fromisoformat(day).isoformat() == day:
            return day
    except ValueError:
        pass
    raise at.error(f"expected a date as YYYY-MM-DD, found {day!r:.80}")


_Forms = dict[tuple[str, str, str], dict[str, None]]
"""Spoken forms by service, slot and canonical value, which is not among them; ordered sets."""


def _spoken_forms(dialogue: Dialogue) -> _Forms:
    forms: _Forms = {}
    for turn in dialogue.turns:
        for frame in turn.frames:
            for action in frame.actions:
                if action.values == action.canonical_values:
                    continue
                for value, canonical in zip(action.values, action.canonical_values, strict=False):
                    if value != canonical:
                        key = (frame.service, action.slot, canonical)
                        forms.setdefault(key, {})[value] = None
    return forms


def _turn(located: Located, number: int, tools: Mapping[str, ToolSpec], forms: _Forms) -> Turn:
    user, system = located.dialogue.turns[number : number + 2]
    if not isinstance(user, UserTurn) or not isinstance(system, SystemTurn):
        raise located.error("user and system must take turns, the user first", number)
    frame = _main_frame(located, number + 1, system)
    return Turn(
        user=user.utterance,
        text=system.utterance,
        service=frame.service,
        call=_call(located, number + 1, user, frame, tools, forms),
        values=tuple(
            value
            for each in system.frames
            for value in _values(located, number + 1, system.utterance, each, forms)
        ),
    )


def _main_frame(located: Located, number: int, turn: SystemTurn) -> SystemFrame:
    """Return the frame of a system turn that makes the call, or the first one."""
    if not turn.frames:
        raise located.error("a system turn must have a frame; this one has none", number)
    for frame in turn.frames:
        if frame.service not in located.dialogue.services:
            raise located.error(f"service {frame.service!r} is not one of the dialogue's", number)
    calling = [
        frame
        for frame in turn.frames
        if frame.service_call is not None or frame.service_results is not None
    ]
    if len(calling) > 1:
        raise located.error(
            f"a system turn makes one call at most; this one makes {len(calling)}", number
        )
    return calling[0] if calling else turn.frames[0]


def _call(
    located: Located,
    number: int,
    user: UserTurn,
    frame: SystemFrame,
    tools: Mapping[str, ToolSpec],
    forms: _Forms,
) -> RecordedCall | None:
    call, results = frame.service_call, frame.service_results
    if call is None or results is None:
        if call is not None or results is not None:
            raise located.error("service_call and service_results come together", number)
        return None
    spec = tools.get(tool_name(frame.service, call.method))
    if spec is None:
        raise located.error(f"service {frame.service!r} has no intent {call.method!r}", number)
    unknown = call.parameters.keys() - spec.arguments.keys()
    if unknown:
        raise located.error(f"intent {call.method!r} takes no {sorted(unknown)}", number)
    failed = any(action.act == "NOTIFY_FAILURE" for action in frame.actions)
    return RecordedCall(
        name=spec.name,
        arguments=call.parameters,
        status="failure" if failed else "success",
        results=_ENCODE_JSON(results).decode(),
        forms=_argument_forms(user, frame.service, call.parameters, forms),
    )


def _argument_forms(
    user: UserTurn, service: str, arguments: dict[str, str], forms: _Forms
) -> dict[str, tuple[str, ...]]:
    """Collect how the dialogue says each argument: in the user's state, and where it is marked."""
    states = [frame.state.slot_values for frame in user.frames if frame.service == service]
    state = states[0] if states else {}
    found = {}
    for slot, value in arguments.items():
        spoken = forms.get((service, slot, value), {})
        others = [said for said in state.get(slot, ()) if said != value and said not in spoken]
        if spoken or others:
            found[slot] = (*spoken, *others)
    return found


def _values(
    located: Located, number: int, utterance: str, frame: SystemFrame, forms: _Forms
) -> tuple[SpokenValue, ...]:
    values = []
    for span in frame.slots:
        if not 0 <= span.start < span.exclusive_end <= len(utterance):
            raise located.error(
                f"the span of slot {span.slot!r}, {span.start} to {span.exclusive_end}, lies "
                f"outside its utterance of {len(utterance)} characters",
                number,
            )
        text = utterance[span.start : span.exclusive_end]
        values.append(SpokenValue(span.slot, text, _value_forms(frame, span.slot, text, forms)))
    return tuple(values)


def _value_forms(frame: SystemFrame, slot: str, text: str, forms: _Forms) -> tuple[str, ...]:
    canonical = _canonical_value(frame.actions, slot, text)
    if canonical is None:
        return ()
    spoken = forms.get((frame.service, slot, canonical))
    if spoken is None:
        return () if canonical == text else (canonical,)
    return tuple(form for form in (canonical, *spoken) if form != text)


def _canonical_value(actions: Iterable[DialogueAction], slot: str, text: str) -> str | None:
    for action in actions:
        if action.slot == slot:
            for value, canonical in zip(action.values, action.canonical_values, strict=False):
                if value == text:
                    return canonical
    return None
