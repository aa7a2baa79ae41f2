"""The choice among candidates is as wide as the source makes it, and never knows the answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import msgspec
import numpy as np
import pytest

from agent_gym_env.corpus.sgd import Dialogue, SystemTurn
from agent_gym_env.retrieval.candidates import CandidateGenerator
from agent_gym_env.retrieval.training import train_model
from agent_gym_env.types import Action
from agent_gym_env.wrappers import CandidateAction
from tests.corpora import CAKES, TEAS, TRAIN, TRAMS, write_split
from tests.wrappers.conftest import Make
from tests.wrappers.scripted_source import BYE, FIND_GREEN, SENCHA, WHICH, ScriptedSource

TEA = {"dialogue_id": TRAIN[0].dialogue_id}


def test_a_number_takes_its_candidate(make: Make) -> None:
    env = CandidateAction(make(), ScriptedSource(), k=4)
    env.reset(options=TEA)
    assert [each.action for each in env.candidates] == [FIND_GREEN, SENCHA, WHICH, BYE]
    observation, *_ = env.step(0)
    assert json.loads(observation["tool_result"])[0]["status"] == "success"
    observation, *_ = env.step(np.int64(0))
    assert json.loads(observation["messages"])[-2]["content"] == SENCHA.text


def test_the_mask_says_which_numbers_have_a_candidate(make: Make) -> None:
    env = CandidateAction(make(), ScriptedSource(), k=6)
    _, info = env.reset(options=TEA)
    assert env.action_masks().tolist() == [True] * 4 + [False] * 2
    assert info["action_mask"].dtype == np.int8
    assert info["action_mask"].tolist() == [1, 1, 1, 1, 0, 0]
    _, _, _, _, info = env.step(0)
    assert info["action_mask"].tolist() == [1, 1, 1, 0, 0, 0]


def test_masked_samples_have_a_candidate(make: Make) -> None:
    env = CandidateAction(make(), ScriptedSource(), k=100)
    _, info = env.reset(options=TEA)
    env.action_space.seed(0)
    drawn = {int(env.action_space.sample(info["action_mask"])) for _ in range(100)}
    assert drawn == {0, 1, 2, 3}


def test_a_number_without_a_candidate_is_silence(make: Make) -> None:
    env = CandidateAction(make(reward="balanced"), ScriptedSource(), k=6)
    env.reset(options=TEA)
    assert env.chosen(5) == Action()
    _, reward, _, _, info = env.step(5)
    assert (reward, info["turn"]) == (0.0, 1)


@pytest.mark.parametrize("action", [-1, 4, 1.9, "3", None])
def test_what_is_outside_the_space_raises(make: Make, action: Any) -> None:
    env = CandidateAction(make(), ScriptedSource(), k=4)
    env.reset(options=TEA)
    with pytest.raises(ValueError, match=f"a number from 0 to 3, not {action!r}"):
        env.step(action)


def test_no_more_than_k_are_proposed(make: Make) -> None:
    env = CandidateAction(make(), ScriptedSource(), k=2)
    env.reset(options=TEA)
    assert len(env.candidates) == 2


def test_nothing_is_proposed_when_the_dialogue_is_over(make: Make) -> None:
    env = CandidateAction(make(), ScriptedSource(), k=4)
    env.reset(options={"dialogue_id": TRAIN[1].dialogue_id})
    env.step(3)
    _, _, terminated, _, info = env.step(3)
    assert terminated
    assert (env.candidates, info["action_mask"].tolist()) == ((), [0, 0, 0, 0])


def test_a_situation_that_is_met_again_is_worked_out_once(make: Make) -> None:
    source = ScriptedSource()
    env = CandidateAction(make(), source, k=4)
    for _ in range(3):
        env.reset(options=TEA)
    assert source.asked == 1


def test_an_environment_without_text_is_refused(make: Make) -> None:
    once = CandidateAction(make(), ScriptedSource(), k=4)
    with pytest.raises(
        TypeError, match=r"CandidateAction wraps .* action space is a Dict .* Discr"
    ):
        CandidateAction(once, ScriptedSource(), k=4)


def test_there_is_at_least_one_candidate(make: Make) -> None:
    with pytest.raises(ValueError, match="k must be at least 1, not 0"):
        CandidateAction(make(), ScriptedSource(), k=0)


def with_other_answer(dialogue: Dialogue, turn: int) -> Dialogue:
    """Return a dialogue with an unrelated recorded answer in one turn of the agent."""
    turns = list(dialogue.turns)
    answer = turns[2 * turn + 1]
    assert isinstance(answer, SystemTurn)
    frames = [
        msgspec.structs.replace(frame, slots=[], service_call=None, service_results=None)
        for frame in answer.frames
    ]
    turns[2 * turn + 1] = SystemTurn("We have closed for good.", frames)
    return msgspec.structs.replace(dialogue, turns=turns)


def candidates_up_to(env: CandidateAction, dialogue_id: str, turn: int) -> list[Any]:
    """Play the first candidate until a turn begins; all that was proposed on the way."""
    _, info = env.reset(options={"dialogue_id": dialogue_id})
    proposed = [list(env.candidates)]
    while info["turn"] < turn:
        _, _, _, _, info = env.step(0)
        proposed.append(list(env.candidates))
    return proposed


@pytest.mark.parametrize("turn", [0, 1, 2])
def test_the_candidates_do_not_depend_on_the_recorded_answer(tmp_path: Path, turn: int) -> None:
    """Two corpora are equal but for what the corpus did in the turn that is to be played."""
    tea = TRAIN[0]
    proposed = []
    for name, played in (("as-recorded", tea), ("otherwise", with_other_answer(tea, turn))):
        corpus = tmp_path / name
        write_split(corpus / "train", [TEAS, CAKES], {"dialogues_001.json": TRAIN})
        write_split(corpus / "dev", [TEAS, TRAMS], {"dialogues_001.json": [played]})
        bare = gym.make("agent_gym_env:SGD-v0", corpus=str(corpus), split="dev")
        train = bare.unwrapped.corpus.split("train")  # type: ignore[attr-defined]
        source = CandidateGenerator(train_model(train, training_dialogues=3, indexed=3))
        proposed.append(
            candidates_up_to(CandidateAction(bare, source, k=16), tea.dialogue_id, turn)
        )
    assert proposed[0] == proposed[1]
    assert len(proposed[0]) > turn
