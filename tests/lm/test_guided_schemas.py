"""Schemas as pydantic and MCP write them are followed: what is written can be read by the model."""

from __future__ import annotations

import datetime
import decimal
import enum
import json
import random
import uuid
from typing import Annotated, Any, Literal

import pytest

pytest.importorskip("llguidance", reason="the extra train is not installed")
pytest.importorskip("pydantic", reason="the extra train is not installed")

import pydantic
from pydantic import BaseModel, Field

from agent_gym_env.lm.base import Request
from agent_gym_env.lm.guided import CallGrammar
from agent_gym_env.lm.parse import parse_reply
from tests.lm.test_guided import drawn, folder, follow, grammar, plain_tokenizer, tokenizer, tool

__all__ = ["folder", "grammar", "plain_tokenizer", "tokenizer"]  # fixtures


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 2


class Town(BaseModel):
    name: str = Field(max_length=8)
    zip: Annotated[str, Field(pattern=r"^[0-9]{4}$")]


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = Field(ge=1, le=9)


class Dog(BaseModel):
    kind: Literal["dog"]
    colour: Colour


class Node(BaseModel):
    value: int = Field(ge=0, le=9)
    next: Node | None = None


class Order(BaseModel):
    colour: Colour
    town: Town
    size: Size = Size.SMALL
    other: Colour | None = None
    towns: list[Town] = Field(default=[], max_length=2)
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]


class Standard(BaseModel):
    day: datetime.date
    id: uuid.UUID
    price: decimal.Decimal = Field(ge=0, le=9)
    numbers: set[int] = Field(max_length=2)
    pair: tuple[int, bool]
    counts: dict[Colour, bool] = Field(max_length=1)


class Strict(BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    colour: Colour = Field(default=Colour.RED, description="of the tea")


def cat(**changes: Any) -> dict[str, Any]:
    order = {
        "colour": "red",
        "town": {"name": "Bergen", "zip": "5003"},
        "pet": {"kind": "cat", "lives": 9},
    }
    return {**order, **changes}


@pytest.mark.parametrize(
    ("model", "arguments"),
    [
        (Order, cat()),
        (Order, cat(other="green", size=2, towns=[{"name": "Oslo", "zip": "0150"}])),
        (Order, cat(other=None, pet={"kind": "dog", "colour": "green"})),
        (Node, {"value": 1, "next": {"value": 2, "next": {"value": 3}}}),
        (Strict, {"colour": "green"}),
        (Strict, {}),
        (Standard, {"day": "2019-03-01", "id": "00000000-0000-4000-8000-000000000000",
                    "price": 2.5, "numbers": [1, 2], "pair": [1, True], "counts": {"red": True}}),
    ],
)  # fmt: skip
def test_what_a_pydantic_model_takes_can_be_written(
    model: type[BaseModel], arguments: dict[str, Any], grammar: CallGrammar, tokenizer: Any
) -> None:
    model.model_validate_json(json.dumps(arguments))
    tools = [tool("F", model.model_json_schema())]
    assert follow(grammar.guide(Request([], tools=tools)), tokenizer, written(arguments))


@pytest.mark.parametrize(
    "changes",
    [
        {"colour": "blue"},
        {"colour": None},
        {"other": "blue"},
        {"size": 3},
        {"town": {"name": "Bergen"}},
        {"town": {"name": "Bergen", "zip": "50035"}},
        {"town": "Bergen"},
        {"towns": [{"name": "Bergen, Norway", "zip": "5003"}]},
        {"pet": {"kind": "cow", "lives": 1}},
        {"pet": {"kind": "cat", "lives": 10}},
    ],
)
def test_what_a_pydantic_model_refuses_cannot_be_written(
    changes: dict[str, Any], grammar: CallGrammar, tokenizer: Any
) -> None:
    with pytest.raises(pydantic.ValidationError):
        Order.model_validate(cat(**changes))
    tools = [tool("F", Order.model_json_schema())]
    assert not follow(grammar.guide(Request([], tools=tools)), tokenizer, written(cat(**changes)))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["special", "plain"])
def test_a_random_model_writes_calls_that_pydantic_takes(
    seed: int, kind: str, tokenizer: Any, plain_tokenizer: Any
) -> None:
    chosen = tokenizer if kind == "special" else plain_tokenizer
    guides = CallGrammar(chosen, len(chosen), [chosen.eos_token_id])
    tools = [tool("Order", Order.model_json_schema()), tool("Strict", Strict.model_json_schema())]
    request = Request([], tools=tools, tool_choice="required")
    calls = parse_reply(drawn(guides.guide(request), chosen, random.Random(seed))).tool_calls
    assert calls
    models: dict[str, type[BaseModel]] = {"Order": Order, "Strict": Strict}
    for call in calls:
        models[call.name].model_validate(call.arguments)


@pytest.mark.parametrize(
    "schema",
    [
        {"definitions": {"C": {"enum": ["red"]}}, "properties": {"c": {"$ref": "#/definitions/C"}},
         "required": ["c"]},
        {"properties": {"d": {"enum": ["red"]}, "c": {"$ref": "#/properties/d"}},
         "required": ["c"]},
        {"$id": "https://example.org/x", "$schema": "http://json-schema.org/draft-07/schema#",
         "$defs": {"C": {"type": "array", "items": {"$ref": "#/$defs/D"}}, "D": {"const": "red"}},
         "properties": {"c": {"anyOf": [{"$ref": "#/$defs/C"}, {"$ref": "#/$defs/D"}]}}},
        {"$ref": "#/$defs/Whole",
         "$defs": {"Whole": {"properties": {"c": {"enum": ["red"]}}, "required": ["c"]}}},
        {"allOf": [{"$ref": "#/$defs/Whole"}],
         "$defs": {"Whole": {"properties": {"c": {"enum": ["red"]}}, "required": ["c"]}}},
        {"oneOf": [{"$ref": "#/$defs/A"}, {"type": "object", "properties": {"n": {"const": 1}},
                                           "required": ["n"], "additionalProperties": False}],
         "$defs": {"A": {"type": "object", "properties": {"c": {"const": "red"}},
                         "required": ["c"], "additionalProperties": False}}},
        {"type": "object", "additionalProperties": {"enum": ["red"]}},
    ],
)  # fmt: skip
def test_references_may_point_anywhere_in_the_schema(
    schema: dict[str, Any], grammar: CallGrammar, tokenizer: Any
) -> None:
    request = Request([], tools=[tool("F", schema)])
    assert follow(grammar.guide(request), tokenizer, written({"c": "red"}))
    assert not follow(grammar.guide(request), tokenizer, written({"c": "blue"}))


def test_a_response_format_may_have_definitions(grammar: CallGrammar, tokenizer: Any) -> None:
    request = Request([], response_format=Order.model_json_schema())
    assert follow(grammar.guide(request), tokenizer, json.dumps(cat()))
    assert not follow(grammar.guide(request), tokenizer, json.dumps(cat(colour="blue")))


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        # As MCP writes an enumeration with titles.
        ({"type": "string", "oneOf": [{"const": "a", "title": "A"}, {"const": "b"}]}, "b", "c"),
        ({"type": "integer", "anyOf": [{"const": 1}, {"const": 2}]}, 2, 3),
        ({"type": "string", "allOf": [{"maxLength": 2}, {"minLength": 1}]}, "ab", "abc"),
        ({"const": "b", "enum": ["a", "b"]}, "b", "a"),
        ({"type": "string", "maxLength": 2.0}, "ab", "abc"),
        # As other languages write the bounds of their types.
        ({"type": "string", "maxLength": 2**53 - 1}, "a", 1),
        ({"type": "array", "items": {"type": "string", "maxLength": 2**53 - 1}}, ["a"], [1]),
        ({"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}, -3, "a"),
        ({"type": "number", "minimum": -1.7976931348623157e308, "maximum": 3}, 2.5, "a"),
    ],
)
def test_a_value_follows_all_of_its_schema(
    schema: dict[str, Any], good: Any, bad: Any, grammar: CallGrammar, tokenizer: Any
) -> None:
    parameters = {"type": "object", "properties": {"c": schema}, "required": ["c"]}
    request = Request([], tools=[tool("F", parameters)])
    assert follow(grammar.guide(request), tokenizer, written({"c": good}))
    assert not follow(grammar.guide(request), tokenizer, written({"c": bad}))


@pytest.mark.parametrize(
    "pattern",
    [r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$", r"(?<=a)b", r"(a)\1", r"\bfoo\b", r"^a\Z", "(?P<q>a)(?P=q)",
     "^(a|b$)c", "(", "^{a}$"],
)  # fmt: skip
def test_a_pattern_that_no_automaton_follows_costs_the_pattern_only(
    pattern: str, grammar: CallGrammar, tokenizer: Any
) -> None:
    broken = {"type": "string", "pattern": pattern, "maxLength": 2}
    parameters = {"properties": {"c": broken, "d": {"enum": ["x"]}}, "required": ["c", "d"]}
    request = Request([], tools=[tool("F", parameters)])
    assert follow(grammar.guide(request), tokenizer, written({"c": "ab", "d": "x"}))
    for wrong in ({"c": "abc", "d": "x"}, {"c": "ab", "d": "y"}):
        assert not follow(grammar.guide(request), tokenizer, written(wrong))


def written(arguments: dict[str, Any]) -> str:
    body = json.dumps({"name": "F", "arguments": arguments})
    return f"<tool_call>\n{body}\n</tool_call>"
