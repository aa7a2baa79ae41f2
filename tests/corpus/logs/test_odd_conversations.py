"""Each odd conversation is read as expected, or refused with its kind and place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent_gym_env.corpus.corpus import open_corpus
from agent_gym_env.corpus.logs.chat import chat_record
from agent_gym_env.corpus.logs.conversation import BadConversationError, Conversation
from agent_gym_env.corpus.logs.reader import conversations
from tests.corpus.logs.odd_conversations import ODD, REFUSED, Call, Odd, Refused, Turn


def read(folder: Path, *records: Any) -> list[Conversation]:
    return list(conversations(written(folder, *records)))


def written(folder: Path, *records: Any) -> Path:
    path = folder / "log.jsonl"
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records))
    return path


def turns(conversation: Conversation) -> tuple[Turn, ...]:
    """Turns as the table writes them."""
    return tuple(
        Turn(
            turn.user,
            turn.text,
            tuple(
                Call(call.name, call.arguments, json.loads(call.results), call.round, call.status)
                for call in turn.calls
            ),
        )
        for turn in conversation.task.turns
    )


def facts(conversation: Conversation) -> dict[str, Any]:
    task, tools = conversation.task, conversation.tools
    known = {
        "id": task.dialogue_id,
        "system": task.system,
        "date": task.date,
        "user": conversation.user,
        "split": conversation.split,
        "tools": None if tools is None else [tool.name for tool in tools],
    }
    return {name: value for name, value in known.items() if value is not None}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_conversation_is_read_as_it_was(tmp_path: Path, name: str) -> None:
    odd: Odd = ODD[name]
    (found,) = read(tmp_path, odd.record)
    assert turns(found) == odd.turns
    assert found.notes == odd.notes
    assert facts(found) == {"id": "000001"} | odd.facts


@pytest.mark.parametrize("name", ODD)
def test_what_is_read_is_read_again_from_the_chat_format(tmp_path: Path, name: str) -> None:
    (found,) = read(tmp_path, ODD[name].record)
    (again,) = read(tmp_path, json.loads(json.dumps(chat_record(found))))
    assert turns(again) == turns(found)
    assert (again.task.system, again.task.date) == (found.task.system, found.task.date)


@pytest.mark.parametrize("refused", REFUSED, ids=[each.name for each in REFUSED])
def test_what_cannot_be_used_is_refused_with_its_place(tmp_path: Path, refused: Refused) -> None:
    good = {"messages": [{"role": "assistant", "content": "Hi"}], "id": "good"}
    with pytest.raises(BadConversationError) as caught:
        read(tmp_path, good, refused.record)
    error = caught.value
    assert (error.kind, error.pointer) == (refused.kind, refused.pointer)
    assert error.file == f"{tmp_path / 'log.jsonl'}:2"
    assert refused.said in str(error)


def test_all_of_them_are_one_corpus(tmp_path: Path) -> None:
    records = [
        {**odd.record, "id": f"{number}", "dialogue_id": f"{number}"}
        for number, odd in enumerate(ODD.values())
        if isinstance(odd.record, dict)
    ]
    path = written(tmp_path, *(each.record for each in REFUSED), *records)
    bad: list[str] = []
    found = list(conversations(path, lambda error: bad.append(error.kind)))
    assert [each.task.dialogue_id for each in found] == [each["id"] for each in records]
    assert bad == [each.kind for each in REFUSED]
    log = {"name": "logs", "path": str(path), "infer_tools": True, "skip_bad": True}
    opened = open_corpus(log)
    assert sum(len(opened.split(name)) for name in opened.splits()) == len(records)
