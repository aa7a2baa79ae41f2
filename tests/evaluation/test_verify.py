from pathlib import Path

import msgspec
import pytest

from agent_gym_env.corpus.corpus import Split, open_corpus
from agent_gym_env.corpus.sgd import SCHEMA_VARIANTS, Dialogue
from agent_gym_env.evaluation.table import verification_rows
from agent_gym_env.evaluation.verify import Verification, as_recorded, verify
from agent_gym_env.rewards.base import ClosedTurn, Score
from agent_gym_env.rewards.presets import make_reward
from tests.corpora import TRAMS, system, user, write_split, write_tiny_corpus


class StrictReward:
    """Cannot tell of goodbyes, and gives half for a call."""

    name = "strict"
    parts: tuple[str, ...] = ("words", "call")

    def score(self, turn: ClosedTurn) -> Score:
        if turn.text == "Goodbye.":
            return Score(None, {"words": None, "call": None}, "the judge was silent")
        call = 0.5 if turn.calls else None
        return Score(1.0 if call is None else 0.75, {"words": 1.0, "call": call})


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Split:
    """Three dialogues; the first has three calls and a goodbye, the others a call each."""
    return open_corpus(write_tiny_corpus(tmp_path_factory.mktemp("tiny"))).split("train")


def test_every_turn_below_one_is_listed_with_its_place_and_its_reason(train: Split) -> None:
    found = verify(train, [StrictReward()])
    assert verification_rows(found) == [
        ("1_00000", "0", "strict", "0.750", "call 0.500"),
        ("1_00000", "1", "strict", "0.750", "call 0.500"),
        ("1_00000", "2", "strict", "0.750", "call 0.500"),
        ("1_00000", "3", "strict", "-", "the judge was silent"),
        ("1_00001", "0", "strict", "0.750", "call 0.500"),
        ("1_00002", "1", "strict", "0.750", "call 0.500"),
    ]


def test_a_verification_counts_what_it_scored(train: Split) -> None:
    seen: list[None] = []
    found = verify(train, [StrictReward()], on_dialogue=lambda: seen.append(None))
    assert (found.dialogues, found.turns, len(seen)) == (3, 8, 3)
    assert (found.split, found.corpus, found.rewards) == ("train", train.fingerprint, ("strict",))
    assert msgspec.json.decode(msgspec.json.encode(found), type=Verification) == found


def test_an_empty_recording_is_named_as_the_reason(tmp_path: Path) -> None:
    class WordsReward:
        name = "words"
        parts: tuple[str, ...] = ("words",)

        def score(self, turn: ClosedTurn) -> Score:
            return Score(float(bool(turn.text)), {"words": float(bool(turn.text))})

    silent = Dialogue("1_00000", ["Trams_1"], [user("Trams_1", "Bye."), system("Trams_1", "")])
    write_split(tmp_path / "test", [TRAMS], {"dialogues_001.json": [silent]})
    (short,) = verify(open_corpus(tmp_path).split("test"), [WordsReward()]).short
    assert short.reason == "words 0.000, the recorded reply is empty"


def test_a_turn_as_recorded_says_and_calls_what_the_corpus_did(train: Split) -> None:
    task = train.task(0)
    closed = as_recorded(task, 1)
    assert closed.text == "We are out of Sencha."
    assert [call.name for call in closed.calls] == ["Teas_1-Order"]
    assert closed.calls[0].arguments == {"name": "Sencha", "grams": "50"}
    assert (closed.index, closed.date, closed.target) == (1, task.date, task.turns[1])


@pytest.mark.parametrize("split_name", ["train", "dev", "test"])
def test_every_turn_of_the_embedded_corpus_earns_exactly_one(split_name: str) -> None:
    corpus = open_corpus("sample")
    split = corpus.split(split_name)
    rewards = [make_reward(name, split, corpus) for name in ("ground_truth", "balanced")]
    assert verify(split, rewards).short == ()


@pytest.mark.long
@pytest.mark.parametrize("variant", [None, *SCHEMA_VARIANTS])
@pytest.mark.parametrize("split_name", ["train", "dev", "test"])
def test_every_turn_of_sgd_earns_exactly_one(
    sgd_path: Path, split_name: str, variant: str | None
) -> None:
    corpus = open_corpus(sgd_path, schema_variant=variant)
    split = corpus.split(split_name)
    rewards = [make_reward(name, split, corpus) for name in ("ground_truth", "balanced")]
    assert verify(split, rewards).short == ()
