"""Processes that die are replaced; what kills them each time has failed."""

from __future__ import annotations

import multiprocessing
import os
from functools import partial
from pathlib import Path

import pytest

from agent_gym_env.errors import AgentGymError
from agent_gym_env.rollout.collect import run_collection
from agent_gym_env.rollout.runners import ProcessRunner
from tests.rollout.collecting import collection, open_player


def test_a_job_that_kills_its_workers_has_failed(tiny_corpus: Path, tmp_path: Path) -> None:
    what = collection(tiny_corpus, jobs=3, model={"dies_on": "Do you sell black tea?"})
    result = run_collection(what, tmp_path, partial(open_player, what), ProcessRunner(1))
    assert (result.done, result.failed) == (2, 1)
    assert '"error":"WorkerDied: 3 workers died of it' in (tmp_path / "failed.jsonl").read_text()


def test_workers_that_die_before_they_begin_are_an_error_of_the_run(
    tiny_corpus: Path, tmp_path: Path
) -> None:
    what = collection(tiny_corpus)
    with pytest.raises(AgentGymError, match="died before they could begin"):
        run_collection(what, tmp_path, partial(os._exit, 3), ProcessRunner(1))


def test_closing_ends_the_processes(tiny_corpus: Path) -> None:
    what = collection(tiny_corpus, jobs=1000)
    outcomes = ProcessRunner(2).run(partial(open_player, what), range(1000))
    next(outcomes)
    children = multiprocessing.active_children()
    outcomes.close()
    assert len(children) == 2
    assert not any(child.is_alive() for child in children)
