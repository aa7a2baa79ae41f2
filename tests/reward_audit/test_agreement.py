from pathlib import Path

import msgspec
import numpy as np
import pytest

from agent_gym_env.corpus.corpus import Corpus, open_corpus
from agent_gym_env.errors import JudgeError
from agent_gym_env.lm.scripted import ScriptedLM
from agent_gym_env.reward_audit.agreement import RECORDED, Agreement, agreement
from agent_gym_env.reward_audit.answers import Reply, worse_answers
from agent_gym_env.rewards.base import ClosedTurn, Reward, Score
from agent_gym_env.rewards.judge import JudgeReward
from agent_gym_env.rewards.presets import make_reward_for
from tests.rewards import judge_stubs


class TurnedReward:
    """Reward that is 1 minus another reward, with no value for the first turn."""

    name = "turned"

    def __init__(self, other: Reward) -> None:
        self._other = other
        self.parts = other.parts

    def score(self, turn: ClosedTurn) -> Score:
        value = self._other.score(turn).value
        known = None if value is None or turn.index == 0 else 1 - value
        return Score(known, dict.fromkeys(self.parts))


@pytest.fixture(scope="module")
def sample() -> Corpus:
    return open_corpus("sample")


@pytest.fixture(scope="module")
def balanced(sample: Corpus) -> Reward:
    return make_reward_for("balanced", sample.split("dev"), sample)


def compared(corpus: Corpus, judge: Reward, truth: Reward, dialogues: int = 5) -> Agreement:
    split = corpus.split("dev")
    return agreement(split, judge, truth, split.dialogue_ids()[:dialogues])


def test_a_reward_agrees_with_itself(sample: Corpus, balanced: Reward) -> None:
    found = compared(sample, balanced, balanced)
    assert found.rank_correlation.mean == pytest.approx(1.0)
    assert found.answers[0].name == RECORDED
    assert found.answers[0].judge.mean == 1.0
    assert found.answers[0].recorded_preferred.mean == 0.5


def test_a_reward_turned_round_prefers_what_is_worse_and_leaves_out_what_it_cannot_tell(
    sample: Corpus, balanced: Reward
) -> None:
    found = compared(sample, TurnedReward(balanced), balanced)
    assert found.rank_correlation.mean == pytest.approx(-1.0)
    assert found.rank_correlation.left_out >= 5
    worse = {row.name: row.recorded_preferred for row in found.answers}
    assert worse["off topic"].mean == 0.0
    assert worse["off topic"].left_out > 0


def test_every_mistake_is_made_and_seen_by_a_judge_that_looks(
    sample: Corpus, balanced: Reward
) -> None:
    lm = ScriptedLM(lambda request: judge_stubs.by_words(request.messages))
    found = compared(sample, JudgeReward(lm), balanced)
    rows = {row.name: row for row in found.answers}
    assert set(rows) == {
        RECORDED, "values dropped", "wrong values", "negated", "call missing", "wrong tool",
        "off topic",
    }  # fmt: skip
    assert rows[RECORDED].judge.mean == 1.0
    for name, row in rows.items():
        if name != RECORDED:
            assert row.recorded_preferred.mean is not None
            assert row.recorded_preferred.mean > 0.9, name
    assert found.rank_correlation.mean is not None
    assert 0.5 < found.rank_correlation.mean < 1.0


def test_a_judge_that_never_answers_ends_with_its_first_reason(
    sample: Corpus, balanced: Reward
) -> None:
    with pytest.raises(
        JudgeError, match=r"llm_judge could score none of \d+ turns.*no more replies"
    ):
        compared(sample, JudgeReward(ScriptedLM([])), balanced, dialogues=2)


def test_answers_are_counted_as_they_are_scored(sample: Corpus, balanced: Reward) -> None:
    split = sample.split("dev")
    counted: list[int] = []
    found = agreement(
        split, balanced, balanced, split.dialogue_ids()[:2], on_answers=counted.append
    )
    assert sum(counted) == found.rank_correlation.count


def test_what_does_not_apply_is_left_as_it_is(sample: Corpus) -> None:
    """A dialogue alone, in a turn without values and calls, can only be negated."""
    split = sample.split("dev")
    task = split.task(0)
    plain = next(i for i, turn in enumerate(task.turns) if not turn.values and not turn.call)
    ways = worse_answers([task], split.tools)
    answers = {name: way(task, plain, np.random.default_rng(0)) for name, way in ways.items()}
    as_it_was = Reply(task.turns[plain].text)
    assert [name for name, answer in answers.items() if answer != as_it_was] == ["negated"]


def test_an_agreement_survives_json(sample: Corpus, balanced: Reward) -> None:
    found = compared(sample, balanced, balanced, dialogues=2)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Agreement) == found


def test_the_tiny_corpus_is_enough(tiny_corpus: Path) -> None:
    corpus = open_corpus(tiny_corpus)
    split = corpus.split("dev")
    reward = make_reward_for("balanced", split, corpus)
    assert agreement(split, reward, reward, split.dialogue_ids()).turns == 4
