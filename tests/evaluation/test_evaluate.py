import tracemalloc
from collections.abc import Iterator

import msgspec
import pytest

from agent_gym_env.evaluation.evaluate import Evaluation, summarize
from agent_gym_env.rollout.episode import Episode
from tests.evaluation.episode_factory import BOOK, call, due, episode, episodes, turn


def test_rewards_are_summed_by_episode_and_averaged_by_turn() -> None:
    found = summarize(episodes([1.0, 0.5], [0.0, 0.5, 1.0, 0.0]))
    assert found.mean_return.mean == 1.5
    assert found.reward.mean == 0.5
    assert (found.mean_return.count, found.reward.count) == (2, 6)
    assert found.counts.dialogues == 2


def test_turns_without_a_reward_are_left_out_and_counted() -> None:
    found = summarize(episodes([0.5, None], [1.0]))
    assert found.reward.mean == 0.75
    assert (found.reward.count, found.reward.left_out) == (2, 1)
    assert found.counts.unscored_turns == 1


def test_the_return_of_an_episode_with_an_unknown_reward_is_left_out() -> None:
    found = summarize(episodes([0.5, None], [1.0, 1.0]))
    assert found.mean_return.mean == 2.0
    assert (found.mean_return.count, found.mean_return.left_out) == (1, 1)


def test_a_failed_episode_counts_by_its_error_and_keeps_its_closed_turns() -> None:
    failed = episode(turn(0.0), dialogue_id="1_00009", error="PermanentLMError: 401")
    found = summarize([*episodes([1.0]), failed])
    assert found.counts.failed_episodes == {"PermanentLMError": 1}
    assert found.counts.episodes == 2
    assert found.reward.mean == 0.5
    assert found.mean_return.count == 1


def test_an_episode_that_failed_before_its_first_turn_is_a_record_too() -> None:
    found = summarize([episode(error="ValueError: no model", terminated=False)])
    assert found.counts.failed_episodes == {"ValueError": 1}
    assert (found.reward.mean, found.mean_return.mean) == (None, None)
    assert found.counts.turns == 0


def test_action_errors_are_counted_by_code() -> None:
    record = turn(action_error="unknown_tool")
    found = summarize([episode(record, record, turn(action_error="malformed_tool_call"))])
    assert found.counts.action_errors == {"unknown_tool": 2, "malformed_tool_call": 1}


def test_turns_are_split_by_whether_a_call_is_due() -> None:
    found = summarize([episode(turn(0.2, due=due()), turn(1.0), turn(1.0), turn(1.0))])
    assert found.splits["with_due_call"].mean == pytest.approx(0.2)
    assert found.splits["without_due_call"].mean == pytest.approx(1.0)
    assert found.reward.mean == pytest.approx(0.8)


def test_the_macro_reward_weighs_both_kinds_of_turns_equally() -> None:
    found = summarize([episode(turn(0.2, due=due()), turn(1.0), turn(1.0), turn(1.0))])
    assert found.macro_reward.mean == pytest.approx(0.6)


def test_without_a_due_call_the_macro_reward_is_unknown() -> None:
    assert summarize(episodes([1.0])).macro_reward.mean is None


def test_turns_are_split_by_seen_service_and_by_domain() -> None:
    played = episode(
        turn(0.4, service="Hotels_1"),
        turn(0.6, service="Hotels_3"),
        turn(1.0, service="Trains_1"),
        seen_services=("Hotels_1",),
    )
    found = summarize([played])
    assert found.splits["seen"].mean == pytest.approx(0.4)
    assert found.splits["unseen"].mean == pytest.approx(0.8)
    domains = {name: each.mean for name, each in found.domains.items()}
    assert domains == pytest.approx({"Hotels": 0.5, "Trains": 1.0})


def test_a_component_is_averaged_over_the_turns_where_it_applies() -> None:
    turns = [turn(components={"slot_values": value}) for value in (0.5, None, 1.0, None)]
    found = summarize([episode(*turns)]).components["slot_values"]
    assert (found.mean, found.count, found.left_out) == (0.75, 2, 2)


def test_tool_metrics_by_hand() -> None:
    wanted = due(city="Lisbon", stars="3")
    played = episode(
        turn(due=wanted, made=[call(city="Lisbon", stars="3")]),
        turn(due=wanted, made=[call(city="Porto", stars="3"), call(BOOK)]),
        turn(due=wanted),
        turn(made=[call(BOOK)]),
    )
    tools = summarize([played]).tools
    assert tools.precision.mean == 2 / 4
    assert tools.recall.mean == pytest.approx(2 / 3)
    assert tools.exact_match.mean == pytest.approx(1 / 3)
    # Equal 2 + 1 + 0, due 2 + 2 + 2, made 2 + 2 + 0: 2 * 3 / (6 + 4).
    assert tools.argument_f1.mean == pytest.approx(0.6)


def test_a_policy_that_never_calls_has_no_precision_and_no_recall() -> None:
    tools = summarize([episode(turn(due=due(city="Lisbon")))]).tools
    assert tools.precision.mean is None
    assert tools.recall.mean == 0.0


def test_the_histogram_holds_each_scored_turn_once() -> None:
    found = summarize(episodes([0.0, 0.049, 0.05, 1.0, None]))
    assert found.histogram[0] == 2
    assert found.histogram[1] == 1
    assert found.histogram[-1] == 1
    assert sum(found.histogram) == 4


def test_two_plays_of_one_dialogue_are_one_cluster() -> None:
    played = [episode(turn(reward), seed=seed) for seed, reward in enumerate([0.0, 1.0])]
    found = summarize(played)
    assert (found.counts.episodes, found.counts.dialogues) == (2, 1)
    assert (found.reward.mean, found.reward.low) == (0.5, None)


def test_an_evaluation_survives_json() -> None:
    found = summarize(episodes([0.5, None], [1.0]))
    assert msgspec.json.decode(msgspec.json.encode(found), type=Evaluation) == found


def test_no_episodes_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one episode"):
        summarize([])


@pytest.mark.parametrize(
    "other", [{"policy": "other"}, {"reward": "balanced"}, {"corpus": "bead"}, {"split": "dev"}]
)
def test_episodes_of_two_policies_or_settings_are_refused(other: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="one policy in one setting"):
        summarize([episode(turn()), episode(turn(), **other)])


def test_memory_does_not_grow_with_what_was_said() -> None:
    def stream() -> Iterator[Episode]:
        for number in range(300):
            yield episode(turn(0.5, says="x" * 20_000), dialogue_id=f"{number}")

    tracemalloc.start()
    summarize(stream(), resamples=10)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_500_000  # all texts together are six million characters
