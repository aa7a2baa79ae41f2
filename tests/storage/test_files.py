"""A file is whole or not there, and one process at a time holds a lock."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from agent_gym_env.errors import LockError, StorageError
from agent_gym_env.storage.files import (
    folder_written_whole,
    locked,
    remove_unfinished,
    sync_folder,
    written_whole,
)


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.json"
    with written_whole(path) as file:
        file.write(b"content")
        assert not path.exists()
    assert path.read_bytes() == b"content"
    assert os.listdir(path.parent) == ["file.json"]


def test_a_file_that_is_replaced_is_the_old_one_until_it_is_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(b"old")
    with written_whole(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


def test_an_error_in_between_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(b"old")

    def write_half() -> None:
        with written_whole(path) as file:
            file.write(b"half")
            raise KeyError

    with pytest.raises(KeyError):
        write_half()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file.json"]


@pytest.mark.parametrize("blocked_by", ["a file where a folder should be", "a folder in its place"])
def test_a_place_that_cannot_be_written_is_a_storage_error(tmp_path: Path, blocked_by: str) -> None:
    if blocked_by == "a folder in its place":
        (tmp_path / "place" / "file.json").mkdir(parents=True)
    else:
        (tmp_path / "place").write_bytes(b"")
    path = tmp_path / "place" / "file.json"
    with pytest.raises(StorageError, match="AGENT_GYM_HOME"), written_whole(path) as file:
        file.write(b"x")


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path;"
        "from agent_gym_env.storage.files import written_whole\n"
        "with written_whole(Path(sys.argv[1]) / 'sub' / 'file.json') as file:\n"
        "    file.write(b'half'); file.flush(); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    (tmp_path / "sub" / "other.json").write_bytes(b"x")
    assert done.returncode == -9
    assert len(os.listdir(tmp_path / "sub")) == 2
    remove_unfinished(tmp_path)
    assert os.listdir(tmp_path / "sub") == ["other.json"]


def test_what_a_killed_writer_of_another_file_left_can_be_spared(tmp_path: Path) -> None:
    with written_whole(tmp_path / "a.store") as file:
        file.write(b"x")
        remove_unfinished(tmp_path, "b.store")
        remove_unfinished(tmp_path, "a.stor")
    assert (tmp_path / "a.store").read_bytes() == b"x"


def test_a_folder_that_is_gone_cannot_be_put_on_disk(tmp_path: Path) -> None:
    sync_folder(tmp_path)
    with pytest.raises(StorageError):
        sync_folder(tmp_path / "gone")


def test_a_lock_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "work.lock"
    with locked(path, wait_s=0) as is_held:
        assert is_held
        with pytest.raises(LockError, match=f"at work on {tmp_path}/work"):  # noqa: SIM117
            with locked(path, wait_s=0.01):
                pass
    with locked(path, wait_s=0) as is_held:
        assert is_held


def test_who_waits_gets_the_lock_when_it_is_given_back(tmp_path: Path) -> None:
    path, order = tmp_path / "work.lock", list[str]()

    def second() -> None:
        with locked(path, wait_s=10):
            order.append("second")

    with locked(path, wait_s=0):
        waiting = threading.Thread(target=second)
        waiting.start()
        waiting.join(0.2)
        order.append("first")
    waiting.join()
    assert order == ["first", "second"]


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from agent_gym_env.storage.files import locked\n"
        "with locked(Path(sys.argv[1]), wait_s=0): os.kill(os.getpid(), 9)"
    )
    path = tmp_path / "work.lock"
    done = subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert done.returncode == -9
    with locked(path, wait_s=0) as is_held:
        assert is_held


def test_a_lock_file_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError), locked(tmp_path / "file" / "work.lock", wait_s=0):
        pass


_KILLED_WRITER = (
    "import os, sys; from pathlib import Path;"
    "from agent_gym_env.storage.files import folder_written_whole, written_whole\n"
    "with globals()[sys.argv[1]](Path(sys.argv[2])) as made:\n"
    "    (made / 'part').touch() if isinstance(made, Path) else made.write(b'half')\n"
    "    os.kill(os.getpid(), 9)"
)


@pytest.mark.parametrize("writer", [written_whole, folder_written_whole])
def test_the_next_writer_removes_what_a_killed_one_left_and_names_it(
    writer: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "rows"
    command = [sys.executable, "-c", _KILLED_WRITER, writer.__name__, str(path)]
    assert subprocess.run(command, check=False).returncode == -9
    (left,) = os.listdir(tmp_path)
    with writer(tmp_path / "row"), writer(tmp_path / "rows.2"):
        assert left in os.listdir(tmp_path)  # which is of another file
    caplog.clear()
    with writer(path):
        pass
    assert left not in os.listdir(tmp_path)
    assert f"removed {tmp_path / left}, which a run that was killed has left" in caplog.text


@pytest.mark.parametrize("writer", [written_whole, folder_written_whole])
def test_a_writer_at_work_keeps_its_file_when_another_begins(writer: Any, tmp_path: Path) -> None:
    with writer(tmp_path / "rows") as first:
        with writer(tmp_path / "rows"):
            pass
        if isinstance(first, Path):
            os.rmdir(tmp_path / "rows")
            (first / "part").touch()
    assert os.listdir(tmp_path) == ["rows"]


def test_writers_of_one_file_in_many_threads_all_come_to_their_end(tmp_path: Path) -> None:
    def write(number: int) -> None:
        for _ in range(20):
            with written_whole(tmp_path / "rows", synced=False) as file:
                file.write(b"%d" % number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    assert os.listdir(tmp_path) == ["rows"]
    assert (tmp_path / "rows").read_bytes() in [b"%d" % number for number in range(8)]


def test_a_folder_is_replaced_when_the_new_one_is_complete(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "old").touch()
    with folder_written_whole(folder, replaces=True) as unfinished:
        (unfinished / "new").touch()
        assert os.listdir(folder) == ["old"]
    assert os.listdir(folder) == ["new"]
    with pytest.raises(StorageError, match="is there already"), folder_written_whole(folder):
        pass
