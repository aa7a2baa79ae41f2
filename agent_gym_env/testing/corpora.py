"""The promises of a corpus."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date
from os import PathLike
from typing import Any

import msgspec

from agent_gym_env.corpus.corpus import Corpus, Split, open_corpus
from agent_gym_env.corpus.reader import CorpusReader
from agent_gym_env.corpus.sgd import Service
from agent_gym_env.corpus.task import RecordedCall, Task, Turn
from agent_gym_env.corpus.tool_specs import FunctionTool, ToolSpec
from agent_gym_env.envs.spaces import is_unicode
from agent_gym_env.testing.conformance import Check
from agent_gym_env.tools.validation import ToolCatalogue

_decode_rows = msgspec.json.Decoder(list[dict[str, str]]).decode
_decode_any = msgspec.json.Decoder().decode


def check_corpus(
    corpus: str | PathLike[str] | CorpusReader | Corpus,
    *,
    splits: Sequence[str] | None = None,
    dialogues: int | None = None,
    exceptions: Collection[str] = (),
) -> None:
    """Check that a corpus can be played: its ids, texts, schemas and recorded calls.

    Args:
        corpus: a corpus, or its name, path or reader as in
            `agent_gym_env.corpus.corpus.open_corpus`.
        splits: the splits to check; ``None`` for all.
        dialogues: how many dialogues of each split are read, spread evenly; ``None`` for all.
        exceptions: ids of dialogues whose recorded calls may break their schema. In SGD's train
            split 18 recorded calls lack a required argument.

    Raises:
        ConformanceError: a promise is broken.

    Examples:
        >>> check_corpus("sample")
    """
    promise = "its files are in order"
    check = Check("corpus", str(getattr(corpus, "name", corpus)))
    opened = corpus if isinstance(corpus, Corpus) else check.call(promise, "", open_corpus, corpus)
    names = check.call(promise, "", opened.splits)
    check.require(bool(names), "has a split", "one of train, dev and test at least", names)
    for each in names if splits is None else splits:
        split = check.call(promise, f"split {each}", opened.split, each)
        check.call(promise, f"split {each}", _check_split, check, split, dialogues, exceptions)


def _check_split(
    check: Check, split: Split, dialogues: int | None, exceptions: Collection[str]
) -> None:
    where = f"split {split.name}"
    ids = split.dialogue_ids()
    twice = [each for each, count in Counter(ids).items() if count > 1]
    check.require(not twice, "ids are unique in a split", "each id once", twice, where)
    promise = "ids and dialogues belong together"
    check.require(len(ids) == len(split) > 0, promise, f"{len(split)} ids", len(ids), where)
    _check_schema(check, split.schema, where)
    _check_functions(check, split.functions, where)
    count = len(ids) if dialogues is None else min(dialogues, len(ids))
    places = [number * len(ids) // count for number in range(count)]
    read = {}
    for place in places:
        inside = f"{where}, dialogue {ids[place]}"
        task = check.call("dialogues are read in any order", inside, split.task, place)
        found = (task.dialogue_id, split.index(ids[place]))
        check.require(found == (ids[place], place), promise, f"index {place}", found, inside)
        _check_task(check, split, task, inside)
        if task.dialogue_id not in exceptions:
            _check_recorded_calls(check, split.tools, task, inside)
        read[place] = msgspec.msgpack.encode(task)
    random.Random(0).shuffle(places)
    for place in places:
        again = msgspec.msgpack.encode(split.task(place))
        inside = f"{where}, dialogue {ids[place]}"
        promise = "dialogues are read in any order"
        check.require(again == read[place], promise, "the same dialogue", "another one", inside)


def _check_schema(check: Check, services: Sequence[Service], where: str) -> None:
    promise = "schemas are valid"
    _require_unique(check, [each.service_name for each in services], "service", where)
    for service in services:
        inside = f"{where}, service {service.service_name}"
        slots = {slot.name: slot for slot in service.slots}
        _require_unique(check, [slot.name for slot in service.slots], "slot", inside)
        _require_unique(check, [intent.name for intent in service.intents], "intent", inside)
        for slot in service.slots:
            holds = bool(slot.possible_values) or not slot.is_categorical
            check.require(
                holds, promise, f"possible values for the slot {slot.name!r}", "none", inside
            )
        for intent in service.intents:
            taken = [*intent.required_slots, *intent.optional_slots]
            _require_unique(check, taken, f"argument of intent {intent.name}", inside)
            unknown = sorted({*taken, *intent.result_slots} - slots.keys())
            expected = f"slots of the service in intent {intent.name!r}"
            check.require(not unknown, promise, expected, unknown, inside)


def _check_functions(check: Check, functions: Sequence[FunctionTool], where: str) -> None:
    _require_unique(check, [each.key for each in functions], "tool of a log", where)
    for function in functions:
        inside = f"{where}, function {function.key}"
        _require_unique(check, [function.name], "tool of a log", inside)
        kind = function.parameters.get("type")
        check.require(
            kind == "object", "schemas are valid", "an object's as parameters", kind, inside
        )


def _require_unique(check: Check, names: Sequence[str], kind: str, where: str) -> None:
    holds = all(names) and len(set(names)) == len(names)
    check.require(holds, "schemas are valid", f"a unique name for each {kind}", names, where)


def _check_task(check: Check, split: Split, task: Task, where: str) -> None:
    promise = "services are those of the schema"
    services = {*task.services}
    # A conversation of a log may have no tools, and a turn of it be about none.
    is_log = not split.schema
    known = (is_log or bool(services)) and services <= {*split.services}
    check.require(known, promise, f"services among {split.services}", task.services, where)
    about = {*services, ""} if is_log else services
    strays = [turn.service for turn in task.turns if turn.service not in about]
    check.require(not strays, promise, f"turns about {task.services}", strays, where)
    check.require(bool(task.turns), "a dialogue has turns", "one turn at least", 0, where)
    if task.date is not None:
        check.call("the date is ISO", where, date.fromisoformat, task.date)
    for index, turn in enumerate(task.turns):
        inside = f"{where}, turn {index}"
        strange = [text for text in _texts(turn) if not is_unicode(text)]
        promise = "texts can be written as UTF-8"
        check.require(not strange, promise, "text without lone surrogates", strange, inside)
        unsaid = [value.text for value in turn.values if value.text not in turn.text]
        promise = "a reply says its slot values"
        check.require(not unsaid, promise, f"values inside {turn.text!r}", unsaid, inside)


def _texts(turn: Turn) -> Iterator[str]:
    yield from (turn.user, turn.text)
    for value in turn.values:
        yield from (value.text, *value.forms)
    for call in turn.calls:
        yield from (call.results, *_texts_in(call.arguments))


def _texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        yield from _texts_in([*value.values()])
    elif isinstance(value, list):
        for each in value:
            yield from _texts_in(each)


def _check_recorded_calls(
    check: Check, tools: Mapping[str, ToolSpec], task: Task, where: str
) -> None:
    offered = {spec.name: spec for spec in tools.values() if spec.service in task.services}
    catalogue = ToolCatalogue(offered)
    for index, turn in enumerate(task.turns):
        for call in turn.calls:
            _check_recorded_call(check, catalogue, call, f"{where}, turn {index}")


def _check_recorded_call(
    check: Check, catalogue: ToolCatalogue, call: RecordedCall, where: str
) -> None:
    promise = "recorded calls are calls of the schema's tools"
    spec = catalogue.tools.get(call.name)
    if spec is not None and spec.parameters is not None:
        # The model that was logged may have broken the schema; its call is answered as it was.
        check.call("recorded results are JSON", where, _decode_any, call.results)
        return
    problem = (
        f"unknown_tool: {call.name}" if spec is None else catalogue.problem(spec, call.arguments)
    )
    expected = "a call that its schema allows, or its dialogue among `exceptions`"
    check.require(problem is None, promise, expected, problem, where)
    check.call("recorded results are rows of texts", where, _decode_rows, call.results)
