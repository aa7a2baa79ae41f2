"""Tools are what the schema's intents say, in the format that models are trained on."""

from __future__ import annotations

import json

from agent_gym_env.corpus.sgd import Intent, Service
from agent_gym_env.corpus.tool_specs import openai_function, tool_name, tool_specs, tools_json
from tests.corpora import CAKES, FIND_TEA, ORDER_CAKE, ORDER_TEA, TEAS

SPECS = tool_specs([TEAS, CAKES])


def test_a_tool_is_named_by_service_and_intent() -> None:
    assert tool_name("Teas_1", "FindTea") == FIND_TEA


def test_tools_stand_in_the_order_of_the_schema() -> None:
    assert list(SPECS) == [FIND_TEA, ORDER_TEA, ORDER_CAKE]


def test_a_spec_says_what_the_intent_says() -> None:
    spec = SPECS[ORDER_TEA]
    assert (spec.service, spec.intent, spec.transactional) == ("Teas_1", "Order", True)
    assert list(spec.arguments) == ["name", "grams", "wrapped"]
    assert spec.required == ("name", "grams")
    assert spec.defaults == {"wrapped": "False"}
    assert spec.result_slots == ("name", "grams", "wrapped", "price")


def test_a_categorical_argument_lists_its_values() -> None:
    properties = openai_function(SPECS[FIND_TEA])["function"]["parameters"]["properties"]
    assert properties["kind"]["enum"] == ["green", "black"]
    assert "enum" not in properties["origin"]


def test_an_optional_argument_tells_its_default() -> None:
    properties = openai_function(SPECS[ORDER_TEA])["function"]["parameters"]["properties"]
    assert properties["wrapped"]["default"] == "False"
    assert "default" not in properties["name"]


def test_no_preference_is_a_value_where_it_is_the_default() -> None:
    find = TEAS.intents[0]
    kinds = {**find.optional_slots, "kind": "dontcare"}
    intent = Intent(find.name, find.description, False, [], kinds, find.result_slots)
    service = Service(TEAS.service_name, TEAS.description, TEAS.slots, [intent])
    function = openai_function(tool_specs([service])[FIND_TEA])["function"]
    kind = function["parameters"]["properties"]["kind"]
    assert (kind["enum"], kind["default"]) == (["green", "black", "dontcare"], "dontcare")


def test_only_the_tools_of_the_services_are_written() -> None:
    names = [tool["function"]["name"] for tool in json.loads(tools_json(SPECS, ["Cakes_1"]))]
    assert names == [ORDER_CAKE]


def test_no_service_has_no_tools() -> None:
    assert tools_json(SPECS, []) == "[]"
