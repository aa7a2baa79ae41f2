"""A dialogue is renamed into a variant of its schema, and nothing but names changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent_gym_env.corpus.schema_variants import SchemaVariant
from agent_gym_env.corpus.sgd import SCHEMA_VARIANTS, Dialogue, Service
from agent_gym_env.corpus.sgd_reader import Source, open_source, schema_member
from agent_gym_env.errors import DataError

SCHEMA: list[dict[str, Any]] = [
    {
        "service_name": "Kites_1",
        "description": "Sells kites",
        "slots": [
            {
                "name": "intent",
                "description": "What the kite is for",
                "is_categorical": True,
                "possible_values": ["sport", "FindKite"],
            },
            {
                "name": "colour",
                "description": "Colour",
                "is_categorical": False,
                "possible_values": [],
            },
        ],
        "intents": [
            {
                "name": "FindKite",
                "description": "Find a kite",
                "is_transactional": False,
                "required_slots": ["intent"],
                "optional_slots": {"colour": "dontcare"},
                "result_slots": ["intent", "colour"],
            }
        ],
    }
]

DIALOGUE: dict[str, Any] = {
    "dialogue_id": "1_00000",
    "services": ["Kites_1"],
    "turns": [
        {
            "speaker": "USER",
            "utterance": "A red kite for sport, how much?",
            "frames": [
                {
                    "service": "Kites_1",
                    "actions": [
                        {
                            "act": "INFORM_INTENT",
                            "slot": "intent",
                            "values": ["FindKite"],
                            "canonical_values": ["FindKite"],
                        },
                        {
                            "act": "INFORM",
                            "slot": "intent",
                            "values": ["FindKite"],
                            "canonical_values": ["FindKite"],
                        },
                    ],
                    "slots": [{"slot": "colour", "start": 2, "exclusive_end": 5}],
                    "state": {
                        "active_intent": "FindKite",
                        "requested_slots": ["colour"],
                        "slot_values": {"intent": ["sport"], "colour": ["red", "Red"]},
                    },
                }
            ],
        },
        {
            "speaker": "SYSTEM",
            "utterance": "I found 1.",
            "frames": [
                {
                    "service": "Kites_1",
                    "actions": [
                        {
                            "act": "INFORM_COUNT",
                            "slot": "count",
                            "values": ["1"],
                            "canonical_values": ["1"],
                        },
                        {"act": "REQ_MORE", "slot": "", "values": [], "canonical_values": []},
                    ],
                    "slots": [],
                    "service_call": {
                        "method": "FindKite",
                        "parameters": {"intent": "sport", "colour": "red"},
                    },
                    "service_results": [{"intent": "sport", "colour": "red"}],
                }
            ],
        },
    ],
}


def variant_schema() -> list[dict[str, Any]]:
    text = json.dumps(SCHEMA)
    for old, new in (
        ("Kites_1", "Kites_11"),
        ('"name": "intent"', '"name": "purpose"'),
        ('["intent"', '["purpose"'),
        ("colour", "shade"),
        ('"name": "FindKite"', '"name": "SearchKite"'),
    ):
        text = text.replace(old, new)
    variant: list[dict[str, Any]] = json.loads(text)
    return variant


def services(raw: list[dict[str, Any]]) -> list[Service]:
    return msgspec.convert(raw, list[Service])


@pytest.fixture
def renamed() -> Dialogue:
    variant = SchemaVariant(services(SCHEMA), services(variant_schema()))
    return variant.rewrite(msgspec.convert(DIALOGUE, Dialogue))


def test_service_names_are_mapped_by_place() -> None:
    variant = SchemaVariant(services(SCHEMA), services(variant_schema()))
    assert variant.service_names == {"Kites_1": "Kites_11"}
    assert variant.services == services(variant_schema())


def test_the_services_of_dialogue_and_frames_are_renamed(renamed: Dialogue) -> None:
    assert renamed.services == ["Kites_11"]
    assert [frame.service for turn in renamed.turns for frame in turn.frames] == ["Kites_11"] * 2


def test_an_act_about_intents_keeps_its_slot_and_gets_the_new_intent(renamed: Dialogue) -> None:
    action = renamed.turns[0].frames[0].actions[0]
    assert (action.slot, action.values, action.canonical_values) == (
        "intent",
        ["SearchKite"],
        ["SearchKite"],
    )


def test_a_real_slot_called_intent_is_renamed_and_its_values_stay(renamed: Dialogue) -> None:
    action = renamed.turns[0].frames[0].actions[1]
    assert (action.slot, action.values, action.canonical_values) == (
        "purpose",
        ["FindKite"],
        ["FindKite"],
    )


def test_acts_without_a_slot_of_the_schema_stay(renamed: Dialogue) -> None:
    assert [action.slot for action in renamed.turns[1].frames[0].actions] == ["count", ""]


def test_spans_keep_their_characters_under_the_new_slot(renamed: Dialogue) -> None:
    span = renamed.turns[0].frames[0].slots[0]
    assert (span.slot, span.start, span.exclusive_end) == ("shade", 2, 5)


def test_the_state_is_renamed(renamed: Dialogue) -> None:
    frame = msgspec.to_builtins(renamed)["turns"][0]["frames"][0]
    assert frame["state"] == {
        "active_intent": "SearchKite",
        "requested_slots": ["shade"],
        "slot_values": {"purpose": ["sport"], "shade": ["red", "Red"]},
    }


def test_call_and_results_are_renamed_and_their_values_stay(renamed: Dialogue) -> None:
    frame = msgspec.to_builtins(renamed)["turns"][1]["frames"][0]
    arguments = {"purpose": "sport", "shade": "red"}
    assert frame["service_call"] == {"method": "SearchKite", "parameters": arguments}
    assert frame["service_results"] == [arguments]


def test_the_original_dialogue_is_left_as_it_was() -> None:
    dialogue = msgspec.convert(DIALOGUE, Dialogue)
    SchemaVariant(services(SCHEMA), services(variant_schema())).rewrite(dialogue)
    assert dialogue == msgspec.convert(DIALOGUE, Dialogue)


def test_no_active_intent_stays_none() -> None:
    raw = json.loads(json.dumps(DIALOGUE))
    raw["turns"][0]["frames"][0]["state"]["active_intent"] = "NONE"
    variant = SchemaVariant(services(SCHEMA), services(variant_schema()))
    renamed = msgspec.to_builtins(variant.rewrite(msgspec.convert(raw, Dialogue)))
    assert renamed["turns"][0]["frames"][0]["state"]["active_intent"] == "NONE"


@pytest.mark.parametrize("where", ["services", "frame"])
def test_a_service_that_the_schema_lacks_is_a_data_error_with_the_dialogue(where: str) -> None:
    raw = json.loads(json.dumps(DIALOGUE))
    if where == "services":
        raw["services"] = ["Boats_1"]
    else:
        raw["turns"][1]["frames"][0]["service"] = "Boats_1"
    variant = SchemaVariant(services(SCHEMA), services(variant_schema()))
    with pytest.raises(DataError, match="'Boats_1'") as caught:
        variant.rewrite(msgspec.convert(raw, Dialogue))
    assert caught.value.dialogue_id == "1_00000"


def one_service_less(schema: list[dict[str, Any]]) -> None:
    schema.pop()


def one_slot_less(schema: list[dict[str, Any]]) -> None:
    schema[0]["slots"].pop()


def one_intent_more(schema: list[dict[str, Any]]) -> None:
    schema[0]["intents"].append(schema[0]["intents"][0])


def other_values(schema: list[dict[str, Any]]) -> None:
    schema[0]["slots"][0]["possible_values"] = ["sports", "FindKite"]


def transactional(schema: list[dict[str, Any]]) -> None:
    schema[0]["intents"][0]["is_transactional"] = True


def other_required_slot(schema: list[dict[str, Any]]) -> None:
    schema[0]["intents"][0]["required_slots"] = ["shade"]


def other_default(schema: list[dict[str, Any]]) -> None:
    schema[0]["intents"][0]["optional_slots"] = {"shade": "red"}


def one_slot_name_twice(schema: list[dict[str, Any]]) -> None:
    schema[0]["slots"][1]["name"] = "purpose"


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        (one_service_less, ""),
        (one_slot_less, "/0/slots"),
        (one_intent_more, "/0/intents"),
        (other_values, "/0/slots/0"),
        (transactional, "/0/intents/0"),
        (other_required_slot, "/0/intents/0"),
        (other_default, "/0/intents/0"),
        (one_slot_name_twice, "/0/slots"),
    ],
)
def test_a_variant_that_changes_more_than_names_is_refused(change: Any, pointer: str) -> None:
    variant = variant_schema()
    change(variant)
    with pytest.raises(DataError) as caught:
        SchemaVariant(services(SCHEMA), services(variant), file="v1/schema.json")
    assert (caught.value.file, caught.value.pointer) == ("v1/schema.json", pointer)


def test_two_services_must_not_fall_into_one() -> None:
    two = [SCHEMA[0], {**SCHEMA[0], "service_name": "Kites_2"}]
    with pytest.raises(DataError, match="'Kites_11' occurs twice"):
        SchemaVariant(services(two), services([*variant_schema(), *variant_schema()]))


def rename_raw(dialogue: dict[str, Any], old: list[Any], new: list[Any]) -> dict[str, Any]:
    """Another way to the same: walk the JSON, with the rules written out one by one."""
    place = {service["service_name"]: index for index, service in enumerate(old)}

    def slot_name(service: str, name: str) -> str:
        index = place[service]
        names = [slot["name"] for slot in old[index]["slots"]]
        found: str = new[index]["slots"][names.index(name)]["name"] if name in names else name
        return found

    def intent_name(service: str, name: str) -> str:
        index = place[service]
        names = [intent["name"] for intent in old[index]["intents"]]
        found: str = new[index]["intents"][names.index(name)]["name"] if name in names else name
        return found

    copy: dict[str, Any] = json.loads(json.dumps(dialogue))
    copy["services"] = [new[place[service]]["service_name"] for service in copy["services"]]
    for turn in copy["turns"]:
        for frame in turn["frames"]:
            service = frame["service"]
            frame["service"] = new[place[service]]["service_name"]
            for span in frame["slots"]:
                span["slot"] = slot_name(service, span["slot"])
            for action in frame["actions"]:
                if action["act"] in ("INFORM_INTENT", "OFFER_INTENT"):
                    for key in ("values", "canonical_values"):
                        action[key] = [intent_name(service, value) for value in action[key]]
                else:
                    action["slot"] = slot_name(service, action["slot"])
            if "state" in frame:
                state = frame["state"]
                state["active_intent"] = intent_name(service, state["active_intent"])
                state["requested_slots"] = [slot_name(service, s) for s in state["requested_slots"]]
                values = state["slot_values"].items()
                state["slot_values"] = {slot_name(service, s): v for s, v in values}
            if "service_call" in frame:
                call = frame["service_call"]
                call["method"] = intent_name(service, call["method"])
                parameters = call["parameters"].items()
                call["parameters"] = {slot_name(service, s): v for s, v in parameters}
                frame["service_results"] = [
                    {slot_name(service, s): v for s, v in row.items()}
                    for row in frame["service_results"]
                ]
    return copy


def compare(source: Source, split: str, variant_name: str, shards: tuple[str, ...]) -> int:
    old = json.loads(source.read(schema_member(split)))
    new = json.loads(source.read(schema_member(split, variant_name)))
    variant = SchemaVariant(services(old), services(new))
    compared = 0
    for shard in shards:
        for raw in json.loads(source.read(shard)):
            expected = msgspec.convert(rename_raw(raw, old, new), Dialogue)
            assert variant.rewrite(msgspec.convert(raw, Dialogue)) == expected
            compared += 1
    return compared


@pytest.mark.parametrize("variant", SCHEMA_VARIANTS)
def test_a_shard_of_sgd_is_renamed_as_the_rules_say(sgd_path: Path, variant: str) -> None:
    with open_source(sgd_path) as source:
        assert compare(source, "dev", variant, source.shards("dev")[-1:])


@pytest.mark.long
@pytest.mark.parametrize("variant", SCHEMA_VARIANTS)
@pytest.mark.parametrize("split", ["dev", "test"])
def test_whole_splits_of_sgd_are_renamed_as_the_rules_say(
    sgd_path: Path, split: str, variant: str
) -> None:
    with open_source(sgd_path) as source:
        assert compare(source, split, variant, source.shards(split)) > 1000


@pytest.mark.parametrize("split", ["train", "dev", "test"])
@pytest.mark.parametrize("variant", SCHEMA_VARIANTS)
def test_every_variant_of_sgd_fits_its_schema(sgd_path: Path, split: str, variant: str) -> None:
    with open_source(sgd_path) as source:
        old = json.loads(source.read(schema_member(split)))
        new = json.loads(source.read(schema_member(split, variant)))
    assert SchemaVariant(services(old), services(new)).service_names
