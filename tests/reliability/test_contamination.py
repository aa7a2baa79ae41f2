"""The splits know nothing of each other."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from agent_gym_env.corpus.corpus import open_corpus
from agent_gym_env.corpus.locations import sample_path
from agent_gym_env.corpus.sgd import SPLITS
from agent_gym_env.corpus.sgd_reader import open_source
from agent_gym_env.envs.dialogue import SGDEnv
from tests.reliability.canaries import canaries, write_canary_corpus
from tests.reliability.playing import digest, sized

EPISODES = sized(60, 1000)
HELD_OUT = ("dev", "test")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return Path(shutil.copytree(sample_path(), tmp_path / "corpus"))


@pytest.mark.parametrize("reward", ["ground_truth", "balanced"])
def test_train_is_the_same_without_the_other_splits(corpus: Path, reward: str) -> None:
    whole = digest(str(corpus), "train", reward, EPISODES)
    for split in HELD_OUT:
        shutil.rmtree(corpus / split)
    assert digest(str(corpus), "train", reward, EPISODES) == whole


@pytest.mark.parametrize("reward", ["ground_truth", "balanced"])
def test_train_is_the_same_beside_other_splits(corpus: Path, tmp_path: Path, reward: str) -> None:
    whole = digest(str(corpus), "train", reward, EPISODES)
    spoilt = write_canary_corpus(corpus, tmp_path / "spoilt")
    for split in HELD_OUT:
        shutil.rmtree(corpus / split)
        shutil.copytree(spoilt / split, corpus / split)
    assert digest(str(corpus), "train", reward, EPISODES) == whole


@pytest.mark.parametrize("split", HELD_OUT)
def test_a_held_out_split_is_the_same_without_the_others(corpus: Path, split: str) -> None:
    whole = digest(str(corpus), split, "ground_truth", EPISODES)
    for other in {*SPLITS} - {split}:
        shutil.rmtree(corpus / other)
    assert digest(str(corpus), split, "ground_truth", EPISODES) == whole


def test_services_answer_from_their_own_split_only(tmp_path: Path) -> None:
    corpus = open_corpus(write_canary_corpus(sample_path(), tmp_path / "canaries"))
    for name in SPLITS:
        split = corpus.split(name)
        rows = [row for tool in split.tools for row in split.entities.rows(tool, {})]
        assert {canary.split for canary in canaries(*map(bytes.decode, rows))} == {name}


def test_an_id_of_two_splits_means_the_dialogue_of_one() -> None:
    envs = {name: SGDEnv(split=name) for name in SPLITS}
    shared = set.intersection(*(set(env.split.dialogue_ids()) for env in envs.values()))
    assert shared
    for dialogue_id in shared:
        told = {
            env.reset(options={"dialogue_id": dialogue_id})[0]["messages"] for env in envs.values()
        }
        assert len(told) == len(SPLITS)


def test_a_state_of_one_split_is_not_a_state_of_another() -> None:
    train, dev = SGDEnv(split="train"), SGDEnv(split="dev")
    train.reset(options={"dialogue_id": "1_00000"})
    with pytest.raises(ValueError, match="split"):
        dev.set_state(train.get_state())


def test_real_dialogues_with_one_id_are_told_apart(sgd_path: Path) -> None:
    env = SGDEnv(str(sgd_path), "dev")
    with open_source(sgd_path) as source:
        dialogues = json.loads(source.read(source.shards("dev")[0]))
    for dialogue in dialogues:
        observation, _ = env.reset(options={"dialogue_id": dialogue["dialogue_id"]})
        assert observation["user"] == dialogue["turns"][0]["utterance"]
