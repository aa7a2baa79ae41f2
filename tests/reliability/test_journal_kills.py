"""A killed collection is resumed by the same call, and holds each episode once."""

from __future__ import annotations

import multiprocessing
import random
import shutil
import sys
import time
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

from agent_gym_env.rollout.journal.format import read_manifest
from agent_gym_env.rollout.journal.recovery import check_journal
from tests.reliability.collectors import collect_and_tell, collect_here
from tests.reliability.playing import sized
from tests.rollout.collecting import collection, records
from tests.timing import PROCESS_S

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX does")


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Children of a process that has imported what they need and has no threads."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.reliability.collectors"])
    return context


def test_a_collector_that_is_killed_loses_nothing_and_repeats_nothing(
    agent_gym_home: Path, tiny_corpus: Path, tmp_path: Path, processes: ForkServerContext
) -> None:
    random_ = random.Random(0)
    kills = healed = runs = 0
    while kills < sized(8, 200):
        runs += 1
        what = collection(tiny_corpus, jobs=150, seed=runs)
        folder, undisturbed = tmp_path / f"{runs}", tmp_path / f"{runs}-undisturbed"
        begin = time.perf_counter()
        collect_here(what, undisturbed)
        longest_s = time.perf_counter() - begin
        # Without a lock, which a killed process would keep.
        done = processes.Value("l", 0, lock=False)
        while done.value < what.jobs:
            begins = processes.Event()
            arguments = (str(agent_gym_home), what, folder, begins, done)
            runner = random_.choice(["serial", "threads"])
            collector = processes.Process(target=collect_and_tell, args=(*arguments, runner))
            collector.start()
            assert begins.wait(PROCESS_S)
            time.sleep(random_.random() * longest_s / 5)
            kills += collector.is_alive()
            collector.kill()
            collector.join()
            if read_manifest(folder) is not None:
                assert check_journal(folder).done >= done.value
        manifest = read_manifest(folder)
        assert manifest is not None
        healed += manifest.healed_bytes > 0
        assert records(folder) == records(undisturbed)
        shutil.rmtree(folder)
        shutil.rmtree(undisturbed)
        print(f"{kills} kills in {runs} collections, in {healed} of them lines had to be cut off")
