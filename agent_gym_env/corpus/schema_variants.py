"""Rewrites dialogues into a schema variant of SGD-X, which has other names for the same schema.

A variant lists the same services, slots and intents in the same order under other names, so their
places in the lists give the map. Only names change: words, spans and values stay as they are.

Source: Lee et al., "SGD-X: A Benchmark for Robust Generalization in Schema-Guided Dialogue
Systems", 2022, and ``sgd_x/generate_sgdx_dialogues.py`` of the dataset's repository.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

from agent_gym_env.corpus.sgd import (
    Dialogue,
    DialogueAction,
    DialogueState,
    Intent,
    Service,
    ServiceCall,
    Slot,
    SlotSpan,
    SystemFrame,
    SystemTurn,
    UserFrame,
    UserTurn,
)
from agent_gym_env.errors import DataError

_ACTS_ABOUT_INTENTS = ("INFORM_INTENT", "OFFER_INTENT")
"""Their slot is the word "intent", their values are intents. Homes_2 has a real slot "intent"."""

_V = TypeVar("_V")


class _Names(NamedTuple):
    """New names of one service, by old name."""

    service: str
    slots: dict[str, str]
    intents: dict[str, str]


class SchemaVariant:
    """The map from a schema to its variant.

    Attributes:
        services: the variant's services.
        service_names: the variant's service name by the original one.

    Raises:
        DataError: the two schemas differ in more than names and descriptions.
    """

    def __init__(
        self, original: Sequence[Service], variant: Sequence[Service], *, file: str | None = None
    ) -> None:
        """Build the map.

        Args:
            original: the services of the schema that the dialogues use.
            variant: the same services under other names.
            file: path of the variant's schema, for messages.
        """
        _check_same(len(original), len(variant), "number of services", file, "")
        self.services = list(variant)
        self._names = {
            old.service_name: _names(old, new, file, f"/{index}")
            for index, (old, new) in enumerate(zip(original, variant, strict=True))
        }
        self.service_names = _one_to_one(
            [service.service_name for service in original],
            [service.service_name for service in variant],
            "service",
            file,
            "",
        )

    def rewrite(self, dialogue: Dialogue) -> Dialogue:
        """Return the dialogue under the variant's schema.

        Raises:
            DataError: it uses a service that the original schema does not have.
        """
        try:
            services = [self.service_names[service] for service in dialogue.services]
            turns = [self._turn(turn) for turn in dialogue.turns]
        except KeyError as error:
            raise DataError(
                f"service {error.args[0]!r} is not in the schema", dialogue_id=dialogue.dialogue_id
            ) from error
        return Dialogue(dialogue.dialogue_id, services, turns, dialogue.date)

    def _turn(self, turn: UserTurn | SystemTurn) -> UserTurn | SystemTurn:
        if isinstance(turn, UserTurn):
            return UserTurn(turn.utterance, [self._user_frame(frame) for frame in turn.frames])
        return SystemTurn(turn.utterance, [self._system_frame(frame) for frame in turn.frames])

    def _user_frame(self, frame: UserFrame) -> UserFrame:
        names = self._names[frame.service]
        state = frame.state
        return UserFrame(
            names.service,
            _renamed_actions(frame.actions, names),
            _renamed_spans(frame.slots, names.slots),
            DialogueState(
                names.intents.get(state.active_intent, state.active_intent),
                _renamed(state.requested_slots, names.slots),
                _renamed_keys(state.slot_values, names.slots),
            ),
        )

    def _system_frame(self, frame: SystemFrame) -> SystemFrame:
        names = self._names[frame.service]
        call, results = frame.service_call, frame.service_results
        return SystemFrame(
            names.service,
            _renamed_actions(frame.actions, names),
            _renamed_spans(frame.slots, names.slots),
            None if call is None else _renamed_call(call, names),
            None if results is None else [_renamed_keys(row, names.slots) for row in results],
        )


def _renamed_actions(actions: list[DialogueAction], names: _Names) -> list[DialogueAction]:
    return [_renamed_action(action, names) if action.slot else action for action in actions]


def _renamed_action(action: DialogueAction, names: _Names) -> DialogueAction:
    if action.act in _ACTS_ABOUT_INTENTS:
        return DialogueAction(
            action.act,
            action.slot,
            _renamed(action.values, names.intents),
            _renamed(action.canonical_values, names.intents),
        )
    slot = names.slots.get(action.slot, action.slot)
    return DialogueAction(action.act, slot, action.values, action.canonical_values)


def _renamed_spans(spans: list[SlotSpan], slots: dict[str, str]) -> list[SlotSpan]:
    return [
        SlotSpan(slots.get(span.slot, span.slot), span.start, span.exclusive_end) for span in spans
    ]


def _renamed_call(call: ServiceCall, names: _Names) -> ServiceCall:
    method = names.intents.get(call.method, call.method)
    return ServiceCall(method, _renamed_keys(call.parameters, names.slots))


def _renamed(old_names: list[str], new_names: dict[str, str]) -> list[str]:
    return [new_names.get(name, name) for name in old_names]


def _renamed_keys(values: Mapping[str, _V], new_names: dict[str, str]) -> dict[str, _V]:
    return {new_names.get(key, key): value for key, value in values.items()}


def _names(old: Service, new: Service, file: str | None, at: str) -> _Names:
    _check_same(len(old.slots), len(new.slots), "number of slots", file, f"{at}/slots")
    _check_same(len(old.intents), len(new.intents), "number of intents", file, f"{at}/intents")
    old_slots, new_slots = [s.name for s in old.slots], [s.name for s in new.slots]
    old_intents, new_intents = [i.name for i in old.intents], [i.name for i in new.intents]
    names = _Names(
        new.service_name,
        _one_to_one(old_slots, new_slots, "slot", file, f"{at}/slots"),
        _one_to_one(old_intents, new_intents, "intent", file, f"{at}/intents"),
    )
    for index, (old_slot, new_slot) in enumerate(zip(old.slots, new.slots, strict=True)):
        pointer = f"{at}/slots/{index}"
        _check_same(_slot_shape(old_slot), _slot_shape(new_slot), "values", file, pointer)
    for index, (old_intent, new_intent) in enumerate(zip(old.intents, new.intents, strict=True)):
        pointer = f"{at}/intents/{index}"
        old_shape, new_shape = _intent_shape(old_intent, old), _intent_shape(new_intent, new)
        _check_same(old_shape, new_shape, "signature", file, pointer)
    return names


def _slot_shape(slot: Slot) -> object:
    """Return the parts of a slot that a variant keeps."""
    return slot.is_categorical, slot.possible_values


def _intent_shape(intent: Intent, service: Service) -> object:
    """Return the parts of an intent that a variant keeps, with places of slots for names."""
    place = {slot.name: index for index, slot in enumerate(service.slots)}
    return (
        intent.is_transactional,
        [place.get(slot) for slot in intent.required_slots],
        {place.get(slot): value for slot, value in intent.optional_slots.items()},
        [place.get(slot) for slot in intent.result_slots],
    )


def _check_same(old: object, new: object, what: str, file: str | None, at: str) -> None:
    if old != new:
        raise DataError(
            f"the variant's {what}: found {new}, expected {old} as in the original schema; "
            "a variant may change names and descriptions only",
            file=file,
            pointer=at,
        )


def _one_to_one(
    old_names: list[str], new_names: list[str], what: str, file: str | None, at: str
) -> dict[str, str]:
    """Return the map from old to new names.

    Raises:
        DataError: a name occurs twice, so that two slots would share a key.
    """
    for names in (old_names, new_names):
        repeated = [name for name, count in Counter(names).items() if count > 1]
        if repeated:
            raise DataError(f"{what} name {repeated[0]!r} occurs twice", file=file, pointer=at)
    return dict(zip(old_names, new_names, strict=True))
