"""A disk that takes no more, and a kill at each call of the system: all can be gone on from."""

from __future__ import annotations

import multiprocessing
import os
import shlex
import shutil
import signal
import subprocess
import sys
from multiprocessing.context import ForkServerContext
from pathlib import Path

import msgspec
import pytest

from agent_gym_env.rollout.jobs import Collection
from agent_gym_env.rollout.journal.recovery import check_journal
from tests.reliability.collectors import collect_here, collect_on_a_small_disk
from tests.reliability.playing import sized
from tests.rollout.collecting import collection, records

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits and traces as Linux does")

ROOT = Path(__file__).parents[2]
CALLS = ("write", "fsync", "rename")


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Children of a process that has imported what they need and has no threads."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.reliability.collectors"])
    return context


def assert_it_goes_on(what: Collection, folder: Path, undisturbed: Path) -> None:
    """Collect the rest; all is there once, as without disturbance."""
    before = records(folder, torn=True)
    collect_here(what, folder)
    assert before.items() <= records(folder).items()
    assert records(folder) == records(undisturbed)
    assert check_journal(folder).done == what.jobs


def test_a_full_disk_is_a_storage_error_and_what_was_written_is_there(
    agent_gym_home: Path, tiny_corpus: Path, tmp_path: Path, processes: ForkServerContext
) -> None:
    what = collection(tiny_corpus, jobs=20)
    undisturbed = tmp_path / "undisturbed"
    collect_here(what, undisturbed)
    largest = sum(path.stat().st_size for path in undisturbed.glob("episodes-*"))
    limits = sized(6, 50)
    said = []
    with processes.Pool(1) as pool:
        for number in range(limits):
            folder = tmp_path / f"{number}"
            arguments = (str(agent_gym_home), what, folder, largest * number // limits)
            said.append(pool.apply(collect_on_a_small_disk, arguments))
            if folder.exists():
                assert_it_goes_on(what, folder, undisturbed)
    assert all("cannot write" in each for each in said)
    print(f"{limits} disks filled up")


def test_a_full_file_system_ends_the_command_with_5_and_it_goes_on(tmp_path: Path) -> None:
    if subprocess.run(["unshare", "-rm", "true"], check=False, capture_output=True).returncode:
        pytest.skip("no file system may be mounted here")
    main = "import sys; from agent_gym_env.cli.main import main; sys.exit(main(sys.argv[1:]))"
    folder = shlex.quote(str(tmp_path))
    python = shlex.join([sys.executable, "-c", main])
    command = f"{python} rollout --policy oracle --out {folder}"
    script = f"""
        mount -t tmpfs -o size=1m small {folder}
        {command}; echo "code $?"
        mount -o remount,size=20m {folder}
        {command} && {command} --check
    """
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True, check=True
    )
    assert "No space left on device" in done.stderr
    assert "code 5" in done.stdout
    assert "200 of 200 episodes; every line is intact" in done.stdout


def killed_at(call: str, number: int, what: Collection, folder: Path) -> bool:
    """Collect in a process to be killed at a system call; return whether it was killed."""
    script = "import sys; from tests.reliability.collectors import main; main(*sys.argv[1:])"
    done = subprocess.run(
        [
            *("strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={call}"),
            *("-e", f"inject={call}:signal=SIGKILL:when={number}"),
            *(sys.executable, "-c", script, msgspec.json.encode(what).decode(), str(folder)),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        check=False,
    )
    assert done.returncode in (0, -signal.SIGKILL, 128 + signal.SIGKILL)
    return done.returncode != 0


def test_a_kill_at_each_call_of_the_system_is_gone_on_from(
    tiny_corpus: Path, tmp_path: Path
) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    what = collection(tiny_corpus, jobs=5)
    undisturbed = tmp_path / "undisturbed"
    collect_here(what, undisturbed)
    kills = dict.fromkeys(CALLS, 0)
    for call in CALLS:
        number = sized(2, 1)
        while killed_at(call, number, what, folder := tmp_path / f"{call}-{number}"):
            assert_it_goes_on(what, folder, undisturbed)
            kills[call] += 1
            number += sized(4, 1)
    print(kills)
    assert all(kills.values())
