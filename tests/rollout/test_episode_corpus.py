from pathlib import Path

import msgspec
import pytest

from agent_gym_env.assembly import collect, rollout
from agent_gym_env.corpus.corpus import open_corpus
from agent_gym_env.errors import DataError
from agent_gym_env.rollout.journal.reading import write_episodes
from tests.rollout.test_logs import Bookings


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("episodes") / "played"
    collect("uniform", folder, split="dev", episodes=4, seed=3, best_of=2, keep_all=True)
    return folder


def test_what_a_policy_did_is_replayed(journal: Path) -> None:
    corpus = {"name": "episodes", "path": str(journal)}
    split = open_corpus(corpus).split("dev")
    assert len(split) == 8
    again = list(rollout("oracle", corpus=corpus, split="dev", reward="ground_truth"))
    assert [turn.reward for each in again for turn in each.turns if turn.reward != 1.0] == []
    assert {each.dialogue_id.partition("~")[2] for each in again} == {"", "2"}


def test_refused_calls_are_answered_as_they_were(journal: Path) -> None:
    split = open_corpus({"name": "episodes", "path": str(journal)}).split("dev")
    calls = [c for i in range(len(split)) for t in split.task(i).turns for c in t.calls]
    refused = [call for call in calls if call.status == "error"]
    assert refused, "the uniform policy makes calls that are refused"
    assert all(call.results.startswith('"') for call in refused)


def test_simulated_dialogues_are_a_corpus(tmp_path: Path) -> None:
    collect("rule", tmp_path / "sim", env="SGDSim-v0", split="dev", episodes=3)
    corpus = {"name": "episodes", "path": str(tmp_path / "sim")}
    again = list(rollout("oracle", corpus=corpus, split="dev", reward="balanced"))
    assert [turn.reward for each in again for turn in each.turns if turn.reward != 1.0] == []


def test_episodes_of_any_split_and_of_changed_tools_are_played(tmp_path: Path) -> None:
    (first,) = rollout("oracle", corpus=Bookings(), split="train")
    changed = first.tools.replace("Book a day", "Book one day")
    assert changed != first.tools
    episodes = [
        msgspec.structs.replace(first, split="all"),
        msgspec.structs.replace(first, split="all", dialogue_id="e", tools=changed),
    ]
    path = tmp_path / "episodes.jsonl"
    list(write_episodes(path, episodes))
    corpus = {"name": "episodes", "path": str(path)}
    assert open_corpus(corpus).splits() == ("all",)
    again = list(rollout("oracle", corpus=corpus, split="all", reward="balanced"))
    assert [each.tools for each in again] == [first.tools, changed]
    assert [turn.reward for each in again for turn in each.turns] == [1.0] * 4


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        open_corpus({"name": "episodes", "path": str(tmp_path / "none")})
