"""The same seed and actions give the same bytes, wherever and however they are played."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from agent_gym_env.envs.dialogue import SGDEnv
from tests.reliability.playing import Mischief, digest, in_fresh_process, sized, trace
from tests.timing import PROCESS_S

EPISODES = sized(40, 1000)


@pytest.fixture(scope="module", params=["ground_truth", "balanced"])
def arguments(request: pytest.FixtureRequest) -> tuple[str, str, str, int]:
    return "sample", "train", request.param, EPISODES


@pytest.fixture(scope="module")
def expected(arguments: tuple[str, str, str, int]) -> str:
    """Digest that this process computes."""
    return digest(*arguments)


def of_fresh_process(arguments: tuple[str, str, str, int], **environment: str) -> str:
    return in_fresh_process("tests.reliability.playing", *arguments, **environment)


def test_another_instance_gives_the_same(
    arguments: tuple[str, str, str, int], expected: str
) -> None:
    assert digest(*arguments) == expected


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONHASHSEED": "0"},
        {"PYTHONHASHSEED": "1"},
        {"PYTHONHASHSEED": "4000000000"},
        {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"TZ": "Pacific/Kiritimati"},
    ],
)
def test_a_fresh_process_gives_the_same(
    arguments: tuple[str, str, str, int], expected: str, environment: dict[str, str]
) -> None:
    assert of_fresh_process(arguments, **environment) == expected


def test_a_cold_cache_gives_the_same(
    arguments: tuple[str, str, str, int], expected: str, tmp_path: Path
) -> None:
    for _ in ("cold", "warm"):
        assert of_fresh_process(arguments, AGENT_GYM_HOME=str(tmp_path)) == expected


def test_the_same_files_are_compiled_to_the_same_bytes(
    arguments: tuple[str, str, str, int], tmp_path: Path
) -> None:
    for seed in ("0", "1"):
        of_fresh_process(arguments, PYTHONHASHSEED=seed, AGENT_GYM_HOME=str(tmp_path / seed))
    stores = [path.read_bytes() for path in sorted(tmp_path.rglob("train.store"))]
    assert len(stores) == 2
    assert stores[0] == stores[1]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
# Python 3.12 warns of a fork beside threads: here no thread holds a lock.
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_child_processes_give_the_same(
    arguments: tuple[str, str, str, int], expected: str, method: str
) -> None:
    used = SGDEnv(*arguments[:2], reward=arguments[2])
    used.reset(seed=0)
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        futures = [pool.submit(digest, *arguments) for _ in range(2)]
        assert {future.result(timeout=PROCESS_S + EPISODES) for future in futures} == {expected}


def test_threads_give_the_same(arguments: tuple[str, str, str, int], expected: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: digest(*arguments), range(8))) == {expected}


def test_real_sgd_gives_the_same_in_fresh_processes(sgd_path: Path) -> None:
    arguments = (str(sgd_path), "dev", "ground_truth", EPISODES)
    digests = {of_fresh_process(arguments, PYTHONHASHSEED=seed) for seed in ("0", "1", "2")}
    assert digests == {digest(*arguments)}


def test_environments_that_are_played_in_turns_do_not_know_of_each_other() -> None:
    alone = [list(trace(SGDEnv(), Mischief(seed), episodes=3, seed=seed)) for seed in range(4)]
    playing = [trace(SGDEnv(), Mischief(seed), episodes=3, seed=seed) for seed in range(4)]
    together: list[list[bytes]] = [[] for _ in playing]
    while any(advance(player, given) for player, given in zip(playing, together, strict=True)):
        pass
    assert together == alone


def advance(player: Any, given: list[bytes]) -> bool:
    """Play one step; tells whether there was one."""
    step = next(player, None)
    if step is not None:
        given.append(step)
    return step is not None


def test_environments_without_a_seed_draw_for_themselves() -> None:
    drawn = [[env.reset()[1]["dialogue_id"] for _ in range(8)] for env in (SGDEnv(), SGDEnv())]
    assert drawn[0] != drawn[1]
