from typing import Any

import pytest

from agent_gym_env.lm.schema_mismatch import mismatch

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "seats": {"type": "integer", "minimum": 1},
        "cabin": {"enum": ["economy", "business"]},
        "passengers": {
            "type": "array",
            "maxItems": 2,
            "items": {"$ref": "#/$defs/passenger"},
        },
        "upgrade": {"anyOf": [{"type": "null"}, {"type": "boolean"}]},
        "code": {"type": ["string", "null"], "minLength": 3},
    },
    "required": ["seats"],
    "additionalProperties": False,
    "$defs": {
        "passenger": {
            "type": "object",
            "properties": {"name": {"type": "string"}},
            "required": ["name"],
        }
    },
}


@pytest.mark.parametrize(
    "value",
    [
        {"seats": 1},
        {"seats": 2.0},
        {"seats": 1, "cabin": "economy", "upgrade": None, "code": None},
        {"seats": 1, "passengers": [{"name": "Ada", "age": 3}], "upgrade": True},
    ],
)
def test_a_value_that_keeps_to_the_schema_has_no_mismatch(value: object) -> None:
    assert mismatch(SCHEMA, value) is None


@pytest.mark.parametrize(
    ("value", "place", "expected"),
    [
        ([], "", "the type object"),
        ({}, "", "an object with seats"),
        ({"seats": "1"}, "seats", "the type integer"),
        ({"seats": True}, "seats", "the type integer"),
        ({"seats": 0}, "seats", "a number of at least 1"),
        ({"seats": 1, "cabin": "first"}, "cabin", "one of 'economy', 'business'"),
        ({"seats": 1, "upgrade": "yes"}, "upgrade", "the type null or the type boolean"),
        ({"seats": 1, "code": "ab"}, "code", "3 characters at least"),
        ({"seats": 1, "passengers": [{"name": 1}]}, "passengers[0].name", "the type string"),
        ({"seats": 1, "passengers": [{}]}, "passengers[0]", "an object with name"),
        ({"seats": 1, "passengers": [{"name": "a"}] * 3}, "passengers", "2 items at most"),
        ({"seats": 1, "seat": 2}, "seat", "no such member; there are seats, cabin"),
    ],
)
def test_the_first_break_is_told_with_its_place(value: object, place: str, expected: str) -> None:
    found = mismatch(SCHEMA, value)
    assert found is not None
    assert found.place == place
    assert found.expected.startswith(expected)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": 3},
        {"type": ["string", 3]},
        {"enum": "a"},
        {"required": 1, "properties": []},
        {"items": [1]},
        {"anyOf": {}},
        {"minimum": "a"},
        {"$ref": "#/nowhere"},
        {"$ref": "#"},
        {"allOf": [{"$ref": "#"}]},
    ],
)
def test_a_malformed_schema_is_not_followed(schema: dict[str, Any]) -> None:
    for value in (1, "a", [1], {"a": 1}, None):
        mismatch(schema, value)


def test_a_schema_that_refers_to_itself_ends() -> None:
    tree = {"type": "object", "properties": {"left": {"$ref": "#"}}}
    deep: dict[str, Any] = {}
    for _ in range(100):
        deep = {"left": deep}
    assert mismatch(tree, deep) is None
