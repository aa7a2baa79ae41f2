"""The modules that a reader has to open to follow one episode from play to a training row."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from agent_gym_env.assembly import make_env, make_policy
from agent_gym_env.export.from_episodes import conversations
from agent_gym_env.export.rows import Tally, write_rows
from agent_gym_env.rollout.jobs import best_episode
from agent_gym_env.rollout.journal.reading import read_episodes
from agent_gym_env.rollout.journal.writing import open_journal
from agent_gym_env.rollout.play import play

FOLDERS = ("agent_gym_env.chat", "agent_gym_env.rollout.", "agent_gym_env.export.")

WALK = {
    "agent_gym_env.rollout.play",
    "agent_gym_env.rollout.episode",
    "agent_gym_env.chat",
    "agent_gym_env.rollout.jobs",
    "agent_gym_env.rollout.journal.writing",
    "agent_gym_env.rollout.journal.format",
    "agent_gym_env.rollout.journal.reading",
    "agent_gym_env.export.from_episodes",
    "agent_gym_env.export.rows",
}


@contextmanager
def called_modules(found: set[str]) -> Iterator[None]:
    """Add the modules of `FOLDERS` whose functions are called."""

    def note(frame: FrameType, event: str, argument: Any) -> None:
        module = frame.f_globals.get("__name__", "")
        if event == "call" and module.startswith(FOLDERS):
            found.add(module)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(before)


def test_an_episode_passes_at_most_nine_modules(tiny_corpus: Path, tmp_path: Path) -> None:
    env = make_env(corpus=str(tiny_corpus), split="train")
    oracle = make_policy("oracle", env)
    passed: set[str] = set()
    with open_journal(tmp_path / "run", "episodes", {}, 1) as journal, called_modules(passed):
        result = best_episode(0, [play(env, oracle, dialogue_id="1_00000", seed=0)])
        journal.append(result.entry, result.records)
    with called_modules(passed):
        rows = conversations(read_episodes(tmp_path / "run"), Tally())
        write_rows(tmp_path / "rows.jsonl", rows, Tally())
    assert (tmp_path / "rows.jsonl").read_bytes().count(b"\n") == 1
    assert passed == WALK
    assert len(WALK) <= 9
