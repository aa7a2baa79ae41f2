from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import structs

from agent_gym_env.assembly import make_reward, rollout
from agent_gym_env.corpus.corpus import open_corpus
from agent_gym_env.corpus.sgd import SCHEMA_VARIANTS, Dialogue
from agent_gym_env.reward_audit.verify import Verification, verification_rows, verify
from agent_gym_env.rewards.base import ClosedTurn, Score
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
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three dialogues in train; the first has three calls and a goodbye, the others a call each."""
    return write_tiny_corpus(tmp_path_factory.mktemp("tiny"))


def test_every_turn_below_one_is_listed_with_its_place_and_its_reason(tiny: Path) -> None:
    found = verify(rollout("oracle", corpus=str(tiny), split="train"), [StrictReward()])
    assert verification_rows(found) == [
        ("1_00000", "0", "strict", "0.750", "call 0.500"),
        ("1_00000", "1", "strict", "0.750", "call 0.500"),
        ("1_00000", "2", "strict", "0.750", "call 0.500"),
        ("1_00000", "3", "strict", "-", "the judge was silent"),
        ("1_00001", "0", "strict", "0.750", "call 0.500"),
        ("1_00002", "1", "strict", "0.750", "call 0.500"),
    ]


def test_a_verification_counts_what_it_scored(tiny: Path) -> None:
    found = verify(rollout("oracle", corpus=str(tiny), split="train"), [StrictReward()])
    assert (found.dialogues, found.turns) == (3, 8)
    assert (found.split, found.rewards) == ("train", ("strict",))
    assert found.corpus == open_corpus(tiny).split("train").fingerprint
    assert msgspec.json.decode(msgspec.json.encode(found), type=Verification) == found


def test_an_empty_recording_is_named_as_the_reason(tmp_path: Path) -> None:
    class WordsReward:
        name = "words"
        parts: tuple[str, ...] = ("words",)

        def score(self, turn: ClosedTurn) -> Score:
            return Score(float(bool(turn.text)), {"words": float(bool(turn.text))})

    silent = Dialogue("1_00000", ["Trams_1"], [user("Trams_1", "Bye."), system("Trams_1", "")])
    write_split(tmp_path / "test", [TRAMS], {"dialogues_001.json": [silent]})
    played = rollout("oracle", corpus=str(tmp_path), split="test")
    (short,) = verify(played, [WordsReward()]).short
    assert short.reason == "words 0.000, the recorded reply is empty"


def test_a_call_that_is_answered_otherwise_than_recorded_is_named(tiny: Path) -> None:
    class Content:
        name = "content"
        parts: tuple[str, ...] = ("all",)

        def score(self, turn: ClosedTurn) -> Score:
            return Score(1.0, {"all": 1.0})

    (episode, *_) = rollout("oracle", corpus=str(tiny), split="train")
    turn = episode.turns[0]
    other = structs.replace(turn.steps[0], tool_result='[{"name":"T","status":"error"}]')
    turns = (structs.replace(turn, steps=(other, *turn.steps[1:])), *episode.turns[1:])
    (short,) = verify([structs.replace(episode, turns=turns)], [Content()]).short
    assert (short.turn, short.reason) == (0, "a call was not answered as recorded")


def test_without_episodes_there_is_nothing_to_verify() -> None:
    with pytest.raises(ValueError, match="at least one episode"):
        verify([], [StrictReward()])


@pytest.mark.parametrize("variant", [None, "v2"])
@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_the_oracle_earns_exactly_one_at_every_turn_of_the_embedded_corpus(
    split: str, variant: str | None
) -> None:
    assert _verified("sample", split, variant).short == ()


@pytest.mark.long
@pytest.mark.parametrize("variant", [None, *SCHEMA_VARIANTS])
@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_the_oracle_earns_exactly_one_at_every_turn_of_sgd(
    sgd_path: Path, split: str, variant: str | None
) -> None:
    assert _verified(str(sgd_path), split, variant).short == ()


def _verified(corpus: str, split: str, variant: str | None) -> Verification:
    world: dict[str, Any] = {"corpus": corpus, "split": split, "schema_variant": variant}
    rewards = [make_reward(name, **world) for name in ("ground_truth", "balanced")]
    return verify(rollout("oracle", **world), rewards)
