import msgspec
import pytest

from agent_gym_env.evaluation.compare import Comparison, compare
from tests.evaluation.episode_factory import due, episode, episodes, turn


def test_the_difference_is_the_first_minus_the_second() -> None:
    found = compare(
        episodes([1.0, 0.5], [0.5], policy="new"), episodes([0.5, 0.5], [0.0], policy="old")
    )
    assert (found.first, found.second) == ("new", "old")
    assert found.reward.difference == pytest.approx(1 / 3)
    assert found.mean_return.difference == pytest.approx(0.5)


def test_a_policy_against_itself_is_inconclusive() -> None:
    played = episodes(*[[0.1 * (number % 10)] for number in range(40)])
    assert compare(played, played).reward.verdict == "inconclusive"


def test_a_gain_on_every_dialogue_is_better() -> None:
    old = episodes(*[[0.02 * number, 0.3] for number in range(30)])
    new = episodes(*[[0.02 * number + 0.1, 0.4] for number in range(30)])
    found = compare(new, old)
    assert found.reward.verdict == "better"
    assert compare(old, new).reward.verdict == "worse"


def test_only_what_both_played_is_compared() -> None:
    found = compare(episodes([1.0], [0.0], [0.0]), episodes([0.5]))
    assert found.episodes == 1
    assert found.unpaired_episodes == 2
    assert found.reward.difference == 0.5


def test_a_turn_without_a_reward_on_one_side_is_left_out_on_both() -> None:
    found = compare(episodes([1.0, 1.0, 0.2]), episodes([0.5, None, 0.2]))
    assert found.reward.difference == pytest.approx(0.25)
    assert (found.reward.count, found.unpaired_turns) == (2, 1)
    assert found.mean_return.count == 0


def test_turns_that_a_failed_episode_did_not_reach_are_left_out() -> None:
    failed = episode(turn(1.0), error="TimeoutError: 30 s", terminated=False)
    found = compare([failed], [episode(turn(0.5), turn(0.0), turn(0.0))])
    assert found.reward.difference == 0.5
    assert found.unpaired_turns == 2


def test_episodes_are_paired_by_seed_too() -> None:
    first = [episode(turn(reward), seed=seed) for seed, reward in enumerate([1.0, 0.5])]
    second = [episode(turn(reward), seed=seed) for seed, reward in enumerate([0.0, 0.5])]
    found = compare(first, second)
    assert (found.episodes, found.reward.dialogues) == (2, 1)
    assert found.reward.difference == 0.5


def test_each_split_is_compared_by_itself() -> None:
    first = [episode(turn(0.9, due=due()), turn(0.5), seen_services=())]
    second = [episode(turn(0.4, due=due()), turn(0.7), seen_services=())]
    splits = compare(first, second).splits
    assert splits["with_due_call"].difference == pytest.approx(0.5)
    assert splits["without_due_call"].difference == pytest.approx(-0.2)
    assert splits["unseen"].difference == pytest.approx(0.15)
    assert splits["seen"].difference is None


def test_policies_without_a_shared_dialogue_are_refused() -> None:
    with pytest.raises(ValueError, match="share no episode"):
        compare([episode(turn(), seed=1)], [episode(turn(), seed=2)])


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("corpus", "bead", "corpus differs"),
        ("reward", "balanced", "reward differs, 'ground_truth' for 'agent' and 'balanced'"),
        ("split", "dev", "split differs"),
        ("schema_variant", "v1", "schema variant differs"),
    ],
)
def test_policies_in_different_settings_are_refused(field: str, value: str, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        compare([episode(turn())], [episode(turn(), **{field: value})])


def test_an_episode_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        compare([episode(turn()), episode(turn())], [episode(turn())])


def test_a_side_without_episodes_is_refused() -> None:
    with pytest.raises(ValueError, match="no episodes"):
        compare([episode(turn())], [])


def test_a_comparison_survives_json() -> None:
    found = compare(episodes([1.0], [0.5]), episodes([0.5], [0.5]))
    assert msgspec.json.decode(msgspec.json.encode(found), type=Comparison) == found
