"""Dialogues in ConvLab-3's unified format: MultiWOZ 2.1, SGD, KVRET and others.

A record has ``turns`` of the speakers ``user`` and ``system``. The format has no tool calls in
general, so they are read from what a turn of the system carries:

- ``service_call`` (as in SGD): the call as it was made, answered by ``db_results``;
- otherwise ``db_results`` by domain: a query ``find_DOMAIN`` with the constraints of the user's
  latest ``state`` that are not empty;
- ``booked`` by domain, where it grows: a call ``book_DOMAIN`` with the state's slots that begin
  with "book", answered by the new entries.

Schemas are not in these files: they are inferred from the calls.

Source: https://github.com/ConvLab/ConvLab-3/tree/master/data/unified_datasets (README).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from agent_gym_env.corpus.logs.chat import read_date, read_split_name, record_id
from agent_gym_env.corpus.logs.conversation import (
    Conversation,
    ConversationBuilder,
    LoggedCall,
    bad,
    result_json,
)
from agent_gym_env.corpus.reader import Place
from agent_gym_env.corpus.task import SpokenValue

_NO_WISH = ("", None, "dontcare", "don't care", "do not care", "not mentioned")
_Where = Callable[[], Place]
_Call = tuple[str, dict[str, Any], Any]
"""Name, arguments and result of a call."""


def is_unified(record: Mapping[str, Any]) -> bool:
    """Return whether a record is a dialogue in the unified format."""
    turns = record.get("turns")
    return isinstance(turns, list) and all(
        isinstance(turn, dict) and {"speaker", "utterance"} <= turn.keys() and "frames" not in turn
        for turn in turns[:1]
    )


def read_unified(record: Mapping[str, Any], at: Place) -> Conversation:
    """Read a dialogue.

    Args:
        record: the object of the log.
        at: place of the object.

    Raises:
        BadConversationError: it cannot be used; says where and why.
    """
    at = at._replace(dialogue_id=record_id(record, at))
    builder = ConversationBuilder(at)
    state: dict[str, Any] = {}
    booked: dict[str, Any] = {}
    for number, turn in enumerate(record["turns"]):
        where = lambda n=number: at.inside(f".turns[{n}]")  # noqa: E731
        speaker, words = _turn(turn, where)
        if speaker == "user":
            state = _mapping(turn, "state", where) or state
            builder.add_user(words, where)
            continue
        for name, arguments, result in _calls(turn, state, booked, where):
            builder.add_call(LoggedCall(None, name, arguments), where)
            builder.add_result(None, name, result_json(result), where)
        booked = _mapping(turn, "booked", where) or booked
        builder.add_reply(words, where, _spoken(turn, words))
    return builder.build(date=read_date(record, builder.note), split=read_split_name(record))


def _turn(turn: Any, where: _Where) -> tuple[str, str]:
    speaker = turn.get("speaker") if isinstance(turn, dict) else None
    words = turn.get("utterance") if isinstance(turn, dict) else None
    if speaker not in ("user", "system") or not isinstance(words, str):
        problem = f"expected a speaker, user or system, and an utterance, found {turn!r:.80}"
        raise bad("message", problem, where())
    return speaker, words


def _spoken(turn: Mapping[str, Any], words: str) -> list[SpokenValue]:
    """Return the slot values that the annotation marks in an utterance."""
    acts = turn.get("dialogue_acts")
    marked = acts.get("non-categorical") if isinstance(acts, dict) else None
    values = []
    listed = marked if isinstance(marked, list) else []
    for act in (each for each in listed if isinstance(each, dict)):
        start, end = act.get("start"), act.get("end")
        if isinstance(start, int) and isinstance(end, int) and 0 <= start < end <= len(words):
            values.append(SpokenValue(str(act.get("slot", "")), words[start:end]))
    return values


def _mapping(turn: Mapping[str, Any], key: str, where: _Where) -> dict[str, Any]:
    value = turn.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise bad("message", f"{key} must be an object, found {value!r:.60}", where())
    return value


def _calls(
    turn: Mapping[str, Any], state: Mapping[str, Any], booked: Mapping[str, Any], where: _Where
) -> Iterator[_Call]:
    results = _mapping(turn, "db_results", where)
    called = _mapping(turn, "service_call", where)
    if called:
        for service, call in called.items():
            if not isinstance(call, dict) or not isinstance(call.get("method"), str):
                problem = f"expected a method and parameters, found {call!r:.80}"
                raise bad("message", problem, where())
            arguments = call.get("parameters")
            name = f"{service}-{call['method']}"
            yield name, arguments if isinstance(arguments, dict) else {}, results.get(service, [])
        return
    for domain, rows in results.items():
        wishes = state.get(domain)
        yield f"find_{domain}", _wishes(wishes, books=False), rows
    for domain, entries in _mapping(turn, "booked", where).items():
        old = booked.get(domain)
        before = old if isinstance(old, list) else []
        new = [each for each in entries if each not in before] if isinstance(entries, list) else []
        if new:
            yield f"book_{domain}", _wishes(state.get(domain), books=True), new


def _wishes(slots: Any, *, books: bool) -> dict[str, Any]:
    """Return the slots of a domain's state that have a value: those of a booking, or the others."""
    if not isinstance(slots, dict):
        return {}
    return {
        name: value
        for name, value in slots.items()
        if name.startswith("book ") == books and value not in _NO_WISH
    }
