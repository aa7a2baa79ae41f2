import os
from pathlib import Path

import msgspec
import pytest

from agent_gym_env.errors import DataError
from agent_gym_env.rollout.episode import Episode
from agent_gym_env.server.browse.runs import RunFolder
from tests.evaluation.episode_factory import episodes
from tests.server.browse.recorded_runs import write_run


def names(root: Path) -> list[str]:
    return [run.name for run in RunFolder(root).runs()]


def write_file(path: Path, recorded: list[Episode]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(msgspec.json.encode(each) + b"\n" for each in recorded))


def test_journals_and_files_of_episodes_are_found_at_any_depth(tmp_path: Path) -> None:
    write_run(tmp_path / "a" / "deep" / "run", episodes([0.5]))
    write_file(tmp_path / "b" / "played.jsonl", episodes([0.5]))
    assert names(tmp_path) == ["a/deep/run", "b/played.jsonl"]


def test_other_files_are_not_runs(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"messages": [], "dialogue_id": "1"}\n')
    (tmp_path / "manifest.json").write_text('{"name": "an app"}')
    (tmp_path / "binary.jsonl").write_bytes(b"\xff\x00" * 100)
    (tmp_path / "empty.jsonl").touch()
    write_run(tmp_path / ".hidden" / "run", episodes([0.5]))
    assert names(tmp_path) == []


def test_the_files_that_evaluate_writes_beside_its_journals_are_not_listed(tmp_path: Path) -> None:
    write_run(tmp_path / "out" / "journal" / "oracle", episodes([0.5]))
    write_file(tmp_path / "out" / "oracle.jsonl", episodes([0.5]))
    write_file(tmp_path / "out" / "other.jsonl", episodes([0.5]))
    assert names(tmp_path) == ["out/journal/oracle", "out/other.jsonl"]


def test_a_journal_or_a_file_alone_is_one_run(tmp_path: Path) -> None:
    write_run(tmp_path / "run", episodes([0.5]))
    write_file(tmp_path / "played.jsonl", episodes([0.5]))
    assert names(tmp_path / "run") == ["run"]
    assert names(tmp_path / "played.jsonl") == ["played.jsonl"]


def test_a_journal_without_its_manifest_is_listed_with_what_is_wrong(tmp_path: Path) -> None:
    write_run(tmp_path / "run", episodes([0.5]))
    (tmp_path / "run" / "manifest.json").write_text("{")
    (run,) = RunFolder(tmp_path).runs()
    assert "manifest" in str(run.problem)
    assert next(path.name for path in run.files()) == "episodes-00000.jsonl"


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    write_file(tmp_path / "secret.jsonl", episodes([0.5]))
    write_run(tmp_path / "elsewhere", episodes([0.5]))
    root = tmp_path / "root"
    root.mkdir()
    os.symlink(tmp_path / "secret.jsonl", root / "link.jsonl")
    os.symlink(tmp_path / "elsewhere", root / "folder")
    assert names(root) == []


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such"):
        RunFolder(tmp_path / "none")


def test_a_run_is_found_by_its_id_alone(tmp_path: Path) -> None:
    write_run(tmp_path / "run", episodes([0.5]))
    folder = RunFolder(tmp_path)
    (run,) = folder.runs()
    assert folder.find(run.id) == run
    for wrong in ("", "..", "run", "../run", "%2e%2e", run.id.upper() + "x"):
        assert folder.find(wrong) is None
