from pathlib import Path

import msgspec
import pytest

from agent_gym_env.corpus.corpus import Corpus, Split, open_corpus
from agent_gym_env.envs.dialogue import SGDEnv
from agent_gym_env.policies.constant import ConstantPolicy
from agent_gym_env.reward_audit.audit import Audit, audit, audit_header, audit_rows
from agent_gym_env.rewards.base import ClosedTurn, Reward, Score
from agent_gym_env.rewards.presets import make_reward_for
from agent_gym_env.rollout.play import play_all
from tests.corpora import write_tiny_corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return open_corpus(write_tiny_corpus(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def dev(corpus: Corpus) -> Split:
    """Two dialogues of two turns; in the first turn of each a call is due."""
    return corpus.split("dev")


@pytest.fixture(scope="module")
def rewards(corpus: Corpus, dev: Split) -> list[Reward]:
    return [make_reward_for(name, dev, corpus) for name in ("ground_truth", "balanced")]


@pytest.fixture(scope="module")
def audited(dev: Split, rewards: list[Reward]) -> Audit:
    return audit(dev, rewards, dev.dialogue_ids())


def mean(audited: Audit, name: str, reward: str) -> float | None:
    (row,) = (row for row in audited.rows if row.name == name)
    return row.scores[reward].reward.mean


def test_what_was_recorded_earns_everything(audited: Audit) -> None:
    assert audited.rows[0].name == "oracle"
    assert mean(audited, "oracle", "ground_truth") == 1.0
    assert mean(audited, "oracle", "balanced") == 1.0


def test_silence_earns_half_of_each_turn_without_a_due_call(audited: Audit) -> None:
    assert mean(audited, "silence", "ground_truth") == 0.25
    assert mean(audited, "silence", "balanced") == 0.0


def test_the_right_tool_without_arguments_earns_half_of_its_part(audited: Audit) -> None:
    # Due: (0 + 0.5) / 2; else (0 + 1) / 2.
    assert mean(audited, "right tool without arguments", "ground_truth") == 0.375


def test_an_audit_counts_what_it_answered(audited: Audit) -> None:
    assert (audited.dialogues, audited.turns) == (2, 4)
    assert audited.rewards == ("ground_truth", "balanced")


def test_components_and_turns_with_values_are_estimated_separately(audited: Audit) -> None:
    (row,) = (row for row in audited.rows if row.name == "target with wrong values, with its call")
    score = row.scores["balanced"]
    assert (score.with_values.count, score.reward.count) == (2, 4)
    assert score.components["slot_values"].mean == 0.0
    assert score.components["tool_accuracy"].mean == 1.0
    assert score.components["tool_accuracy"].left_out == 2


def test_a_policy_is_scored_beside_the_exploits(
    corpus: Corpus, dev: Split, rewards: list[Reward]
) -> None:
    env = SGDEnv(corpus.name, split="dev", reward="balanced")
    played = list(play_all(env, ConstantPolicy("", name="mute"), dev.dialogue_ids()))
    found = audit(dev, rewards, dev.dialogue_ids(), played={"mute": played})
    assert [row.name for row in found.rows[:3]] == ["oracle", "mute", "silence"]
    assert found.rows[1].scores == found.rows[2].scores


def test_the_same_seed_gives_the_same_audit(dev: Split, rewards: list[Reward]) -> None:
    found = [audit(dev, rewards, dev.dialogue_ids(), seed=7) for _ in range(2)]
    assert found[0] == found[1]


def test_each_way_to_answer_is_announced_before_it_is_scored(
    dev: Split, rewards: list[Reward]
) -> None:
    announced: list[str] = []
    found = audit(dev, rewards[:1], dev.dialogue_ids()[:1], on_row=announced.append)
    assert announced == [row.name for row in found.rows]


def test_a_reward_that_cannot_tell_is_left_out_of_the_mean(dev: Split) -> None:
    class Unsure:
        name = "unsure"
        parts: tuple[str, ...] = ("length",)

        def score(self, turn: ClosedTurn) -> Score:
            assert len(turn.text) <= 65_536
            return Score(None if turn.index else 0.5, {"length": None}, "no verdict")

    score = audit(dev, [Unsure()], dev.dialogue_ids()).rows[0].scores["unsure"]
    assert (score.reward.mean, score.reward.count, score.reward.left_out) == (0.5, 2, 2)
    assert score.components["length"].mean is None


def test_an_audit_survives_json_and_becomes_a_table(audited: Audit) -> None:
    assert msgspec.json.decode(msgspec.json.encode(audited), type=Audit) == audited
    assert len(audit_header(audited)) == 5
    assert audit_rows(audited)[0] == (
        "oracle", "1.000", "1.000 to 1.000", "1.000", "1.000 to 1.000"
    )  # fmt: skip


@pytest.mark.long
def test_gaming_balanced_earns_less_than_calling_the_right_tool_on_sgd(sgd_path: Path) -> None:
    corpus = open_corpus(sgd_path)
    split = corpus.split("test")
    found = audit(split, [make_reward_for("balanced", split, corpus)], split.dialogue_ids()[:200])
    assert mean(found, "oracle", "balanced") == 1.0
    blind = ("silence", "goodbye", "constant", "best constant bag", "echo of the schema")
    assert all((mean(found, name, "balanced") or 0.0) < 0.25 for name in blind)
