import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent_gym_env.corpus.corpus import open_corpus
from agent_gym_env.envs.dialogue import SGDEnv
from agent_gym_env.retrieval.candidates import CandidateGenerator
from agent_gym_env.retrieval.training import train_model
from agent_gym_env.types import Observation
from tests.corpora import DEV, TEAS, TRAMS, write_split


@pytest.fixture(scope="module")
def generator(tiny_corpus: Path) -> CandidateGenerator:
    return CandidateGenerator(
        train_model(open_corpus(tiny_corpus).split("train"), training_dialogues=3, indexed=3)
    )


def observation(*messages: dict[str, Any], tools: str = "[]") -> Observation:
    return {"user": "", "tool_result": "", "messages": json.dumps(messages), "tools": tools}


def played(env: SGDEnv) -> list[Observation]:
    """Return the observations of an agent that always says the same."""
    seen, _ = env.reset(options={"dialogue_id": "1_00000"})
    observations: list[Observation] = [seen]
    over = False
    while not over:
        seen, _, over, _, _ = env.step("Certainly.")
        observations.append(seen)
    return observations[:-1]


def test_candidates_do_not_hang_on_what_was_recorded(
    generator: CandidateGenerator, tiny_corpus: Path, tmp_path: Path
) -> None:
    other = msgspec.json.decode(msgspec.json.encode(DEV), type=list[Any])
    for dialogue in other:
        for turn in dialogue["turns"]:
            if turn["speaker"] == "SYSTEM":
                turn["utterance"], turn["frames"][0]["slots"] = "Something else.", []
    folder = write_split(tmp_path / "other" / "dev", [TEAS, TRAMS], {})
    (folder / "dialogues_001.json").write_bytes(msgspec.json.encode(other))
    for one, changed in zip(
        played(SGDEnv(tiny_corpus, "dev")), played(SGDEnv(folder.parent, "dev")), strict=True
    ):
        assert generator.candidates(one, 20) == generator.candidates(changed, 20)


def test_the_best_candidate_comes_first_and_none_comes_twice(
    generator: CandidateGenerator, tiny_corpus: Path
) -> None:
    for seen in played(SGDEnv(tiny_corpus, "dev")):
        found = generator.candidates(seen, 20)
        scores = [candidate.score for candidate in found]
        assert scores == sorted(scores, reverse=True)
        assert all(0 <= score <= 1 for score in scores)
        actions = {msgspec.json.encode(candidate.action) for candidate in found}
        assert len(actions) == len(found)
        assert generator.candidates(seen, 1) == found[:1]


def test_asking_twice_gives_the_same(generator: CandidateGenerator, tiny_corpus: Path) -> None:
    for seen in played(SGDEnv(tiny_corpus, "dev")):
        assert generator.candidates(seen, 9) == generator.candidates(seen, 9)


def test_no_second_call_is_proposed_in_a_turn(
    generator: CandidateGenerator, tiny_corpus: Path
) -> None:
    env = SGDEnv(tiny_corpus)
    env.reset(options={"dialogue_id": "1_00000"})
    seen, *_ = env.step(
        {"tool_call": {"name": "FindTea", "arguments": {"kind": "green"}}, "text": ""}
    )
    assert {candidate.source for candidate in generator.candidates(seen, 99)} <= {
        "neighbour",
        "schema",
    }


def test_there_is_something_to_say_without_tools(generator: CandidateGenerator) -> None:
    (only, *_) = generator.candidates(observation({"role": "user", "content": "Hello"}), 5)
    assert only.action.text


def test_missing_arguments_are_asked_for_in_the_words_of_the_schema(
    generator: CandidateGenerator, tiny_corpus: Path
) -> None:
    env = SGDEnv(tiny_corpus, "dev")
    seen, _ = env.reset(options={"dialogue_id": "1_00000"})
    empty = observation({"role": "user", "content": "hm"}, tools=seen["tools"])
    asked = [
        each.action.text for each in generator.candidates(empty, 99) if each.source == "schema"
    ]
    assert "What the stop would you like?" in asked
