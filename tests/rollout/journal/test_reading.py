"""Episodes are read as they were written; a file that is none says where."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from agent_gym_env.corpus.task import RecordedCall, Turn
from agent_gym_env.errors import DataError, StorageError
from agent_gym_env.rollout.episode import EPISODE_FORMAT, Episode, StepRecord, TurnRecord
from agent_gym_env.rollout.journal.reading import read_episodes, record_kind, write_episodes
from agent_gym_env.types import Action, Completion, ToolCall, Usage


def episode(dialogue_id: str) -> Episode:
    call = ToolCall("Teas_1-FindTea", {"kind": "green", "cups": [1, None, {"a": True}]})
    action = Action("Grüße \U0001f375\n", (call,), Completion("raw", usage=Usage(3, 4)))
    recorded = RecordedCall("Teas_1-FindTea", {"kind": "green"}, "success", "[]", {"kind": ("g",)})
    turn = TurnRecord(
        "Hi",
        (StepRecord(action, "[]", "unknown_tool"),),
        Turn("Hi", "Hello", "Teas_1", recorded),
        reward=None,
        components={"verdict": None, "half": 0.5},
        reason="no answer",
    )
    return Episode(
        dialogue_id, "train", "f" * 64, ("Teas_1",), "2019-03-01", "silent", "judge", (turn,)
    )


EPISODES = [episode("1_00000"), episode("1_00001")]


def test_episodes_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "episodes.jsonl"
    assert list(write_episodes(path, EPISODES)) == EPISODES
    assert list(read_episodes(path)) == EPISODES


def test_a_path_may_be_a_string(tmp_path: Path) -> None:
    path = str(tmp_path / "episodes.jsonl")
    assert list(write_episodes(path, EPISODES)) == EPISODES
    assert list(read_episodes(path)) == EPISODES


def test_each_episode_is_a_line_of_json(tmp_path: Path) -> None:
    path = tmp_path / "episodes.jsonl"
    list(write_episodes(path, EPISODES))
    ids = [msgspec.json.decode(line)["dialogue_id"] for line in path.read_bytes().splitlines()]
    assert ids == ["1_00000", "1_00001"]


def test_the_file_appears_when_the_last_episode_has_passed(tmp_path: Path) -> None:
    path = tmp_path / "episodes.jsonl"
    passing = write_episodes(path, EPISODES)
    next(passing)
    assert not path.exists()
    list(passing)
    assert path.exists()


def test_a_run_that_fails_leaves_no_file(tmp_path: Path) -> None:
    def failing() -> Iterator[Episode]:
        yield EPISODES[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(write_episodes(tmp_path / "episodes.jsonl", failing()))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        list(write_episodes(tmp_path / "file" / "episodes.jsonl", EPISODES))


@pytest.mark.parametrize(
    "line", [b"{}", b"[]", b"nonsense", b'{"dialogue_id": "\xff"}', b"[" * 100_000]
)
def test_an_invalid_line_is_reported_with_its_number(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "episodes.jsonl"
    path.write_bytes(msgspec.json.encode(EPISODES[0]) + b"\n" + line + b"\n")
    reading = read_episodes(path)
    assert next(reading) == EPISODES[0]
    with pytest.raises(DataError, match="invalid episode") as caught:
        next(reading)
    assert caught.value.file == f"{path}:2"


def test_a_byte_order_mark_blank_lines_and_line_ends_of_windows_are_read(tmp_path: Path) -> None:
    path = tmp_path / "episodes.jsonl"
    line = msgspec.json.encode(EPISODES[0])
    path.write_bytes(codecs.BOM_UTF8 + line + b"\r\n\r\n" + line + b"\r\n \n")
    assert list(read_episodes(path)) == [EPISODES[0]] * 2
    assert record_kind([path]) == "episodes"


def test_an_unfinished_last_line_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "episodes.jsonl"
    path.write_bytes(msgspec.json.encode(EPISODES[0])[:-1])
    with pytest.raises(DataError, match="invalid episode"):
        list(read_episodes(path))


def test_an_episode_of_another_version_is_refused(tmp_path: Path) -> None:
    newer = msgspec.structs.replace(EPISODES[0], format=EPISODE_FORMAT + 1)
    path = tmp_path / "episodes.jsonl"
    path.write_bytes(msgspec.json.encode(newer))
    with pytest.raises(DataError, match=f"this version reads {EPISODE_FORMAT}"):
        list(read_episodes(path))


@pytest.mark.parametrize("name", ["nothing", "."])
def test_a_file_that_is_not_there_is_a_data_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="cannot read"):
        list(read_episodes(tmp_path / name))
