"""Later turns of a dialogue's file do not change earlier observations or candidates."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent_gym_env.corpus.corpus import open_corpus
from agent_gym_env.corpus.locations import sample_path
from agent_gym_env.envs.dialogue import SGDEnv
from agent_gym_env.retrieval.candidates import CandidateGenerator
from agent_gym_env.retrieval.training import load_or_train
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


TOKEN = "Qzx"
"""In no word of the corpus."""


def replace_answers(split: Path, random_: random.Random) -> dict[str, int]:
    """Replace what was done in one turn of each dialogue, and all that follows; gives the turns."""
    shard = split / "dialogues_001.json"
    dialogues = json.loads(shard.read_text())
    replaced = {}
    for dialogue in dialogues:
        turns = dialogue["turns"]
        turn = replaced[dialogue["dialogue_id"]] = random_.randrange(len(turns) // 2)
        frames = [{"service": dialogue["services"][-1], "actions": [], "slots": []}]
        answer = {"speaker": "SYSTEM", "utterance": f"{TOKEN} {turn}.", "frames": frames}
        again = [turns[2 * turn], answer] * random_.randrange(3)
        dialogue["turns"] = [*turns[: 2 * turn + 1], answer, *again]
    shard.write_text(json.dumps(dialogues))
    return replaced


def test_the_recorded_answer_and_what_follows_it_change_no_candidate(tmp_path: Path) -> None:
    train = open_corpus("sample").split("train")
    source = CandidateGenerator(load_or_train(train, training_dialogues=90, indexed=70))
    env = SGDEnv("sample", "dev")
    for seed in range(sized(2, 20)):
        other = tmp_path / str(seed)
        shutil.copytree(sample_path(), other)
        replaced = replace_answers(other / "dev", random.Random(seed))
        twin = SGDEnv(str(other), "dev")
        for dialogue_id, turn in replaced.items():
            candidates, targets = zip(
                proposed(env, source, dialogue_id, turn),
                proposed(twin, source, dialogue_id, turn),
                strict=True,
            )
            assert candidates[0] == candidates[1]
            assert TOKEN not in candidates[0]
            assert TOKEN in targets[1]
            assert TOKEN not in targets[0]


def proposed(
    env: SGDEnv, source: CandidateGenerator, dialogue_id: str, last: int
) -> tuple[str, str]:
    """Do as recorded before a turn; give all candidates up to it, and what was recorded in it."""
    observation, info = env.reset(options={"dialogue_id": dialogue_id})
    seen = [source.candidates(observation, 16)]
    while info["turn"] < last:
        observation, _, _, _, info = env.step(env.recorded_action())
        seen.append(source.candidates(observation, 16))
    target = env.step("Certainly.")[-1]["target"]
    return msgspec.json.encode(seen).decode(), msgspec.json.encode(target).decode()
