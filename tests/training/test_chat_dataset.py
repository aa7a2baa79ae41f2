from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip("datasets", reason="needs the extra 'train'")

from agent_gym_env.errors import DataError
from agent_gym_env.training.chat_dataset import (
    Origin,
    chat_dataset,
    digest,
    origin,
    streamed_dataset,
)

pytestmark = pytest.mark.usefixtures("datasets_cache")

SYSTEM = {"role": "system", "content": "Be kind."}
USER = {"role": "user", "content": "Łódź?"}
SAID = {"role": "assistant", "content": "Yes."}
CALLED = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        {"type": "function", "function": {"name": "A_1-Find", "arguments": {"city": "Łódź"}}}
    ],
}
CALLED_OTHERWISE = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"type": "function", "function": {"name": "A_1-Book", "arguments": {"n": 2}}}],
}


def tool(name: str, **properties: str) -> dict[str, Any]:
    schema = {key: {"type": kind} for key, kind in properties.items()}
    return {
        "type": "function",
        "function": {"name": name, "parameters": {"type": "object", "properties": schema}},
    }


def taken(**fields: Any) -> dict[str, Any]:
    return {"tools": [tool("A_1-Find", city="string")], "dialogue_id": "1_00000", **fields}


SFT = taken(split="train", messages=[SYSTEM, USER, CALLED], reward=0.5)
OTHER_SFT = {
    **SFT,
    "messages": [USER, CALLED_OTHERWISE, SAID],
    "tools": [tool("A_1-Book", n="integer")],
    "reward": None,
}
DPO = taken(split="train", prompt=[SYSTEM, USER], chosen=[CALLED], rejected=[SAID], margin=0.5)
KTO = taken(split="train", prompt=[USER], completion=[SAID], label=False, reward=0.1)
GRPO = taken(split="train", prompt=[USER], turn=0, state="{}")


def lines(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    return path


def test_no_null_is_put_into_messages_arguments_or_schemas(tmp_path: Path) -> None:
    first, second = chat_dataset(lines(tmp_path / "rows", SFT, OTHER_SFT), "sft")
    assert first == SFT
    assert second == OTHER_SFT


@pytest.mark.parametrize(
    ("kind", "row"), [("sft", SFT), ("dpo", DPO), ("kto", KTO), ("grpo", GRPO)]
)
def test_rows_of_a_file_in_memory_and_streamed_are_the_same(
    tmp_path: Path, kind: Any, row: dict[str, Any]
) -> None:
    path = lines(tmp_path / "rows", row, row)
    assert list(chat_dataset(path, kind)) == [row, row]
    assert list(chat_dataset([row, row], kind)) == [row, row]
    assert list(streamed_dataset(path, kind)) == [row, row]


def test_several_files_are_read_one_after_another(tmp_path: Path) -> None:
    paths = [lines(tmp_path / "a", SFT), lines(tmp_path / "b", OTHER_SFT)]
    assert list(chat_dataset(paths, "sft")) == [SFT, OTHER_SFT]


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = lines(tmp_path / "rows", SFT)
    assert len(chat_dataset(path, "sft")) == 1
    before = digest([path])
    lines(path, SFT, OTHER_SFT)
    assert len(chat_dataset(path, "sft")) == 2
    assert digest([path]) != before


def test_a_held_out_dialogue_among_the_rows_is_counted(tmp_path: Path) -> None:
    dev = {**SFT, "split": "dev"}
    other = {**SFT, "dialogue_id": "1_00001"}
    rows = chat_dataset(lines(tmp_path / "rows.jsonl", SFT, OTHER_SFT, other), "sft")
    held_out = lines(tmp_path / "held_out.jsonl", dev, {**dev, "dialogue_id": "2"}, other)
    found = origin(rows, (str(held_out),), "sft")
    assert found == Origin(trained={"train": 2}, held_out={"dev": 2, "train": 1}, shared=1)
    assert origin(rows, (), "sft") == Origin({"train": 2}, {}, 0)


def test_other_keys_of_a_row_are_left_out(tmp_path: Path) -> None:
    path = lines(tmp_path / "rows", {**DPO, "chosen_policy": "oracle"})
    assert list(chat_dataset(path, "dpo")) == [DPO]


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"messages": []}, "$.messages"),
        ({"messages": [{"role": "robot"}]}, "$.messages[0].role"),
        ({"messages": [{"role": "user", "content": 3}]}, "$.messages[0].content"),
        ({"tools": [{"function": {}}]}, "$.tools[0].function"),
        ({"dialogue_id": 7}, "$.dialogue_id"),
    ],
)
def test_an_error_names_file_line_and_field(
    tmp_path: Path, change: dict[str, Any], place: str
) -> None:
    path = lines(tmp_path / "rows", SFT, {**SFT, **change})
    with pytest.raises(DataError) as raised:
        chat_dataset(path, "sft")
    assert place in str(raised.value)
    assert raised.value.file == f"{path}:2"


def test_arguments_that_are_a_text_are_refused(tmp_path: Path) -> None:
    call = {"type": "function", "function": {"name": "A", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    with pytest.raises(DataError, match=r"function\.arguments"):
        chat_dataset([{**SFT, "messages": [message]}], "sft")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_reward_that_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(DataError, match="expected a finite number, or null"):
        chat_dataset([{**SFT, "reward": value}], "sft")


def test_a_line_that_is_not_json_is_refused_with_its_place(tmp_path: Path) -> None:
    path = lines(tmp_path / "rows", SFT)
    path.write_bytes(path.read_bytes() + b'{"reward": NaN}\n')
    with pytest.raises(DataError, match="not a row") as raised:
        list(streamed_dataset(path, "sft"))
    assert raised.value.file == f"{path}:2"


def test_no_rows_and_no_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found no sft rows"):
        chat_dataset(lines(tmp_path / "rows"), "sft")
    with pytest.raises(DataError, match="cannot read: No such file"):
        chat_dataset(tmp_path / "none", "sft")
