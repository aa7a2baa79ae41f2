from pathlib import Path

import msgspec
import pytest

from agent_gym_env.errors import DataError
from agent_gym_env.rollout.journal.reading import record_kind
from tests.evaluation.episode_factory import episode, turn
from tests.rollout.branch_factory import branch, point


@pytest.fixture
def episodes(tmp_path: Path) -> Path:
    path = tmp_path / "episodes.jsonl"
    path.write_bytes(msgspec.json.encode(episode(turn())) + b"\n")
    return path


@pytest.fixture
def branches(tmp_path: Path) -> Path:
    path = tmp_path / "branches.jsonl"
    path.write_bytes(msgspec.json.encode(point(branch(1.0))) + b"\n")
    return path


def test_a_file_is_known_by_its_first_line(episodes: Path, branches: Path) -> None:
    assert record_kind([episodes]) == "episodes"
    assert record_kind([branches, branches]) == "branches"


@pytest.mark.parametrize("content", [b"", b"\n", b"nonsense", b"\xff", b"PAR1"])
def test_what_is_neither_is_left_to_the_reader_of_episodes(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert record_kind([path]) == "episodes"


def test_mixed_kinds_are_refused(episodes: Path, branches: Path) -> None:
    with pytest.raises(DataError, match=r"episodes\.jsonl episodes, .*branches\.jsonl branches"):
        record_kind([episodes, branches])


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read: No such file"):
        record_kind([tmp_path / "nothing"])
