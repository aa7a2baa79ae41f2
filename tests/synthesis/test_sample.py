"""Guarantees of the embedded corpus."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from agent_gym_env.corpus.schema_variants import SchemaVariant
from agent_gym_env.corpus.sgd import SCHEMA_VARIANTS, SPLITS, Dialogue, Intent, Service, Slot
from tests.synthesis.laws import broken_laws

SAMPLE = Path(__file__).parents[2] / "data" / "sample"
MEGABYTE = 10**6


def _services(split: str, top: Path = SAMPLE) -> list[Service]:
    return msgspec.json.decode((top / split / "schema.json").read_bytes(), type=list[Service])


def _dialogues(split: str) -> list[Dialogue]:
    shards = sorted((SAMPLE / split).glob("dialogues_*.json"))
    read = [msgspec.json.decode(shard.read_bytes(), type=list[Dialogue]) for shard in shards]
    return [dialogue for shard in read for dialogue in shard]


SERVICES = {split: _services(split) for split in SPLITS}
DIALOGUES = {split: _dialogues(split) for split in SPLITS}
NAMES = {split: {it.service_name for it in services} for split, services in SERVICES.items()}


def test_it_has_services_domains_and_dialogues_enough() -> None:
    names = set().union(*NAMES.values())
    assert len(names) >= 12
    assert len({name.split("_")[0] for name in names}) >= 8
    assert sum(map(len, DIALOGUES.values())) >= 300


def test_it_is_small() -> None:
    assert sum(file.stat().st_size for file in SAMPLE.rglob("*.json")) < 3.5 * MEGABYTE


@pytest.mark.parametrize("split", ["dev", "test"])
def test_a_split_has_services_that_train_knows_and_others(split: str) -> None:
    assert NAMES[split] & NAMES["train"]
    assert len(NAMES[split] - NAMES["train"]) >= 3
    used = {service for dialogue in DIALOGUES[split] for service in dialogue.services}
    assert used == NAMES[split]


def test_a_service_has_one_schema_in_all_splits() -> None:
    schemas: dict[str, Service] = {}
    for service in (service for services in SERVICES.values() for service in services):
        assert schemas.setdefault(service.service_name, service) == service


def test_services_of_one_dialogue_may_have_intents_of_one_name() -> None:
    intents = {
        service.service_name: {intent.name for intent in service.intents}
        for service in (*SERVICES["train"], *SERVICES["test"])
    }
    shared = [
        dialogue.dialogue_id
        for dialogue in DIALOGUES["train"]
        for one in dialogue.services
        for other in dialogue.services
        if one < other and intents[one] & intents[other]
    ]
    assert shared
    assert "FindRestaurants" in intents["Dining_1"] & intents["Dining_2"]


@pytest.mark.parametrize("split", SPLITS)
def test_every_dialogue_keeps_the_laws_of_the_format(split: str) -> None:
    broken = [law for it in DIALOGUES[split] for law in broken_laws(it, SERVICES[split])]
    assert broken == []


def test_no_two_dialogues_read_alike() -> None:
    texts = [
        tuple(turn.utterance for turn in it.turns) for them in DIALOGUES.values() for it in them
    ]
    assert len(set(texts)) == len(texts)


def test_an_entity_has_the_same_attributes_in_all_dialogues() -> None:
    telephones: dict[tuple[str, str, str], str] = {}
    rows = [
        row
        for them in DIALOGUES.values()
        for dialogue in them
        for turn in dialogue.turns
        for frame in turn.frames
        for row in getattr(frame, "service_results", None) or ()
        if "restaurant_name" in row
    ]
    for row in rows:
        key = (row["restaurant_name"], row["city"], row["street_address"])
        assert telephones.setdefault(key, row["phone_number"]) == row["phone_number"]
    assert len({(name, city) for name, city, _ in telephones}) == len(telephones)


@pytest.mark.parametrize("variant", SCHEMA_VARIANTS)
@pytest.mark.parametrize("split", SPLITS)
def test_a_schema_variant_renames_everything(split: str, variant: str) -> None:
    renamed = _services(split, SAMPLE / "sgd_x" / "data" / variant)
    mapped = SchemaVariant(SERVICES[split], renamed)
    for dialogue in DIALOGUES[split][:5]:
        mapped.rewrite(dialogue)
    for old, new in zip(SERVICES[split], renamed, strict=True):
        assert new.service_name == old.service_name + variant[1:]
        assert new.description != old.description
        pairs: list[tuple[Slot | Intent, Slot | Intent]] = [
            *zip(old.slots, new.slots, strict=True),
            *zip(old.intents, new.intents, strict=True),
        ]
        for before, after in pairs:
            assert after.name != before.name
            assert after.description != before.description
