"""Ray actors collect what every other runner does; those that are killed are replaced."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agent_gym_env.assembly import collect
from agent_gym_env.errors import BudgetExceeded
from agent_gym_env.rollout.collect import Progress, run_collection
from agent_gym_env.rollout.ray_runner import RayRunner
from agent_gym_env.rollout.runners import SerialRunner
from tests.reliability.playing import sized
from tests.rollout.collecting import collection, open_player, records

ray = pytest.importorskip("ray", reason="the extra 'ray' is not installed")


@pytest.fixture(scope="module", autouse=True)
def local_ray(agent_gym_home: Path) -> Iterator[Any]:
    """Ray on this machine, for all tests here: it takes seconds to begin."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # Its own, also while another test runs a cluster on this machine.
        ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
        yield ray
        ray.shutdown()


def test_actors_collect_the_same(tiny_corpus: Path, tmp_path: Path) -> None:
    what = collection(tiny_corpus, jobs=8, best_of=2)
    open_it = partial(open_player, what)
    run_collection(what, tmp_path / "serial", open_it, SerialRunner())
    run_collection(what, tmp_path / "ray", open_it, RayRunner(2))
    assert records(tmp_path / "ray") == records(tmp_path / "serial")


def test_actors_play_simulated_dialogues(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"env": "SGDSim-v0", "split": "dev", "understanding": "acts"}
    arguments["user"] = {"name": "agenda", "miss": 0.2}
    for runner in ("serial", "ray"):
        collect("acts-oracle", tmp_path / runner, episodes=4, runner=runner, **arguments)
    assert records(tmp_path / "ray") == records(tmp_path / "serial")


def test_what_a_killed_actor_had_begun_another_one_plays(tiny_corpus: Path, tmp_path: Path) -> None:
    kills = sized(2, 20)
    what = collection(tiny_corpus, jobs=12 * kills, model={"delay_s": 0.005})
    open_it = partial(open_player, what)
    random_ = random.Random(0)
    killed = 0

    def kill(progress: Progress) -> None:
        nonlocal killed
        if progress.played % 10 == 0 and killed < kills and (actors := actor_processes()):
            os.kill(random_.choice(actors), signal.SIGKILL)
            killed += 1

    run_collection(what, tmp_path / "ray", open_it, RayRunner(2), on_progress=kill)
    run_collection(what, tmp_path / "serial", open_it, SerialRunner())
    print(f"{killed} actors killed")
    assert killed == kills
    assert records(tmp_path / "ray") == records(tmp_path / "serial")


def actor_processes() -> list[int]:
    """Find the processes of this Ray's actors: children of its raylet, which is a child of this."""
    parents = {int(path.name): _parent(path) for path in Path("/proc").glob("[0-9]*")}
    raylets = {child for child, parent in parents.items() if parent == os.getpid()}
    return [
        child
        for child, parent in parents.items()
        if parent in raylets and _title(child).startswith("ray::_Player")
    ]


def _parent(process: Path) -> int | None:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def _title(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_text()
    except OSError:
        return ""


def test_an_error_that_stops_the_run_stops_it(tiny_corpus: Path, tmp_path: Path) -> None:
    what = collection(tiny_corpus, jobs=30, model={"stops_after": 40})
    with pytest.raises(BudgetExceeded, match="all is spent"):
        run_collection(what, tmp_path, partial(open_player, what), RayRunner(1))
    assert 0 < len(records(tmp_path)) < 30
