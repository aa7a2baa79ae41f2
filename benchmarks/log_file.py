"""A generated log of conversations in OpenAI's chat format, for measuring its import."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import msgspec

from agent_gym_env.corpus.corpus import open_corpus
from agent_gym_env.corpus.logs.chat import chat_messages
from agent_gym_env.corpus.task import Task, Turn
from agent_gym_env.corpus.tool_specs import openai_function

_SYSTEM = "You help the customers of an agency. Call tools, and ask the customer what is missing."
_CONTACTS = (
    "You can reach me at {name}{number}@example.com.",
    "My phone number is 415-555-{last:04}.",
    "Please use the card 4111 1111 1111 1111.",
)
_NAMES = ("ada", "grace", "alan", "barbara", "edsger", "radia", "donald", "frances")
_TURNS = (4, 10)


def write_log(path: Path, conversations: int, *, seed: int = 0, contacts: float = 0.3) -> None:
    """Write a log whose conversations consist of turns of the sample corpus, drawn and mixed.

    Args:
        path: file of JSON lines.
        conversations: number of lines.
        seed: seed of all choices.
        contacts: share of the conversations in which the user gives contact data.
    """
    rng = random.Random(seed)
    split = open_corpus("sample").split("train")
    turns: dict[str, list[Turn]] = {}
    for index in range(len(split)):
        for turn in split.task(index).turns:
            turns.setdefault(turn.service, []).append(turn)
    tools: dict[str, list[dict[str, Any]]] = {}
    for spec in split.tools.values():
        tools.setdefault(spec.service, []).append(openai_function(spec))
    with path.open("wb") as file:
        for number in range(conversations):
            service = rng.choice([*turns])
            drawn = rng.choices(turns[service], k=rng.randint(*_TURNS))
            if rng.random() < contacts:
                place = rng.randrange(len(drawn))
                words = rng.choice(_CONTACTS).format(
                    name=rng.choice(_NAMES), number=number, last=number % 10_000
                )
                user = f"{drawn[place].user} {words}"
                drawn[place] = msgspec.structs.replace(drawn[place], user=user)
            task = Task(f"log-{number:06}", (), tuple(drawn), "2024-05-15", _SYSTEM)
            file.write(msgspec.json.encode(_record(task, tools[service])) + b"\n")


def _record(task: Task, tools: list[dict[str, Any]]) -> dict[str, Any]:
    messages = chat_messages(task)
    return {"id": task.dialogue_id, "date": task.date, "messages": messages, "tools": tools}
