"""Collecting on costs nothing: no memory, files or threads an episode."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from agent_gym_env.rollout.collect import Progress, run_collection
from agent_gym_env.rollout.runners import LockstepRunner, Runner, SerialRunner, ThreadRunner
from tests.reliability.playing import sized
from tests.reliability.process import Holdings, holdings, holds_no_more, in_new_process, needs_proc
from tests.rollout.collecting import collection, open_player

pytestmark = needs_proc


@pytest.mark.parametrize("runner", [SerialRunner(), ThreadRunner(2), LockstepRunner(8)])
def test_memory_files_and_threads_stay_as_they_are(
    tiny_corpus: Path, tmp_path: Path, runner: Runner
) -> None:
    in_new_process(endure, tiny_corpus, tmp_path, runner)


def endure(corpus: Path, out: Path, runner: Runner) -> None:
    jobs = sized(600, 10_000)
    what = collection(corpus, "model", jobs=jobs)
    held: list[Holdings] = []

    def look(progress: Progress) -> None:
        if progress.played in (jobs // 3, jobs - 20):
            held.append(holdings())

    run_collection(what, out, partial(open_player, what), runner, on_progress=look)
    warm, end = held
    print(f"{end.memory_mb - warm.memory_mb:+.2f} MB over {jobs - jobs // 3} episodes")
    assert end.memory_mb - warm.memory_mb < 5
    assert holds_no_more(end, warm)
