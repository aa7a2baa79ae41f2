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


def test_patterns_that_no_automaton_follows_are_left_out() -> None:
    for pattern in (r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$", r"(?<=a)b", r"(a)\1"):
        assert "pattern" not in Schema({"pattern": pattern}).alone()
    assert Schema({"pattern": r"^(?:a|b)$"}).alone()["pattern"] == r"^(?:a|b)$"
