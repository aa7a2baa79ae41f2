"""Rows of how the sample's dialogues begin: short, so that one core soon learns from them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from agent_gym_env.assembly import choose_dialogues, make_env, make_policy, rollout
from agent_gym_env.export.from_episodes import conversation_row, prompt_rows
from agent_gym_env.export.preference_pairs import PairRule, preference_rows
from agent_gym_env.export.rows import PreferenceRow, Tally
from agent_gym_env.rollout.branching import branch_point, play_path, start_branch
from agent_gym_env.rollout.episode import Episode
from agent_gym_env.rollout.play import play_to_end

TURNS = 2
"""Of each dialogue."""


def write(path: Path, rows: Iterable[Any]) -> str:
    """Write rows; give the path as configurations take it."""
    path.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    return str(path)


def small_model(folder: Path) -> str:
    """Make a small model that has read a few of these conversations; give its path."""
    from agent_gym_env.training.config import TinyConfig
    from agent_gym_env.training.tiny import make_tiny

    size = TinyConfig(
        vocabulary=500, width=32, layers=1, heads=2, context=512, result_characters=60, practice=0
    )
    make_tiny(folder, msgspec.to_builtins(conversations("train", 4)), size)
    return str(folder)


def conversations(split: str, episodes: int) -> list[Any]:
    """Return the conversations of the first turns, as the oracle plays them."""
    return [conversation_row(each) for each in _beginnings(split, episodes)]


def prompts(split: str, episodes: int) -> list[Any]:
    """Return the states at the beginning of the first turns."""
    return [row for each in _beginnings(split, episodes) for row in prompt_rows(each)]


def pairs(split: str, episodes: int, worse: tuple[str, ...] = ("retrieval", "silent")) -> list[Any]:
    """Return pairs of the oracle's message and another policy's."""
    return list(_pairs(split, episodes, worse))


def _beginnings(split: str, episodes: int) -> list[Episode]:
    played = rollout("oracle", split=split, reward="balanced", episodes=episodes)
    return [msgspec.structs.replace(each, turns=each.turns[:TURNS]) for each in played]


def _pairs(split: str, episodes: int, worse: tuple[str, ...]) -> Iterator[PreferenceRow]:
    env: Any = make_env(split=split, reward="balanced")
    policies = [make_policy(name, env) for name in ("oracle", *worse)]
    tally = Tally()
    for dialogue_id in choose_dialogues(env, episodes, seed=0):
        way = play_path(env.unwrapped, policies[0], dialogue_id=dialogue_id, seed=0)
        for state in (each for each in way.states if each.turn < TURNS):
            branches = [
                play_to_end(start_branch(env.unwrapped, state, policy.name, 0), policy, 0).branch
                for policy in policies
            ]
            point = branch_point(env.unwrapped, state, 0, branches)
            yield from preference_rows(point, PairRule(), tally)
