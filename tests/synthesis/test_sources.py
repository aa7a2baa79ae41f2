from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent_gym_env.errors import DataError
from agent_gym_env.synthesis.sources import read_entities, read_schema
from tests.synthesis.bakery import BAKERY, ENTITIES, SERVICES


def _schema() -> list[Any]:
    return msgspec.to_builtins(SERVICES)  # type: ignore[no-any-return]


def _entities() -> dict[str, Any]:
    return {"services": msgspec.to_builtins(ENTITIES)}


def _read_schema(tmp_path: Path, schema: object) -> None:
    file = tmp_path / "schema.json"
    file.write_text(json.dumps(schema))
    read_schema(file)


def _read_entities(tmp_path: Path, entities: object) -> None:
    file = tmp_path / "entities.json"
    file.write_text(json.dumps(entities))
    read_entities(file, SERVICES)


def _set(document: Any, pointer: str, value: object) -> Any:
    *way, last = pointer.strip("/").split("/")
    place = document
    for step in way:
        place = place[int(step)] if isinstance(place, list) else place.setdefault(step, {})
    place[int(last) if isinstance(place, list) else last] = value
    return document


def test_sound_files_are_read_as_they_are(tmp_path: Path) -> None:
    _read_schema(tmp_path, _schema())
    file = tmp_path / "entities.json"
    file.write_text(json.dumps(_entities()))
    assert read_entities(file, SERVICES) == ENTITIES


def test_a_service_without_an_entry_has_an_empty_one(tmp_path: Path) -> None:
    file = tmp_path / "entities.json"
    file.write_text(json.dumps({"services": {"Bakery_1": _entities()["services"]["Bakery_1"]}}))
    assert set(read_entities(file, [BAKERY])) == {"Bakery_1"}
    with pytest.raises(DataError, match="no value of slot 'town' is known"):
        read_entities(file, SERVICES)


@pytest.mark.parametrize(
    ("pointer", "value", "where", "message"),
    [
        ("/0/slots/0/colour", "red", "/0/slots/0", "unknown field"),
        ("/0/intents/0/required_slots/0", "taste", "/0/intents/0", "'taste', not declared"),
        ("/0/slots/0/possible_values", [], "/0/slots/0", "lists no values"),
        ("/1/intents", [], "/1/intents", "at least one intent"),
        ("/1/service_name", 7, "/1/service_name", "expected a string"),
    ],
)
def test_a_bad_schema_is_told_with_its_place(
    tmp_path: Path, pointer: str, value: object, where: str, message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        _read_schema(tmp_path, _set(_schema(), pointer, value))
    assert caught.value.pointer == where
    assert caught.value.file == str(tmp_path / "schema.json")


CAKE = "/services/Bakery_1"


@pytest.mark.parametrize(
    ("pointer", "value", "where", "message"),
    [
        ("/service", {}, None, "unknown field"),
        (f"{CAKE}/nmae_slot", "x", CAKE, "unknown field"),
        (f"{CAKE}/name_slot", "title", f"{CAKE}/name_slot", "found 'title'"),
        (f"{CAKE}/rows/1/flavor", "mint", f"{CAKE}/rows/1/flavor", "one of lemon, plum"),
        (f"{CAKE}/rows/1/icing", "mint", f"{CAKE}/rows/1", "differs in icing"),
        (f"{CAKE}/rows/0/price", " 7", f"{CAKE}/rows/0/price", "blanks"),
        (f"{CAKE}/rows/0/price", 7, f"{CAKE}/rows/0", "expected a string"),
        (f"{CAKE}/slots/icing", {}, f"{CAKE}/slots/icing", "not a slot"),
        (f"{CAKE}/slots/town/inform", ["in it"], f"{CAKE}/slots/town/inform/0", "must say"),
        (f"{CAKE}/slots/town/inform", ["in [{}"], f"{CAKE}/slots/town/inform/0", "pair up"),
        (
            f"{CAKE}/slots/town/request",
            ["{x}?"],
            f"{CAKE}/slots/town/request/0",
            "unknown placeholder",
        ),
        (
            f"{CAKE}/slots/town/reqest",
            ["x?"],
            f"{CAKE}/slots/town",
            "did you mean 'request'",
        ),
        (f"{CAKE}/slots/flavor/values", ["mint"], f"{CAKE}/slots/flavor/values", "expected one of"),
        (
            f"{CAKE}/slots/flavor/tell",
            {"mint": ["{}"]},
            f"{CAKE}/slots/flavor/tell/mint",
            "expected one of",
        ),
        (f"{CAKE}/slots/town/kind", "date", f"{CAKE}/slots/town/kind", "'Aville' .* not a date"),
        (
            f"{CAKE}/slots/town/kind",
            "place",
            f"{CAKE}/slots/town/kind",
            "expected one of boolean",
        ),
        (f"{CAKE}/intents/Bake", {}, f"{CAKE}/intents/Bake", "not an intent"),
        (
            f"{CAKE}/intents/OrderCake/after",
            "OrderCake",
            f"{CAKE}/intents/OrderCake/after",
            "search",
        ),
        (f"{CAKE}/intents/FindCakes/after", "FindCakes", f"{CAKE}/intents/FindCakes/after", "back"),
        (
            f"{CAKE}/intents/FindCakes/offer",
            ["{pieces}"],
            f"{CAKE}/intents/FindCakes/offer/0",
            "unknown placeholder",
        ),
        (f"{CAKE}/rows", [], f"{CAKE}/rows", "searches them"),
        ("/services/Courier_1/slots", {}, "/services/Courier_1/slots/town", "no value of slot"),
    ],
)
def test_bad_entities_are_told_with_their_place(
    tmp_path: Path, pointer: str, value: object, where: str | None, message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        _read_entities(tmp_path, _set(_entities(), pointer, value))
    assert caught.value.pointer == where
    assert caught.value.file == str(tmp_path / "entities.json")


@pytest.mark.parametrize("text", ["", "{", "\udcff", "[1]"])
def test_a_file_that_is_not_json_of_the_format_is_told(tmp_path: Path, text: str) -> None:
    file = tmp_path / "any.json"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError) as caught:
        read_schema(file)
    assert caught.value.file == str(file)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read: No such file"):
        read_schema(tmp_path / "none.json")
