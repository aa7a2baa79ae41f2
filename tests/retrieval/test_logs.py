"""Retrieval on logs: functions with JSON schemas, arguments and results of any type."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent_gym_env.assembly import rollout
from agent_gym_env.chat import make_tool
from agent_gym_env.retrieval.tool_schemas import ToolSchema, ToolSchemas
from tests.retrieval.scenes import vocabulary

PROPERTIES: dict[str, Any] = {
    "title": {"type": "string", "description": "Title of the book"},
    "copies": {"type": "integer", "enum": [1, 2, 3], "default": 1},
    "price": {"type": ["number", "null"]},
    "wrapped": {"type": "boolean", "default": False},
    "tags": {"type": "array", "items": {"type": "string"}},
    "by": {"type": "object", "default": {"name": "Jane"}},
    "either": {"type": ["integer", "string"], "enum": ["a", None, 7]},
    "any": True,
}


def tool(required: Any = ("title", "copies"), properties: Any = PROPERTIES) -> ToolSchema:
    schema = {"type": "object", "properties": properties, "required": required}
    tools = json.dumps([make_tool("buy", "Buy a book", schema)])
    return ToolSchemas(tools, vocabulary()).by_name["buy"]


def test_a_json_schema_is_read_as_far_as_slots_of_texts_go() -> None:
    slots = tool().slots
    assert slots["copies"].values == ("1", "2", "3")
    assert slots["either"].values == ("a", "7")
    defaults = {name: slot.default for name, slot in slots.items() if slot.default is not None}
    assert defaults == {"copies": "1", "wrapped": "False"}
    assert slots.keys() == PROPERTIES.keys() - {"any"}


def test_arguments_are_sent_in_the_types_of_the_schema() -> None:
    texts = {
        "title": "7", "copies": "2", "price": "0.5", "wrapped": "yes", "tags": "[1]",
        "by": '{"name": "Jane"}', "either": "7",
    }  # fmt: skip
    assert tool().typed(texts) == {
        "title": "7", "copies": 2, "price": 0.5, "wrapped": True, "tags": [1],
        "by": {"name": "Jane"}, "either": "7",
    }  # fmt: skip
    unread = {"copies": "two", "wrapped": "maybe", "tags": "old"}
    assert tool().typed(unread) == unread


@pytest.mark.parametrize("required", [["title", "unknown"], ["title", 7, None]])
def test_only_arguments_that_the_schema_describes_are_missing(required: Any) -> None:
    assert tool(required).missing({}) == ["title"]


@pytest.mark.parametrize("broken", [None, [], "title", 7])
def test_a_schema_without_readable_properties_takes_no_arguments(broken: Any) -> None:
    assert tool(broken, broken).slots == {}


def conversation(number: int) -> dict[str, Any]:
    book = ("Emma", "Persuasion", "Sanditon")[number % 3]
    function = {"name": "find", "arguments": {"title": book}}
    return {
        "split": "dev" if number % 5 == 0 else "train",
        "tools": [{"name": "find", "parameters": {"properties": {"title": {"type": "string"}}}}],
        "messages": [
            {"role": "user", "content": f"Do you have {book}, please?"},
            {"role": "assistant", "tool_calls": [{"id": "a", "function": function}]},
            {"role": "tool", "tool_call_id": "a", "content": {"found": [{"shelf": f"S{number}"}]}},
            {"role": "assistant", "content": f"{book} is on shelf S{number}."},
            {"role": "user", "content": "Thanks!"},
            {"role": "assistant", "content": "You are welcome."},
        ],
    }


def test_what_a_log_shows_is_learnt(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(json.dumps(conversation(number)) for number in range(60)))
    episodes = list(rollout("retrieval", corpus=str(path), split="dev", reward="ground_truth"))
    rewards = [turn.reward or 0.0 for episode in episodes for turn in episode.turns]
    assert len(rewards) == 24
    assert sum(rewards) / len(rewards) > 0.9
