"""Files of logs: how they are written, compressed, split and named, and what a whole log says."""

from __future__ import annotations

import gzip
import json
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from agent_gym_env.corpus.corpus import Corpus, open_corpus
from agent_gym_env.corpus.logs.conversation import BadConversationError
from agent_gym_env.corpus.logs.reader import TOOLS_FILE, LogReader, conversations
from agent_gym_env.envs.dialogue import SGDEnv
from agent_gym_env.errors import DataError
from agent_gym_env.types import Action, ToolCall
from tests.corpus.logs.odd_conversations import (
    FIND,
    FIND_TOOL,
    FOUND,
    Record,
    chat,
    made,
    result,
    says,
    user,
)


def hello(name: str, **facts: Any) -> Record:
    return chat(user("Hi"), says("Hello"), id=name, **facts)


def finds(name: str, tool: Record | None = FIND_TOOL, **facts: Any) -> Record:
    tools = {} if tool is None else {"tools": [tool]}
    return chat(user("Emma?"), says(None, FIND), FOUND, says("Seven."), id=name, **tools, **facts)


def lines(*records: Any, end: str = "\n") -> bytes:
    return "".join(f"{json.dumps(record)}{end}" for record in records).encode()


def ids(path: Path, **options: bool) -> dict[str, list[str]]:
    corpus = opened(path, **options)
    return {name: corpus.split(name).dialogue_ids() for name in corpus.splits()}


def opened(path: Path, **options: bool) -> Corpus:
    return open_corpus({"name": "logs", "path": str(path), **options})


TWO = lines(hello("a"), hello("b"))
ARRAY = json.dumps([hello("a"), hello("b")])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("log.jsonl", TWO),
        ("log.ndjson", TWO),
        ("LOG.JSONL", TWO),
        ("log.jsonl", b"\xef\xbb\xbf" + TWO),
        ("log.jsonl", TWO.replace(b"\n", b"\r\n")),
        ("log.jsonl", b"\n" + TWO.replace(b"\n", b"\n\n \n")),
        ("log.jsonl", TWO.rstrip()),
        ("log.jsonl.gz", gzip.compress(TWO)),
        ("log.json", ARRAY.encode()),
        ("log.json", b"\xef\xbb\xbf" + json.dumps(json.loads(ARRAY), indent=1).encode()),
        ("log.json.gz", gzip.compress(ARRAY.encode())),
        ("log.json", TWO),
    ],
    ids=[
        "lines", "ndjson", "capitals", "byte order mark", "CRLF", "empty lines", "no last newline",
        "gzip", "array", "array with byte order mark", "array in gzip", "lines named json",
    ],
)  # fmt: skip
def test_a_file_is_read_however_it_is_written(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert ids(tmp_path / name) == {"train": ["a", "b"]}


def test_a_single_object_is_a_log(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    path.write_text(json.dumps(hello("a"), indent=2))
    assert ids(path) == {"train": ["a"]}


def test_a_folder_has_a_split_for_each_file_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_bytes(lines(hello("a"), hello("b")))
    (tmp_path / "validation.json").write_text(json.dumps([hello("a")]))
    (tmp_path / "test.jsonl.gz").write_bytes(gzip.compress(lines(hello("c", split="train"))))
    (tmp_path / "README.md").write_text("Not a log")
    assert ids(tmp_path) == {"train": ["a", "b"], "dev": ["a"], "test": ["c"]}


def test_a_record_can_name_its_split(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(
        lines(hello("a", split="test"), hello("b"), hello("a", data_split="validation"))
    )
    assert ids(path) == {"train": ["b"], "dev": ["a"], "test": ["a"]}


def test_conversations_without_an_id_are_named_by_their_line(tmp_path: Path) -> None:
    (tmp_path / "may.jsonl").write_bytes(b"\n" + lines(chat(says("Hi")), chat(says("Hi"))))
    (tmp_path / "june.jsonl").write_bytes(lines(chat(says("Hi"))))
    assert ids(tmp_path) == {"train": ["june-000001", "may-000002", "may-000003"]}


def test_an_id_that_is_there_already_is_refused_or_left_out(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(lines(hello("a"), hello("a", split="train"), hello("a", split="dev")))
    with pytest.raises(BadConversationError, match="repeated_id") as caught:
        ids(path)
    assert (caught.value.file, caught.value.dialogue_id) == (f"{path}:2", "a")
    assert ids(path, skip_bad=True) == {"train": ["a"], "dev": ["a"]}


def test_a_line_that_is_not_json_is_refused_or_left_out(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(lines(hello("a")) + b"\n{oops}\n" + lines(hello("b")))
    with pytest.raises(BadConversationError, match="not JSON") as caught:
        ids(path)
    assert (caught.value.kind, caught.value.file) == ("json", f"{path}:3")
    assert ids(path, skip_bad=True) == {"train": ["a", "b"]}


def test_the_place_in_an_array_is_a_pointer(tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    path.write_text(json.dumps([hello("a"), chat(user("Hi"), {"role": "critic"}, id="b")]))
    with pytest.raises(BadConversationError) as caught:
        ids(path)
    assert (caught.value.file, caught.value.pointer) == (str(path), "/1/messages/1")
    assert caught.value.dialogue_id == "b"


WHOLE = gzip.compress(TWO, mtime=0)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("log.jsonl", b"", "no conversation that can be used; left out: none"),
        ("log.json", b" ", "the file is empty"),
        ("log.json", b'[{"messages": [', "not JSON"),
        ("log.json", b"{oops\n}\n", "not JSON"),
        ("log.json", TWO.decode().encode("utf-16"), "UTF-16"),
        ("log.jsonl.gz", WHOLE[:-12], "cannot read"),
        ("log.jsonl.gz", WHOLE[:20] + b"\xff\xff\xff" + WHOLE[23:], "cannot read"),
        ("log.jsonl.gz", TWO, "cannot read: Not a gzipped file"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, name: str, content: bytes, problem: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=problem) as caught:
        ids(tmp_path / name)
    assert caught.value.file == str(tmp_path / name)


def test_a_log_that_is_all_bad_says_what_it_had(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(lines(chat(user("Hi")), chat(user("Hi")), 7))
    with pytest.raises(DataError, match="left out: 2 no_reply, 1 format"):
        ids(path, skip_bad=True)


def test_only_logs_are_taken(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_bytes(TWO)
    for path in (tmp_path / "log.txt", tmp_path):
        with pytest.raises(DataError, match=r"expected a file of conversations \(\.jsonl"):
            LogReader(path)
    with pytest.raises(DataError, match="there is no such file or folder"):
        LogReader(tmp_path / "none.jsonl")


@pytest.mark.parametrize("day", ["2024-02-30", "yesterday", [2024, 5, 15], "29/02/2024", 1e300])
def test_a_day_that_cannot_be_read_is_left_out_and_noted(tmp_path: Path, day: Any) -> None:
    (tmp_path / "log.jsonl").write_bytes(lines(chat(user("Hi"), says("Hello"), date=day)))
    (found,) = conversations(tmp_path / "log.jsonl")
    assert found.task.date is None
    assert found.notes == ("unread_date",)


def test_a_null_that_is_not_required_equals_its_absence(tmp_path: Path) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": True, "c": {"type": ["string", "null"]}},
        "required": ["a", "c"],
    }
    tool = {"name": "find", "parameters": schema}
    call = {"name": "find", "arguments": {"a": "x", "b": None, "c": None}}
    record = chat(
        user("Hi"),
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": call}]},
        {"role": "tool", "tool_call_id": "1", "content": "found"},
        says("Hello"),
        tools=[tool],
    )
    (tmp_path / "log.jsonl").write_bytes(lines(record))
    env = SGDEnv(str(tmp_path / "log.jsonl"), "train", reward="balanced")
    for arguments in ({"a": "x", "c": None}, {"a": "x", "b": None, "c": None}):
        env.reset()
        made = Action("Hello", (ToolCall("find", arguments),))
        observation, reward, *_ = env.step(made)
        assert "found" in observation["tool_result"]
        assert reward == 1.0


def test_thoughts_are_left_out_and_noted(tmp_path: Path) -> None:
    record = chat(user("Hi"), says("<think>A greeting.</think>\nHello"))
    (tmp_path / "log.jsonl").write_bytes(lines(record))
    (found,) = conversations(tmp_path / "log.jsonl")
    assert (found.task.turns[0].text, found.notes) == ("Hello", ("reasoning_left_out",))


# Tools


def test_a_tool_that_is_not_described_is_inferred_only_on_request(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(lines(finds("a", None), finds("b", None)))
    with pytest.raises(DataError, match="the log calls find, but does not describe"):
        ids(path)
    split = opened(path, infer_tools=True).split("train")
    assert split.tools["find"].parameters == {
        "type": "object",
        "properties": {"title": {"type": "string"}},
        "required": ["title"],
    }
    assert [split.task(number).services for number in (0, 1)] == [("find",), ("find",)]


def test_an_inferred_schema_fits_all_calls(tmp_path: Path) -> None:
    calls: tuple[Record, ...] = (
        {"n": 1, "by": {"year": 1815}, "all": True},
        {"n": 0.5, "by": {"year": None, "name": "Jane"}, "tags": ["a", 2]},
        {"n": 2, "by": None, "tags": []},
    )
    messages = [says(None, *(made(f"{n}", "find", said) for n, said in enumerate(calls)))]
    messages += [result(f"{n}", "[]") for n in range(3)]
    path = tmp_path / "log.jsonl"
    path.write_bytes(lines(chat(user("?"), *messages, says("None."))))
    by = {"year": {"type": ["integer", "null"]}, "name": {"type": "string"}}
    assert opened(path, infer_tools=True).split("train").tools["find"].parameters == {
        "type": "object",
        "properties": {
            "n": {"type": "number"},
            "by": {"type": ["null", "object"], "properties": by, "required": ["year"]},
            "all": {"type": "boolean"},
            "tags": {"type": "array", "items": {"type": ["integer", "string"]}},
        },
        "required": ["n", "by"],
    }


def test_names_that_are_values_are_no_properties(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    call = made("a", "count", {"words": {f"word{n}": n for n in range(100)}})
    path.write_bytes(lines(chat(user("?"), says(None, call), result("a", "ok"), says("Ok"))))
    parameters = opened(path, infer_tools=True).split("train").tools["count"].parameters
    assert parameters == {
        "type": "object",
        "properties": {"words": {"type": "object"}},
        "required": ["words"],
    }


def test_a_schema_that_changes_within_a_log_has_a_key_for_each_version(tmp_path: Path) -> None:
    strict = {**FIND_TOOL, "description": "Find a book by its title"}
    path = tmp_path / "log.jsonl"
    path.write_bytes(lines(finds("a"), finds("b", strict), finds("c", None), finds("d")))
    split = opened(path, infer_tools=True).split("train")
    assert {key: tool.name for key, tool in split.tools.items()} == {
        "find": "find",
        "find#2": "find",
        "find#3": "find",
    }
    offered = [split.task(number).services for number in range(4)]
    assert offered == [("find",), ("find#2",), ("find#3",), ("find",)]
    assert split.task(1).turns[0].service == "find#2"


def test_a_tool_may_be_named_like_the_key_of_another(tmp_path: Path) -> None:
    second = {**FIND_TOOL, "description": "Another"}
    path = tmp_path / "log.jsonl"
    path.write_bytes(lines(finds("a"), hello("b", tools=[{**FIND_TOOL, "name": "find#2"}]),
                           finds("c", second)))  # fmt: skip
    with pytest.warns(UserWarning, match="names that providers"):
        tools = opened(path).split("train").tools
    assert Counter(tool.name for tool in tools.values()) == {"find": 2, "find#2": 1}


def test_tools_that_a_file_beside_describes_are_named_by_their_keys(tmp_path: Path) -> None:
    tool = {"key": "find#7", **FIND_TOOL}
    (tmp_path / TOOLS_FILE).write_text(json.dumps([tool]))
    path = tmp_path / "log.jsonl"
    path.write_bytes(lines(finds("a", None, tool_keys=["find#7"])))
    assert ids(tmp_path) == ids(path) == {"train": ["a"]}
    path.write_bytes(lines(finds("a", None, tool_keys=["find#8"])))
    with pytest.raises(BadConversationError, match=r"does not describe the tools \['find#8'\]"):
        ids(path)


def test_a_log_that_changes_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(lines(hello("a")))
    assert ids(path) == {"train": ["a"]}
    path.write_bytes(lines(hello("a"), hello("b", split="dev")))
    assert ids(path) == {"train": ["a"], "dev": ["b"]}


def test_what_is_left_out_is_given_to_the_caller(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(lines(hello("a"), 7, chat(user("Hi")), hello("a"), hello("b")))
    kinds: list[str] = []
    found = conversations(path, lambda error: kinds.append(error.kind))
    assert [each.task.dialogue_id for each in found] == ["a", "b"]
    assert kinds == ["format", "no_reply", "repeated_id"]


def test_an_error_crosses_processes_with_its_kind_and_place(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"messages": [{"role": "user", "content": "Hi"}]}\n')
    with pytest.raises(BadConversationError) as caught:
        list(conversations(tmp_path / "log.jsonl"))
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.kind, again.file, str(again)) == (
        "no_reply",
        f"{tmp_path / 'log.jsonl'}:1",
        str(caught.value),
    )
