import msgspec
import pytest

from agent_gym_env.export.from_episodes import whole_episodes
from agent_gym_env.export.rows import Tally, counted, distinct
from agent_gym_env.rollout.episode import Episode
from tests.evaluation.episode_factory import episode, turn


class Row(msgspec.Struct):
    prompt: str
    answer: str
    by: str


def test_what_is_read_is_counted() -> None:
    tally = Tally()
    assert list(counted("abc", tally)) == ["a", "b", "c"]
    assert tally.read == 3


@pytest.mark.parametrize(
    ("played", "reason"),
    [
        (episode(turn(1.0), error="LMError: no", terminated=False), "failed"),
        (episode(turn(1.0), terminated=False, truncated=True), "unfinished"),
        (episode(), "unfinished"),
        (episode(turn(0.4), turn(0.5)), "below min_reward"),
        (episode(turn(None)), "unscored"),
    ],
)
def test_an_episode_that_is_left_out_is_counted_with_its_reason(
    played: Episode, reason: str
) -> None:
    tally = Tally()
    good = episode(turn(0.4), turn(0.6), turn(None))
    assert list(whole_episodes([good, played], tally, min_reward=0.5)) == [good]
    assert tally.left_out == {reason: 1}


def test_without_a_least_reward_an_episode_needs_none() -> None:
    played = [episode(turn(None)), episode(turn(0.0))]
    assert list(whole_episodes(played, Tally())) == played


def test_of_rows_that_agree_in_the_named_fields_the_first_stays() -> None:
    tally = Tally()
    rows = [Row("a", "b", "x"), Row("a", "b", "y"), Row("a", "c", "x"), Row("ab", "", "x")]
    assert list(distinct(rows, tally, "prompt", "answer")) == [rows[0], rows[2], rows[3]]
    assert tally.left_out == {"duplicate": 1}
