import tempfile
from pathlib import Path

import pytest

from agent_gym_env.errors import StorageError
from agent_gym_env.export.preference_pairs import common_states
from agent_gym_env.rollout.episode import Episode
from tests.evaluation.episode_factory import call, episode, turn


def test_episodes_share_their_first_state_and_each_later_one_up_to_where_they_part() -> None:
    first = turn(1.0, user="Hi", says="Where?")
    one = episode(first, turn(1.0, user="There", says="A"), turn(user="Bye"), policy="one")
    other = episode(first, turn(0.0, user="There", says="B"), turn(user="Bye"), policy="other")
    found = list(common_states([one, other]))
    assert [point.turn for point in found] == [0, 1]
    assert found[1].messages == (
        '[{"role":"user","content":"Hi"},{"role":"assistant","content":"Where?"},'
        '{"role":"user","content":"There"}]'
    )
    assert [(each.policy, each.reward) for each in found[1].branches] == [
        ("one", 1.0),
        ("other", 0.0),
    ]
    assert [each.steps[-1].action.text for each in found[1].branches] == ["A", "B"]


def test_a_state_keeps_what_its_episodes_have_in_common() -> None:
    played = episode(
        turn(),
        turn(),
        dialogue_id="7_00001",
        split="dev",
        tools='[{"function":{"name":"T"}}]',
        seed=3,
    )
    point, _ = common_states([played, played])
    assert (point.dialogue_id, point.split, point.corpus) == ("7_00001", "dev", "c0ffee")
    assert (point.services, point.date, point.reward) == (
        ("Hotels_1",), "2019-03-01", "ground_truth"
    )  # fmt: skip
    assert (point.tools, point.step) == ('[{"function":{"name":"T"}}]', 0)
    assert [each.seed for each in point.branches] == [3, 3]


def test_a_call_more_makes_another_conversation() -> None:
    last = turn(user="Bye")
    talks = episode(turn(says="A"), last)
    calls = episode(turn(says="A", made=[call()]), last)
    assert [point.turn for point in common_states([talks, calls])] == [0]


@pytest.mark.parametrize(
    "other",
    [
        episode(turn(), dialogue_id="1_00001"),
        episode(turn(), corpus="another"),
        episode(turn(), tools='[{"function":{"name":"T"}}]'),
        episode(turn(), reward="balanced"),
        episode(turn(user="Hello")),
    ],
)
def test_episodes_of_different_situations_share_no_state(other: Episode) -> None:
    assert list(common_states([episode(turn()), other])) == []


def test_a_failed_episode_counts_up_to_where_it_failed() -> None:
    failed = episode(turn(), terminated=False, error="LMError: no")
    assert [point.turn for point in common_states([episode(turn(), turn()), failed])] == [0]


def test_many_dialogues_in_any_order_are_grouped() -> None:
    ids = [f"1_{number:05d}" for number in range(200)]
    played = [episode(turn(says=says), dialogue_id=each) for says in "ab" for each in ids]
    found = list(common_states(played))
    assert sorted(point.dialogue_id for point in found) == ids
    assert found == list(common_states(played))


def test_no_temporary_file_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    list(common_states([episode(turn()), episode(turn())]))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/dev/full")
    with pytest.raises(StorageError, match="TMPDIR"):
        list(common_states([episode(turn())]))
