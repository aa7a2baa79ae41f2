import pytest
from msgspec import structs

from agent_gym_env.errors import DataError
from agent_gym_env.export.preference_pairs import PairRule, preference_rows
from agent_gym_env.export.rows import PreferenceRow, Tally
from agent_gym_env.rollout.branching import Branch, BranchPoint
from tests.evaluation.episode_factory import call
from tests.rollout.branch_factory import branch, point

BY_RANK = PairRule(ranking=("teacher", "student"))


def pairs(
    found: BranchPoint, rule: PairRule | None = None
) -> tuple[list[PreferenceRow], dict[str, int]]:
    tally = Tally()
    return preference_rows(found, rule or PairRule(), tally), tally.left_out


def test_the_message_of_the_higher_reward_is_chosen() -> None:
    found = point(
        branch(0.2, "Done.", policy="constant"),
        branch(0.9, "Which city?", policy="oracle"),
        turn=2,
        tools='[{"type":"function","function":{"name":"F"}}]',
    )
    (row,), _ = pairs(found)
    assert [message["role"] for message in row.prompt] == ["system", "user"]
    assert row.chosen == [{"role": "assistant", "content": "Which city?"}]
    assert row.rejected == [{"role": "assistant", "content": "Done."}]
    assert (row.chosen_reward, row.rejected_reward) == (0.9, 0.2)
    assert row.margin == pytest.approx(0.7)
    assert (row.chosen_policy, row.rejected_policy) == ("oracle", "constant")
    assert (row.dialogue_id, row.split, row.turn, row.step) == ("1_00000", "train", 2, 0)
    assert row.tools == [{"type": "function", "function": {"name": "F"}}]


def test_a_call_is_chosen_over_words_in_one_message() -> None:
    (row,), _ = pairs(point(branch(1.0, made=[call(city="Lisbon")]), branch(0.0, "Where?")))
    (chosen,) = row.chosen
    assert chosen["content"] is None
    assert chosen["tool_calls"][0]["function"]["arguments"] == {"city": "Lisbon"}
    assert row.rejected == [{"role": "assistant", "content": "Where?"}]


def test_what_two_branches_share_belongs_to_the_prompt() -> None:
    made = [call(city="Lisbon")]
    (row,), _ = pairs(point(branch(1.0, "One.", made=made), branch(0.3, "None.", made=made)))
    assert [message["role"] for message in row.prompt] == ["system", "user", "assistant", "tool"]
    assert row.chosen == [{"role": "assistant", "content": "One."}]
    assert row.rejected == [{"role": "assistant", "content": "None."}]
    assert row.step == 1


def test_steps_before_the_branching_count() -> None:
    (row,), _ = pairs(point(branch(1.0, "A"), branch(0.0, "B"), step=2))
    assert row.step == 2


def test_calls_are_numbered_on_from_the_conversation_so_far() -> None:
    messages = (
        '[{"role":"user","content":"Hi"},{"role":"assistant","content":null,"tool_calls":'
        '[{"id":"call_0","type":"function","function":{"name":"F","arguments":"{}"}}]},'
        '{"role":"tool","tool_call_id":"call_0","content":"{}"}]'
    )
    (row,), _ = pairs(point(branch(1.0, made=[call()]), branch(0.0), messages=messages))
    assert row.chosen[0]["tool_calls"][0]["id"] == "call_1"


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (branch(0.5, "A"), "same reward"),
        (branch(0.45, "A"), "below min_margin"),
        (branch(None, "A"), "unscored"),
        (branch(0.0, "Done."), "same messages"),
    ],
)
def test_a_pair_that_is_left_out_is_counted_with_its_reason(other: Branch, reason: str) -> None:
    assert pairs(point(branch(0.5, "Done."), other)) == ([], {reason: 1})


def with_results(played: Branch, results: str) -> Branch:
    first = structs.replace(played.steps[0], tool_result=results)
    return structs.replace(played, steps=(first, *played.steps[1:]))


def test_tools_that_answer_differently_make_no_pair() -> None:
    one, other = branch(1.0, "A", made=[call()]), branch(0.0, "B", made=[call()])
    fails = '[{"name":"Hotels_1-FindHotel","status":"failure","results":[]}]'
    assert pairs(point(one, with_results(other, fails))) == ([], {"tools answered differently": 1})


def test_true_and_1_are_different_arguments() -> None:
    found = point(branch(1.0, made=[call(n=1)]), branch(0.0, made=[call(n=True)]))
    assert len(pairs(found)[0]) == 1


def test_pairs_come_by_margin_and_those_beyond_the_limit_are_counted() -> None:
    found = point(branch(0.0, "A"), branch(0.5, "B"), branch(1.0, "C"))
    rows, left_out = pairs(found, PairRule(max_pairs=2))
    assert [row.margin for row in rows] == [1.0, 0.5]
    assert left_out == {"beyond max_pairs": 1}


def test_two_seeds_that_say_the_same_make_one_pair() -> None:
    found = point(branch(0.0, "A", seed=1), branch(0.0, "A", seed=2), branch(1.0, "B"))
    rows, left_out = pairs(found)
    assert len(rows) == 1
    assert left_out == {"same messages": 1, "duplicate": 1}


def test_a_ranking_decides_without_rewards_too() -> None:
    found = point(branch(None, "A", policy="student"), branch(0.5, "B", policy="teacher"))
    (row,), _ = pairs(found, BY_RANK)
    assert (row.chosen_policy, row.margin) == ("teacher", None)


def test_a_reward_that_contradicts_the_ranking_makes_no_pair() -> None:
    found = point(branch(1.0, "A", policy="student"), branch(0.5, "B", policy="teacher"))
    assert pairs(found, BY_RANK) == ([], {"below min_margin": 1})


@pytest.mark.parametrize(
    ("policy", "reason"), [("teacher", "same rank"), ("nobody", "policy not in ranking")]
)
def test_a_ranking_needs_two_of_its_policies(policy: str, reason: str) -> None:
    found = point(branch(1.0, "A", policy="teacher"), branch(0.0, "B", policy=policy))
    assert pairs(found, BY_RANK) == ([], {reason: 1})


def test_branches_that_failed_make_no_pair_and_are_counted() -> None:
    at_once = Branch("llm", (), error="TransientLMError: gone")
    after_a_call = structs.replace(branch(None, made=[call()]), error="TransientLMError: gone")
    rows, left_out = pairs(point(at_once, branch(1.0, "A"), after_a_call, branch(0.0, "B")))
    assert [row.chosen[0]["content"] for row in rows] == ["A"]
    assert left_out == {"failed": 2}


def test_an_inconsistent_branch_is_refused() -> None:
    broken = with_results(branch(1.0, made=[call()]), "[]")
    with pytest.raises(DataError, match="do not answer the calls"):
        pairs(point(broken, branch(0.0)))
