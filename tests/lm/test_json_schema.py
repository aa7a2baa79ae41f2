from __future__ import annotations

from typing import Any

from agent_gym_env.lm.json_schema import Schema

COLOUR = {"enum": ["red", "green"], "type": "string"}


def test_what_a_part_refers_to_is_put_in_its_place() -> None:
    root = Schema({"$defs": {"Colour": COLOUR}})
    part = root.below({"$ref": "#/$defs/Colour", "default": "red"})
    assert part.value == {**COLOUR, "default": "red"}
    assert root.below({"allOf": [{"$ref": "#/$defs/Colour"}], "title": "C"}).value == {
        **COLOUR, "title": "C",
    }  # fmt: skip


def test_a_part_that_refers_elsewhere_takes_the_whole_along() -> None:
    root: dict[str, Any] = {"$defs": {"A": {"$ref": "#/definitions/B"}}, "definitions": {"B": {}}}
    part = Schema(root).below({"items": {"$ref": "#/$defs/A"}})
    assert part.alone() == {
        "items": {"$ref": "#/$defs/whole/$defs/A"},
        "$defs": {
            "whole": {
                "$defs": {"A": {"$ref": "#/$defs/whole/definitions/B"}}, "definitions": {"B": {}},
            }
        },
        "x-guidance": {"lenient": True},
    }  # fmt: skip


def test_a_part_that_refers_to_nothing_is_as_it_was() -> None:
    part = Schema({"$defs": {"A": {}}}).below({"type": "array", "items": {"type": "integer"}})
    written = part.alone()
    del written["x-guidance"]
    assert written == {"type": "array", "items": {"type": "integer"}}


def test_names_in_references_may_be_escaped_and_arguments_may_be_called_like_keywords() -> None:
    root = Schema({"$defs": {"a/b~": COLOUR, "L[int]": COLOUR}})
    assert root.below({"$ref": "#/$defs/a~1b~0"}).value == COLOUR
    assert root.below({"$ref": "#/$defs/L%5Bint%5D"}).value == COLOUR
    names = {"properties": {"$ref": {"type": "string"}, "pattern": {"type": "string"}}}
    assert Schema(names).alone()["properties"] == names["properties"]


def test_circles_and_references_to_nowhere_come_to_an_end() -> None:
    circle = Schema({"$defs": {"A": {"$ref": "#/$defs/B"}, "B": {"$ref": "#/$defs/A"}}})
    assert "$ref" in circle.below({"$ref": "#/$defs/A"}).value
    for nowhere in ("#/$defs/C", "https://example.org/schema", "#anchor", "#/$defs/A/0"):
        assert circle.below({"$ref": nowhere}).value["$ref"] == nowhere
    assert Schema({"$ref": "#"}).value == {"$ref": "#"}


def test_rules_that_are_not_followed_are_left_out() -> None:
    asked = []

    def is_followed(key: str, value: Any, kind: Any) -> bool:
        asked.append((key, value, kind))
        return key != "pattern"

    schema = {
        "properties": {"a": {"type": "string", "pattern": "(", "maxLength": 9}},
        "patternProperties": {"(": {"type": "integer", "minimum": 1}},
    }
    written = Schema(schema).alone(is_followed)
    assert written["properties"] == {"a": {"type": "string", "maxLength": 9}}
    assert written["patternProperties"] == {}
    assert asked == [("pattern", "(", "string"), ("maxLength", 9, "string"),
                     ("pattern", "(", "string")]  # fmt: skip
    assert Schema(schema).alone()["patternProperties"] == schema["patternProperties"]


def test_values_are_no_schemas() -> None:
    values = {"const": {"pattern": "(", "$id": 1}, "enum": [{"$id": "a"}], "default": {"$ref": "#"}}
    written = Schema(values).alone(lambda *_: False)
    assert {key: written[key] for key in values} == values


def test_lengths_are_whole_numbers_that_a_grammar_takes() -> None:
    lengths = {"minLength": 2.0, "maxLength": 2**53, "maxItems": 1e300}
    written = Schema(lengths).alone()
    assert (written["minLength"], written["maxLength"]) == (2, 2**31 - 1)
    assert written["maxItems"] == 2**31 - 1
    assert repr(written["minLength"]) == "2"
