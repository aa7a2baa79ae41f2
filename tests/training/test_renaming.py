from __future__ import annotations

import copy
import json
import random
from typing import Any

import pytest

from agent_gym_env.training.renaming import invented_words, renamed, words_of_names

TOOL = {
    "function": {
        "name": "Salon_1-BookVisit",
        "parameters": {
            "properties": {
                "salon_name": {"type": "string"},
                "city": {"type": "string"},
                "kind": {"type": "string", "enum": ["Haircut", "Colour"]},
            }
        },
    }
}


def conversation(
    said: str, arguments: dict[str, Any], results: list[dict[str, str]], reply: str
) -> dict[str, Any]:
    call = {"type": "function", "function": {"name": "Salon_1-BookVisit", "arguments": arguments}}
    return {
        "messages": [
            {"role": "system", "content": "Today is Friday."},
            {"role": "user", "content": said},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "content": json.dumps({"status": "success", "results": results})},
            {"role": "assistant", "content": reply},
        ],
        "tools": [TOOL],
        "dialogue_id": "1",
    }


SALON = conversation(
    "A Haircut at Velvet Scissors in Lodi, please.",
    {"salon_name": "Velvet Scissors", "city": "Lodi", "kind": "Haircut"},
    [{"salon_name": "Velvet Scissors", "owner": "Ada Finch", "phone": "555-12"}],
    "Velvet Scissors expects you. Ask for Ada Finch.",
)


def test_a_name_is_the_same_other_name_throughout() -> None:
    new = renamed(SALON, ["Quill", "Ember", "Sable", "Tarn", "Moss"], random.Random(0))
    _, user, asked, result, reply = new["messages"]
    arguments = asked["tool_calls"][0]["function"]["arguments"]
    name, city = arguments["salon_name"], arguments["city"]
    assert user["content"] == f"A Haircut at {name} in {city}, please."
    (row,) = json.loads(result["content"])["results"]
    assert row["salon_name"] == name
    assert reply["content"] == f"{name} expects you. Ask for {row['owner']}."
    assert not set(f"{name} {city} {row['owner']}".split()) & set(words_of_names([SALON]))


def test_what_schemas_list_and_what_tools_are_called_stay() -> None:
    new = renamed(SALON, invented_words(9, random.Random(1)), random.Random(0))
    function = new["messages"][2]["tool_calls"][0]["function"]
    assert function["name"] == "Salon_1-BookVisit"
    assert function["arguments"]["kind"] == "Haircut"
    assert new["messages"][0] == SALON["messages"][0]
    assert {key: new[key] for key in ("tools", "dialogue_id")} == {
        key: SALON[key] for key in ("tools", "dialogue_id")
    }


@pytest.mark.parametrize(
    ("said", "argument"),
    [
        ("In ATX, please.", "Austin"),  # called by another word
        ("Near the old mill at Mill House.", "Mill House"),  # a word of the language, too
        ("In Ur.", "Ur"),  # too short to tell from an abbreviation
    ],
)
def test_a_word_that_may_be_no_name_stays(said: str, argument: str) -> None:
    whole = conversation(said, {"city": argument}, [], f"Nothing in {argument}.")
    new = renamed(whole, ["Quill"], random.Random(0))
    arguments = new["messages"][2]["tool_calls"][0]["function"]["arguments"]
    assert arguments["city"] in (argument, argument.replace("House", "Quill"))
    assert new["messages"][4]["content"] == f"Nothing in {arguments['city']}."


def test_the_conversation_itself_is_left_as_it_is() -> None:
    before = copy.deepcopy(SALON)
    renamed(SALON, ["Quill", "Ember", "Sable", "Tarn", "Moss"], random.Random(0))
    assert before == SALON


def test_words_of_names_are_those_that_are_exchanged() -> None:
    assert words_of_names([SALON]) == ["Ada", "Finch", "Lodi", "Scissors", "Velvet"]


def test_invented_words_are_as_many_as_asked_for_and_differ() -> None:
    words = invented_words(500, random.Random(0))
    assert len(set(words)) == 500
    assert all(word.isalpha() and word[0].isupper() for word in words)
