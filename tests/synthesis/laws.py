"""Rules that every dialogue of SGD follows, and a function that lists where they are broken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from agent_gym_env.corpus.sgd import (
    Dialogue,
    DialogueAction,
    Service,
    Slot,
    SystemFrame,
    SystemTurn,
    UserFrame,
    UserTurn,
)
from agent_gym_env.values.equality import DONTCARE

_ABOUT_NO_SLOT = ("", "intent", "count")
_TRANSACTION_ACTS = {"NOTIFY_SUCCESS", "NOTIFY_FAILURE"}


def broken_laws(dialogue: Dialogue, services: Sequence[Service]) -> list[str]:
    """Return the laws that a dialogue breaks, with the place of each; empty if it breaks none."""
    schema = {service.service_name: service for service in services}
    found = list(_turn_laws(dialogue))
    for index, turn in enumerate(dialogue.turns):
        for frame in turn.frames:
            slots = {slot.name: slot for slot in schema[frame.service].slots}
            found += [f"turn {index}: {law}" for law in _frame_laws(turn, frame, slots)]
            if isinstance(frame, SystemFrame) and frame.service_call is not None:
                before = dialogue.turns[index - 1]
                laws = _call_laws(frame, before, schema[frame.service])
                found += [f"turn {index}: {law}" for law in laws]
    return [f"{dialogue.dialogue_id} {law}" for law in found]


def _turn_laws(dialogue: Dialogue) -> Iterator[str]:
    if len(dialogue.turns) % 2 or len(dialogue.turns) < 4:
        yield f"has {len(dialogue.turns)} turns"
    for index, turn in enumerate(dialogue.turns):
        if isinstance(turn, UserTurn) != (index % 2 == 0):
            yield f"turn {index}: user and system do not alternate"
        if len(turn.frames) not in ((1, 2) if isinstance(turn, UserTurn) else (1,)):
            yield f"turn {index}: has {len(turn.frames)} frames"
    used = {frame.service for turn in dialogue.turns for frame in turn.frames}
    if used != set(dialogue.services) or len(dialogue.services) != len(used):
        yield "lists other services than it uses"


def _frame_laws(
    turn: UserTurn | SystemTurn, frame: UserFrame | SystemFrame, slots: dict[str, Slot]
) -> Iterator[str]:
    said = {(it.slot, turn.utterance[it.start : it.exclusive_end]) for it in frame.slots}
    if not frame.actions:
        yield "has no acts"
    if any(slots[span.slot].is_categorical for span in frame.slots):
        yield "marks a categorical slot"
    for action in frame.actions:
        if action.slot not in slots and action.slot not in _ABOUT_NO_SLOT:
            yield f"acts on slot {action.slot!r}, which the service lacks"
        if action.slot in slots:
            yield from _value_laws(turn, action, slots[action.slot], said)
    if isinstance(frame, UserFrame):
        asked = sorted(action.slot for action in frame.actions if action.act == "REQUEST")
        if sorted(frame.state.requested_slots) != asked:
            yield f"the state requests {frame.state.requested_slots}, the acts {asked}"
        if any(not forms for forms in frame.state.slot_values.values()):
            yield "the state has a slot without a value"


def _value_laws(
    turn: UserTurn | SystemTurn, action: DialogueAction, slot: Slot, said: set[tuple[str, str]]
) -> Iterator[str]:
    for value, canonical in zip(action.values, action.canonical_values, strict=True):
        if canonical == DONTCARE:
            continue
        if slot.is_categorical and canonical not in slot.possible_values:
            yield f"{canonical!r} is not a value of {slot.name}"
        if not slot.is_categorical and (slot.name, value) not in said:
            yield f"no span marks {value!r} of {slot.name}"
        unsaid = value not in ("True", "False") and value.lower() not in turn.utterance.lower()
        if isinstance(turn, SystemTurn) and unsaid:
            yield f"the system does not say {value!r} of {slot.name}"


def _call_laws(
    frame: SystemFrame, before: UserTurn | SystemTurn, service: Service
) -> Iterator[str]:
    call, results = frame.service_call, frame.service_results
    assert call is not None
    assert results is not None
    [intent] = [intent for intent in service.intents if intent.name == call.method]
    acts = {action.act for action in frame.actions}
    states = [
        it.state
        for it in before.frames
        if isinstance(it, UserFrame) and it.service == frame.service
    ]
    if [state.active_intent for state in states] != [call.method]:
        yield "the call is not of the active intent"
    if missing := set(intent.required_slots) - call.parameters.keys():
        yield f"the call lacks {missing}"
    if undeclared := call.parameters.keys() - {*intent.required_slots, *intent.optional_slots}:
        yield f"the call has {undeclared}, which the intent does not take"
    if DONTCARE in call.parameters.values():
        yield "the call sends dontcare"
    if unknown := call.parameters.keys() - states[0].slot_values.keys():
        yield f"the state lacks {unknown}, which the call sends"
    if len(results) > (1 if intent.is_transactional else 10):
        yield f"there are {len(results)} results"
    for row in results:
        if row.keys() != set(intent.result_slots):
            yield "a result has other slots than the intent"
        if "NOTIFY_FAILURE" not in acts and call.parameters.items() - row.items():
            yield "a result does not match the call"
    for action in frame.actions:
        if action.act == "INFORM_COUNT" and action.values != [str(len(results))]:
            yield "the count is not that of the results"
        if action.act == "OFFER" and results[0][action.slot] != action.canonical_values[0]:
            yield f"offers {action.canonical_values}, which is not in the first result"
    if intent.is_transactional and not acts & _TRANSACTION_ACTS:
        yield "a transaction without outcome"
