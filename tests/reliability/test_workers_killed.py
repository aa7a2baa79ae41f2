"""Killed worker processes change nothing about what is collected."""

from __future__ import annotations

import multiprocessing
import random
from functools import partial
from pathlib import Path

from agent_gym_env.rollout.collect import Progress, run_collection
from agent_gym_env.rollout.runners import ProcessRunner, SerialRunner
from tests.reliability.playing import sized
from tests.rollout.collecting import collection, open_player, records


def test_what_a_killed_worker_had_begun_another_one_plays(
    tiny_corpus: Path, tmp_path: Path
) -> None:
    kills = sized(2, 20)
    what = collection(tiny_corpus, jobs=12 * kills, model={"delay_s": 0.005})
    open_it = partial(open_player, what)
    random_ = random.Random(0)
    killed = 0

    def kill(progress: Progress) -> None:
        nonlocal killed
        if progress.played % 10 == 0 and killed < kills:
            random_.choice(multiprocessing.active_children()).kill()
            killed += 1

    run_collection(what, tmp_path / "processes", open_it, ProcessRunner(2), on_progress=kill)
    run_collection(what, tmp_path / "serial", open_it, SerialRunner())
    print(f"{killed} workers killed")
    assert killed == kills
    assert records(tmp_path / "processes") == records(tmp_path / "serial")
