"""What comes later in a dialogue's file changes nothing that is told before."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent_gym_env.corpus.sample import sample_path
from agent_gym_env.envs.dialogue import SGDEnv
from tests.reliability.playing import sized


def swap_futures(split: Path, random_: random.Random) -> dict[str, int]:
    """Exchange what follows a turn with what follows in another dialogue; gives the turns."""
    shard = split / "dialogues_001.json"
    dialogues = json.loads(shard.read_text())
    kept = {}
    changed = []
    for dialogue in dialogues:
        turns = dialogue["turns"]
        turn = random_.randrange(len(turns) // 2 - 1)
        kept[dialogue["dialogue_id"]] = turn
        other = random_.choice([each for each in dialogues if len(each["turns"]) > 2 * turn + 2])
        services = list(dict.fromkeys(dialogue["services"] + other["services"]))
        future = other["turns"][2 * turn + 2 :]
        # The services on offer are told at the beginning, so those that come must have been there.
        if services != dialogue["services"]:
            future = [turns[-2], turns[-1]] * random_.randrange(1, 4)
        changed.append({**dialogue, "turns": turns[: 2 * turn + 2] + future})
    shard.write_text(json.dumps(changed))
    return kept


@pytest.mark.parametrize("reward", ["ground_truth", "balanced"])
def test_what_comes_later_changes_nothing_before(tmp_path: Path, reward: str) -> None:
    # Train stays as it is: its words are weighed in the balanced reward of every split.
    env = SGDEnv("sample", "dev", reward=reward)
    for seed in range(sized(2, 20)):
        other = tmp_path / str(seed)
        shutil.copytree(sample_path(), other)
        kept = swap_futures(other / "dev", random.Random(seed))
        twin = SGDEnv(str(other), "dev", reward=reward)
        for dialogue_id, last in kept.items():
            assert until(env, dialogue_id, last) == until(twin, dialogue_id, last)


def until(env: SGDEnv, dialogue_id: str, last: int) -> list[bytes]:
    """Play up to a turn without hearing what follows it; gives all that was told."""
    told: list[Any] = [env.reset(options={"dialogue_id": dialogue_id})]
    for turn in range(last + 1):
        calls = env.recorded_action().tool_calls if turn % 2 else ()
        wrong = {"name": "NoSuch_1-Tool", "arguments": {}}
        told.append(env.step({"tool_calls": [*calls, wrong]}))
        observation, reward, terminated, truncated, info = env.step("Certainly.")
        if turn == last:
            observation = {"tools": observation["tools"]}
        told.append((observation, reward, terminated, truncated, info))
    return [msgspec.json.encode(each) for each in told]
