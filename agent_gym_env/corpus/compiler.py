"""From a split's shards to its compiled store, one shard in memory at a time."""

from __future__ import annotations

import hashlib
import re
import warnings
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from agent_gym_env.corpus.entities import EntityTableBuilder
from agent_gym_env.corpus.goals import read_goal
from agent_gym_env.corpus.schema_variants import SchemaVariant
from agent_gym_env.corpus.sgd import (
    TODAY,
    Dialogue,
    DialogueAction,
    Intent,
    Service,
    Slot,
    SystemFrame,
    SystemTurn,
    UserTurn,
)
from agent_gym_env.corpus.source import Source, schema_member
from agent_gym_env.corpus.store import STORE_FORMAT, Header, StoreWriter
from agent_gym_env.corpus.task import RecordedCall, SpokenValue, Task, Turn
from agent_gym_env.corpus.tool_specs import ToolSpec, refused_names, tool_name, tool_specs
from agent_gym_env.errors import DataError
from agent_gym_env.storage.files import as_utf8, written_whole
from agent_gym_env.suggestions import explained
from agent_gym_env.values.words import words

_T = TypeVar("_T")
_SHARD = msgspec.json.Decoder(list[msgspec.Raw])
_DIALOGUE = msgspec.json.Decoder(Dialogue)
_UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_SCHEMA = msgspec.json.Decoder(list[Service])
_ENCODE_TASK = msgspec.msgpack.Encoder().encode
_ENCODE_GOAL = msgspec.msgpack.Encoder().encode
_ENCODE_JSON = msgspec.json.Encoder().encode


class WordCounts(msgspec.Struct, frozen=True):
    """In how many of a split's system utterances each word stands, and how many there are."""

    documents: int
    frequency: dict[str, int]


def compile_split(
    source: Source,
    split: str,
    path: Path,
    *,
    schema_variant: str | None = None,
    on_shard: Callable[[int, int], None] | None = None,
) -> None:
    """Compile a split into a store.

    Args:
        source: where the corpus lies.
        split: ``train``, ``dev`` or ``test``.
        path: the store to write; it appears when it is complete.
        schema_variant: ``v1`` to ``v5`` to rewrite the dialogues into that schema of SGD-X.
        on_shard: called with the number of shards done and the number of all.

    Raises:
        DataError: a file is missing, or does not hold what the format promises.
        StorageError: the disk does not take the store.
    """
    stamp = source.stamp()
    digest = hashlib.sha256()
    services, variant = _schema(source, split, schema_variant, digest.update)
    shards = source.shards(split)
    if not shards:
        raise DataError(
            f"split {split!r} has no shards {split}/dialogues_NNN.json", file=source.name
        )
    compiler = _SplitCompiler(services)
    refused = refused_names(tool_specs(services))
    if refused:
        warnings.warn(
            f"{source.locate(schema_member(split, schema_variant))}: {len(refused)} tools have "
            f"names that providers of language models refuse, the first {refused[0]!r:.80}: a "
            "service, a hyphen and an intent should be 1 to 64 letters of ASCII, digits, '_' and "
            "'-' together. Models of your own and other policies play them as they are",
            stacklevel=2,
        )
    with written_whole(path) as file:
        writer = StoreWriter(file)
        for done, shard in enumerate(shards, start=1):
            data = source.read(shard)
            digest.update(data)
            for task in compiler.tasks(_dialogues(data, source.locate(shard), variant)):
                compiler.note_offset(writer.write(_ENCODE_TASK(task)))
            if on_shard is not None:
                on_shard(done, len(shards))
        if not compiler.ids:
            raise DataError(f"the shards of split {split!r} hold no dialogue", file=source.name)
        writer.end_section("tasks")
        for name, section in compiler.sections():
            writer.write(section)
            writer.end_section(name)
        writer.finish(
            Header(
                format=STORE_FORMAT,
                stamp=stamp,
                fingerprint=digest.hexdigest(),
                split=split,
                schema_variant=schema_variant,
                dialogues=len(compiler.ids),
                turns=compiler.turns,
                services=tuple(service.service_name for service in services),
                seen_services=_train_services(source, variant),
            )
        )


def source_fingerprint(source: Source, split: str, schema_variant: str | None = None) -> str:
    """Compute the fingerprint that a store of these files carries, from all their bytes."""
    digest = hashlib.sha256()
    _schema(source, split, schema_variant, digest.update)
    for shard in source.shards(split):
        digest.update(source.read(shard))
    return digest.hexdigest()


def read_schema(source: Source, split: str, schema_variant: str | None = None) -> list[Service]:
    """Read the services of a split, under their names in a schema variant if one is asked for."""
    return _schema(source, split, schema_variant, lambda _: None)[0]


def _schema(
    source: Source, split: str, schema_variant: str | None, on_bytes: Callable[[bytes], None]
) -> tuple[list[Service], SchemaVariant | None]:
    original = _services(source, schema_member(split), on_bytes)
    if schema_variant is None:
        return original, None
    member = schema_member(split, schema_variant)
    rewritten = _services(source, member, on_bytes)
    variant = SchemaVariant(original, rewritten, file=source.locate(member))
    return variant.services, variant


def _services(source: Source, member: str, on_bytes: Callable[[bytes], None]) -> list[Service]:
    data = source.read(member)
    on_bytes(data)
    at = _Place(source.locate(member))
    services = _decode(_SCHEMA, as_utf8(data, at.file), at)
    for place, service in enumerate(services):
        slots = {slot.name for slot in service.slots}
        for number, intent in enumerate(service.intents):
            unknown = {*intent.required_slots, *intent.optional_slots} - slots
            if unknown:
                raise at.inside(f"[{place}].intents[{number}]").error(
                    f"intent {intent.name!r} takes {sorted(unknown)}, which are no slots of "
                    f"{service.service_name!r}"
                )
        _refuse_repeated(at.inside(f"[{place}].intents"), "intent", service.intents)
        _refuse_repeated(at.inside(f"[{place}].slots"), "slot", service.slots)
    _refuse_repeated(at, "service", services)
    _refuse_empty_names(at, services)
    return services


def _refuse_repeated(at: _Place, what: str, things: Sequence[Service | Intent | Slot]) -> None:
    names = Counter(thing.service_name if isinstance(thing, Service) else thing.name
                    for thing in things)  # fmt: skip
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise at.error(f"more than one {what} is named {twice[0]!r}")


def _refuse_empty_names(at: _Place, services: Sequence[Service]) -> None:
    for place, service in enumerate(services):
        if not service.service_name.strip():
            raise at.inside(f"[{place}].service_name").error("a service needs a name")
        for number, intent in enumerate(service.intents):
            if not intent.name.strip():
                raise at.inside(f"[{place}].intents[{number}].name").error("an intent needs a name")


def _train_services(source: Source, variant: SchemaVariant | None) -> tuple[str, ...] | None:
    """Name the services of train, those of this split as the split's variant does."""
    if "train" not in source.splits():
        return None
    renamed = {} if variant is None else variant.service_names
    names = [service.service_name for service in read_schema(source, "train")]
    return tuple(renamed.get(name, name) for name in names)


def _decode(decoder: msgspec.json.Decoder[_T], data: bytes | msgspec.Raw, at: _Place) -> _T:
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        problem, path = explained(error, decoder.type)
        if not path and _are_json_lines(data):
            problem = (
                "expected a list, found JSON lines; write [ before the first line, a comma after "
                "each but the last, and ] at the end"
            )
        raise at.inside(path).error(problem) from error
    except _UNDECODABLE as error:
        raise at.error(f"this is not JSON: {_with_line(str(error), data)}") from error


def _are_json_lines(data: bytes | msgspec.Raw) -> bool:
    """Tell an object on each of several lines from one object on many."""
    lines = [line for line in bytes(data).splitlines() if line.strip()]
    try:
        return len(lines) > 1 and isinstance(msgspec.json.decode(lines[0]), dict)
    except _UNDECODABLE:
        return False


def _with_line(problem: str, data: bytes | msgspec.Raw) -> str:
    """Write the line and column of the byte that a message names."""
    content = bytes(data)

    def place(byte: re.Match[str]) -> str:
        before = content[: int(byte[1])]
        return f"(line {before.count(10) + 1}, column {len(before) - before.rfind(10)})"

    said = re.sub(r"\(byte (\d+)\)", place, problem.removeprefix("JSON is malformed: "))
    return f"{said}; it begins with {content.lstrip()[:20]!r}"


class _Place(NamedTuple):
    """Where something was read, for messages."""

    file: str
    pointer: str = ""
    dialogue_id: str | None = None

    def inside(self, path: str) -> _Place:
        """Go on along msgspec's notation of a path, for example ``.turns[3].frames``."""
        pointer = re.sub(r"\.(\w+)|\[([\d.]+)\]", lambda part: f"/{part[1] or part[2]}", path)
        return self._replace(pointer=self.pointer + pointer)

    def error(self, problem: str) -> DataError:
        turn = re.match(r"/\d+/turns/(\d+)", self.pointer)
        return DataError(
            problem,
            file=self.file,
            dialogue_id=self.dialogue_id,
            turn=None if turn is None else int(turn[1]),
            pointer=self.pointer or None,
        )


class _Located(NamedTuple):
    """A dialogue and where it was read."""

    dialogue: Dialogue
    at: _Place

    def error(self, problem: str, turn: int | None = None) -> DataError:
        return self.at.inside("" if turn is None else f".turns[{turn}]").error(problem)


class _Named(msgspec.Struct):
    dialogue_id: str


def _dialogues(data: bytes, file: str, variant: SchemaVariant | None) -> Iterator[_Located]:
    """Read a shard dialogue by dialogue: what dies young costs the garbage collector nothing."""
    shard: list[msgspec.Raw] = _decode(_SHARD, as_utf8(data, file), _Place(file))
    for number, raw in enumerate(shard):
        at = _Place(file, f"/{number}")
        try:
            dialogue = _DIALOGUE.decode(raw)
        except _UNDECODABLE:
            named = _decode(msgspec.json.Decoder(_Named), raw, at)
            dialogue = _decode(_DIALOGUE, raw, at._replace(dialogue_id=named.dialogue_id))
        located = _Located(dialogue, at._replace(dialogue_id=dialogue.dialogue_id))
        yield located if variant is None else _rewritten(located, variant)


def _rewritten(located: _Located, variant: SchemaVariant) -> _Located:
    try:
        return located._replace(dialogue=variant.rewrite(located.dialogue))
    except DataError as error:
        raise located.error(error.problem) from error


class _SplitCompiler:
    """Gathers, while dialogues stream by, what a store says about all of them."""

    def __init__(self, services: list[Service]) -> None:
        self.ids: dict[str, None] = {}
        self.turns = 0
        self._services = services
        self._tools = tool_specs(services)
        self._bits = {service.service_name: 1 << bit for bit, service in enumerate(services)}
        self._mask_size = (len(services) + 7) // 8
        self._masks = bytearray()
        self._offsets = array("Q", [0])
        self._frequency: Counter[bytes] = Counter()
        self._entities = EntityTableBuilder()
        self._goals = bytearray()
        self._goal_offsets = array("Q", [0])

    def tasks(self, dialogues: Iterable[_Located]) -> Iterator[Task]:
        for located in dialogues:
            dialogue = located.dialogue
            if dialogue.dialogue_id in self.ids:
                raise located.error("this dialogue_id stands twice in the split")
            self.ids[dialogue.dialogue_id] = None
            self._masks += self._mask(located).to_bytes(self._mask_size, "little")
            task = _task(located, self._tools)
            self.turns += len(task.turns)
            for turn in task.turns:
                self._frequency.update(set(words(turn.text)))
            self._note_entities(dialogue)
            self._goals += _ENCODE_GOAL(read_goal(dialogue, self._tools))
            self._goal_offsets.append(len(self._goals))
            yield task

    def note_offset(self, offset: int) -> None:
        self._offsets.append(offset)

    def _mask(self, located: _Located) -> int:
        mask = 0
        for service in located.dialogue.services:
            if service not in self._bits:
                raise located.error(f"service {service!r} is not in the split's schema.json")
            mask |= self._bits[service]
        return mask

    def _note_entities(self, dialogue: Dialogue) -> None:
        for turn in dialogue.turns[1::2]:
            frame = turn.frames[0]
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
        yield "schema", encode(self._services)
        yield "words", encode(WordCounts(self.turns, frequency))
        yield "entities", self._entities.encode(self._tools)
        yield "goals", bytes(self._goals)
        yield "goal_offsets", self._goal_offsets.tobytes()


def _task(located: _Located, tools: Mapping[str, ToolSpec]) -> Task:
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
        date=TODAY,
    )


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


def _turn(located: _Located, number: int, tools: Mapping[str, ToolSpec], forms: _Forms) -> Turn:
    user, system = located.dialogue.turns[number : number + 2]
    if not isinstance(user, UserTurn) or not isinstance(system, SystemTurn):
        raise located.error("user and system must take turns, the user first", number)
    if len(system.frames) != 1:
        raise located.error(
            f"a system turn must have one frame; this one has {len(system.frames)}", number + 1
        )
    frame = system.frames[0]
    if frame.service not in located.dialogue.services:
        raise located.error(f"service {frame.service!r} is not one of the dialogue's", number + 1)
    return Turn(
        user=user.utterance,
        text=system.utterance,
        service=frame.service,
        call=_call(located, number + 1, user, frame, tools, forms),
        values=_values(located, number + 1, system.utterance, frame, forms),
    )


def _call(
    located: _Located,
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
    located: _Located, number: int, utterance: str, frame: SystemFrame, forms: _Forms
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
