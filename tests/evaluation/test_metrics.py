import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_gym_env.evaluation.metrics import (
    ToolCounts,
    domain,
    episode_return,
    tool_counts,
    turn_facts,
)
from agent_gym_env.rollout.episode import Episode
from agent_gym_env.types import ToolCall
from tests.evaluation.episode_factory import BOOK, FIND, call, due, episode, turn

TODAY = "2019-03-01"


def test_the_due_call_made_to_the_letter_is_exact() -> None:
    counts = tool_counts([due(city="Lisbon")], [call(city="Lisbon")], TODAY)
    assert counts == ToolCounts(
        due=1, made=1, matched=1, exact=1,
        arguments_due=1, arguments_made=1, arguments_equal=1,
    )  # fmt: skip


def test_values_are_compared_by_what_they_mean() -> None:
    expected = due(check_in="2019-03-04", rooms="2", time="19:00")
    made = call(check_in="March 4th", rooms=2, time="7 pm")
    assert tool_counts([expected], [made], TODAY).exact == 1


def test_an_argument_more_or_less_is_not_exact() -> None:
    more = tool_counts([due(city="Lisbon")], [call(city="Lisbon", stars="3")], TODAY)
    less = tool_counts([due(city="Lisbon", stars="3")], [call(city="Lisbon")], TODAY)
    assert (more.exact, more.arguments_equal, more.arguments_made) == (0, 1, 2)
    assert (less.exact, less.arguments_equal, less.arguments_due) == (0, 1, 2)


def test_a_call_without_arguments_can_be_exact() -> None:
    assert tool_counts([due()], [call()], TODAY).exact == 1


def test_a_missed_call_counts_its_arguments_as_missed() -> None:
    counts = tool_counts([due(city="Lisbon", stars="3")], [call(BOOK, city="Lisbon")], TODAY)
    assert counts == ToolCounts(due=1, made=1, arguments_due=2)


def test_calls_while_none_is_due_are_only_counted() -> None:
    assert tool_counts([], [call(city="Lisbon"), call(BOOK)], TODAY) == ToolCounts(made=2)


def test_of_several_calls_of_the_due_tool_the_closest_counts() -> None:
    made = [call(city="Porto"), call(city="Lisbon", stars="3", pets="yes"), call(city="Lisbon")]
    counts = tool_counts([due(city="Lisbon")], made, TODAY)
    assert (counts.made, counts.matched, counts.exact, counts.arguments_made) == (3, 1, 1, 1)


@given(
    st.none() | st.dictionaries(st.sampled_from("abc"), st.sampled_from("xy")),
    st.lists(
        st.tuples(
            st.sampled_from([FIND, BOOK]),
            st.dictionaries(st.sampled_from("abcd"), st.sampled_from("xyz")),
        ),
        max_size=4,
    ),
)
def test_no_count_exceeds_what_it_is_a_share_of(
    expected: dict[str, str] | None, made: list[tuple[str, dict[str, str]]]
) -> None:
    recorded = [] if expected is None else [due(**expected)]
    counts = tool_counts(recorded, [ToolCall(name, sent) for name, sent in made], TODAY)
    assert counts.exact <= counts.matched <= min(counts.due, counts.made)
    assert counts.arguments_equal <= min(counts.arguments_due, counts.arguments_made)


def test_the_calls_of_a_turn_are_those_of_all_its_steps() -> None:
    record = turn(made=[call(city="Lisbon"), call(BOOK)], says="Booked.")
    assert record.calls == (call(city="Lisbon"), call(BOOK))
    assert record.reply == "Booked."


@pytest.mark.parametrize(
    ("service", "named"), [("Hotels_2", "Hotels"), ("RideSharing_12", "RideSharing"), ("A1", "A1")]
)
def test_a_domain_is_a_service_without_its_number(service: str, named: str) -> None:
    assert domain(service) == named


def test_a_turn_is_seen_by_the_service_that_it_is_about() -> None:
    played = episode(
        turn(service="Hotels_1"), turn(service="Trains_1"), seen_services=("Hotels_1",)
    )
    assert [facts.seen for facts in turn_facts(played)] == [True, False]
    assert [facts.domain for facts in turn_facts(played)] == ["Hotels", "Trains"]


def test_without_a_train_split_nothing_is_seen_or_unseen() -> None:
    assert [facts.seen for facts in turn_facts(episode(turn()))] == [None]


def test_response_similarity_is_that_of_the_sets_of_words() -> None:
    played = episode(turn(says="The hotel is open", recorded="the hotel was closed"))
    assert [facts.response_similarity for facts in turn_facts(played)] == [2 / 6]


def test_a_return_is_the_sum_of_an_episodes_rewards() -> None:
    assert episode_return(episode(turn(0.25), turn(1.0))) == 1.25


@pytest.mark.parametrize(
    "played",
    [
        episode(turn(0.25), turn(None)),
        episode(turn(0.25), error="TimeoutError: 30 s", terminated=False),
        episode(turn(0.25), terminated=False),
    ],
    ids=["a turn without a reward", "a failed episode", "an unfinished episode"],
)
def test_a_return_is_not_known_where_a_reward_may_be_missing(played: Episode) -> None:
    assert episode_return(played) is None


def test_an_episode_that_a_time_limit_cut_has_a_return() -> None:
    assert episode_return(episode(turn(0.5), terminated=False, truncated=True)) == 0.5
