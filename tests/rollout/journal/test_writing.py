"""A journal holds each job once, and heals or refuses whatever happened to its files."""

from __future__ import annotations

import json
import multiprocessing
import time
import zlib
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agent_gym_env.errors import DataError, LockError, ResumeMismatchError, StorageError
from agent_gym_env.rollout.episode import Spending
from agent_gym_env.rollout.journal.format import Entry, Manifest, free_folder, read_manifest
from agent_gym_env.rollout.journal.reading import record_lines
from agent_gym_env.rollout.journal.recovery import check_journal
from agent_gym_env.rollout.journal.writing import Journal, open_journal
from agent_gym_env.storage.files import locked
from tests.timing import SOON_S

CONFIG: dict[str, Any] = {"policies": [{"name": "oracle"}], "world": {"split": "dev"}, "seed": 0}
SHARD = "branches-00000.jsonl"


def fill(
    folder: Path, jobs: Iterable[int] | None = None, *, parts: int = 1, **options: Any
) -> Manifest:
    """Append jobs, by default all that are pending of six."""
    with open_journal(folder, "branches", CONFIG, 6, **options) as journal:
        for job in list(journal.pending()) if jobs is None else jobs:
            append(journal, job, parts)
        return journal.manifest


def append(journal: Journal, job: int, parts: int = 1) -> None:
    entry = Entry(job, spending=Spending(1, 10, 2, 0.5))
    journal.append(entry, [b'{"said":"job %d part %d"}' % (job, part) for part in range(parts)])


def fail(folder: Path, job: int, **options: Any) -> Manifest:
    with open_journal(folder, "branches", CONFIG, 6, **options) as journal:
        journal.append(Entry(job, error_class="OSError"), [b'{"error":"OSError: no"}'])
        return journal.manifest


def said(folder: Path) -> list[str]:
    return [json.loads(line)["said"] for _, line in record_lines(folder, "branches")]


def test_a_line_is_the_record_with_a_checksum_and_its_job_in_front(tmp_path: Path) -> None:
    fill(tmp_path, [3])
    (line,) = (tmp_path / SHARD).read_bytes().splitlines()
    found = json.loads(line)
    assert list(found) == ["crc", "job", "spending", "said"]
    assert (found["job"], found["said"]) == (3, "job 3 part 0")
    _, _, rest = line.partition(b",")
    assert int(found["crc"], 16) == zlib.crc32(rest)


def test_what_was_appended_is_read_in_order(tmp_path: Path) -> None:
    fill(tmp_path, [2, 0, 1])
    assert said(tmp_path) == ["job 2 part 0", "job 0 part 0", "job 1 part 0"]


def test_a_journal_goes_on_with_what_is_pending(tmp_path: Path) -> None:
    fill(tmp_path, [1, 4])
    with open_journal(tmp_path, "branches", CONFIG, 6) as journal:
        assert list(journal.pending()) == [0, 2, 3, 5]
    manifest = fill(tmp_path)
    assert (manifest.done, manifest.records, manifest.is_complete) == (6, 6, True)
    assert manifest.spending == Spending(6, 60, 12, 3.0)


def test_pending_jobs_are_given_once_while_others_are_appended(tmp_path: Path) -> None:
    with open_journal(tmp_path, "branches", CONFIG, 6) as journal:
        given = []
        for job in journal.pending():
            given.append(job)
            if job == 2:
                append(journal, 0)
        assert given == [0, 1, 2, 3, 4, 5]


def test_a_full_shard_is_followed_by_another(tmp_path: Path) -> None:
    manifest = fill(tmp_path, parts=2, shard_bytes=300)
    assert len(manifest.shards) > 2
    assert all(shard.records % 2 == 0 for shard in manifest.shards)
    assert sum(shard.records for shard in manifest.shards) == len(said(tmp_path)) == 12
    assert fill(tmp_path, [], shard_bytes=300) == manifest


def test_a_job_of_which_a_part_is_missing_is_cut_off(tmp_path: Path) -> None:
    whole = fill(tmp_path, [0, 1], parts=3)
    path = tmp_path / SHARD
    content = path.read_bytes()
    lines = content.splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:5]) + lines[5][:7])
    manifest = fill(tmp_path, [1], parts=3)
    assert path.read_bytes() == content
    assert manifest.healed_bytes == len(lines[3] + lines[4]) + 7
    assert manifest.spending == whole.spending


def test_a_failed_job_lies_beside_and_is_not_pending(tmp_path: Path) -> None:
    manifest = fail(tmp_path, 2)
    assert (manifest.failed, manifest.done) == (1, 0)
    (line,) = (tmp_path / "failed.jsonl").read_text().splitlines()
    assert json.loads(line)["error_class"] == "OSError"
    assert fill(tmp_path).done == 5
    assert len(said(tmp_path)) == 5
    manifest = fill(tmp_path, [])
    assert (manifest.failed, manifest.is_complete) == (1, True)


def test_a_failed_job_is_played_again_if_asked(tmp_path: Path) -> None:
    fail(tmp_path, 2)
    assert fail(tmp_path, 2, retry_failed=True).failed == 1
    manifest = fill(tmp_path, retry_failed=True)
    assert (manifest.failed, manifest.done) == (0, 6)
    assert fill(tmp_path, []).failed == 0


def test_a_complete_journal_is_not_complete_while_failed_jobs_are_played_again(
    tmp_path: Path,
) -> None:
    fail(tmp_path, 0)
    assert fill(tmp_path).is_complete
    with open_journal(tmp_path, "branches", CONFIG, 6, retry_failed=True) as journal:
        append(journal, 0)
        assert len(said(tmp_path)) == 6


def hold(folder: Path, is_held: Any, may_end: Any) -> None:
    """Collect until told to end."""
    with open_journal(folder, "branches", CONFIG, 6) as journal:
        append(journal, 0)
        is_held.set()
        may_end.wait(60)


def test_a_second_collector_is_refused_at_once_and_touches_nothing(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("spawn")
    is_held, may_end = fork.Event(), fork.Event()
    first = fork.Process(target=hold, args=(tmp_path, is_held, may_end))
    first.start()
    assert is_held.wait(60)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    begin = time.monotonic()
    with pytest.raises(LockError, match="another process"):
        fill(tmp_path)
    assert time.monotonic() - begin < SOON_S
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    may_end.set()
    first.join()
    assert fill(tmp_path).done == 6


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 1}, "seed is 0 there and 1 here"),
        ({"world": {"split": "test"}}, 'world.split is "dev" there and "test" here'),
        ({"best_of": 2}, "best_of is null there and 2 here"),
        ({"policies": []}, r'policies is \[{"name":"oracle"}\] there and \[\] here'),
    ],
)
def test_another_configuration_is_refused_and_says_what_differs(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    fill(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with (
        pytest.raises(ResumeMismatchError, match=said),
        open_journal(tmp_path, "branches", CONFIG | change, 6),
    ):
        pass
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_run_that_failed_before_its_first_job_leaves_the_folder_free(tmp_path: Path) -> None:
    with open_journal(tmp_path, "episodes", CONFIG | {"policies": [{"name": "nosuch"}]}, 6):
        pass
    assert free_folder(tmp_path, CONFIG) == tmp_path
    assert fill(tmp_path).done == 6
    read = read_manifest(tmp_path)
    assert read is not None
    assert (read.kind, read.config) == ("branches", CONFIG)


@pytest.mark.parametrize("begin", [partial(fill, jobs=[0]), partial(fail, job=0)])
def test_one_job_done_or_failed_keeps_the_folder(
    tmp_path: Path, begin: Callable[[Path], Manifest]
) -> None:
    begin(tmp_path)
    with (
        pytest.raises(ResumeMismatchError, match="seed is 0 there"),
        open_journal(tmp_path, "branches", CONFIG | {"seed": 1}, 6),
    ):
        pass


def test_a_new_run_takes_the_first_folder_that_is_free_or_its_own(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert free_folder(out, CONFIG) == out
    fill(out)
    assert free_folder(out, CONFIG) == out
    other = CONFIG | {"seed": 1}
    assert free_folder(out, other) == tmp_path / "out-2"
    with open_journal(tmp_path / "out-2", "branches", other, 6) as journal:
        append(journal, 0)
    assert free_folder(out, other) == tmp_path / "out-2"
    assert free_folder(out, CONFIG | {"seed": 2}) == tmp_path / "out-3"


def test_a_journal_is_read_while_it_grows(tmp_path: Path) -> None:
    fill(tmp_path, [0])
    with (tmp_path / SHARD).open("ab") as file:
        file.write(b'{"crc":"0123')
    assert said(tmp_path) == ["job 0 part 0"]
    assert check_journal(tmp_path).torn_bytes == 12


def cut(path: Path) -> None:
    """Take a whole job of two lines from the end of a shard."""
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-2]))


@pytest.mark.parametrize("jobs", [range(5), range(6)], ids=["unfinished", "complete"])
@pytest.mark.parametrize(
    ("shard", "lose"), [(0, cut), (-1, cut), (-1, Path.unlink)], ids=["closed", "last", "deleted"]
)
def test_lost_lines_are_reported_and_collected_again(
    tmp_path: Path, jobs: range, shard: int, lose: Callable[[Path], None]
) -> None:
    manifest = fill(tmp_path, jobs, parts=2, shard_bytes=300)
    lost = tmp_path / manifest.shards[shard].name
    lose(lost)
    for use in (said, check_journal):
        with pytest.raises(StorageError, match=rf"{lost.name} has \d lines, and had \d"):
            use(tmp_path)
    assert fill(tmp_path, parts=2).done == 6
    assert len(said(tmp_path)) == 12
    assert check_journal(tmp_path).records == 12


def test_a_missing_shard_is_reported(tmp_path: Path) -> None:
    fill(tmp_path, shard_bytes=100)
    (tmp_path / SHARD).unlink()
    for use in (said, fill, check_journal):
        with pytest.raises(StorageError, match=r"branches-00000\.jsonl is missing"):
            use(tmp_path)


def test_shards_without_a_manifest_are_refused(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(StorageError, match=r"no manifest\.json"):
        fill(tmp_path)
    with pytest.raises(DataError, match=r"no manifest\.json"):
        said(tmp_path)


def test_a_job_that_occurs_twice_is_reported_with_its_line(tmp_path: Path) -> None:
    fill(tmp_path)
    path = tmp_path / SHARD
    with path.open("ab") as file:
        file.write(path.read_bytes().splitlines(keepends=True)[2])
    with pytest.raises(StorageError, match=r"branches-00000\.jsonl:7: job 2 occurs twice"):
        check_journal(tmp_path)


def test_a_manifest_of_another_version_is_refused(tmp_path: Path) -> None:
    fill(tmp_path)
    path = tmp_path / "manifest.json"
    path.write_text(path.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(StorageError, match="format 2; this version reads 1"):
        read_manifest(tmp_path)


def test_a_journal_of_the_other_kind_is_refused(tmp_path: Path) -> None:
    fill(tmp_path)
    with pytest.raises(DataError, match="holds branches, not episodes"):
        list(record_lines(tmp_path, "episodes"))


def test_a_lock_that_is_given_back_is_free(tmp_path: Path) -> None:
    fill(tmp_path)
    with locked(tmp_path / "journal.lock", wait_s=0.0) as is_held:
        assert is_held
