from agent_gym_env.export.from_episodes import rows_of_episode
from agent_gym_env.export.preference_pairs import PairRule, preference_rows, rows_of_pair
from agent_gym_env.export.rows import LabelledRow, Tally
from tests.evaluation.episode_factory import call, episode, turn
from tests.rollout.branch_factory import branch, point


def labelled(*rewards: float | None, threshold: float = 0.5) -> tuple[list[LabelledRow], Tally]:
    tally = Tally()
    played = episode(*(turn(reward, made=[call()], says="One.") for reward in rewards))
    return list(rows_of_episode(played, threshold, tally)), tally


def test_each_message_of_a_turn_has_the_label_of_its_reward() -> None:
    rows, _ = labelled(0.5, 0.49)
    assert [(row.turn, row.step, row.label) for row in rows] == [
        (0, 0, True), (0, 1, True), (1, 0, False), (1, 1, False)
    ]  # fmt: skip


def test_a_prompt_is_the_conversation_before_its_message() -> None:
    (asks, says), _ = labelled(1.0)
    assert [message["role"] for message in asks.prompt] == ["system", "user"]
    assert asks.completion[0]["tool_calls"][0]["function"]["arguments"] == {}
    assert says.prompt == [*asks.prompt, *asks.completion, says.prompt[-1]]
    assert says.prompt[-1]["role"] == "tool"
    assert says.completion == [{"role": "assistant", "content": "One."}]


def test_messages_of_a_turn_without_a_reward_are_left_out_and_counted() -> None:
    rows, tally = labelled(None, 1.0)
    assert [row.turn for row in rows] == [1, 1]
    assert tally.left_out == {"unscored": 2}


def test_a_row_says_where_it_comes_from() -> None:
    (row,) = rows_of_episode(episode(turn(0.7), policy="student", split="dev"), 0.5, Tally())
    assert (row.policy, row.split, row.dialogue_id, row.reward) == (
        "student", "dev", "1_00000", 0.7
    )  # fmt: skip


def test_a_pair_gives_a_good_and_a_bad_message_after_one_prompt() -> None:
    found = point(branch(1.0, "A", policy="oracle"), branch(0.0, "B", policy="student"), turn=3)
    (pair,) = preference_rows(found, PairRule(), Tally())
    good, bad = rows_of_pair(pair)
    assert good.prompt == bad.prompt == pair.prompt
    assert (good.completion, good.label, good.reward, good.policy) == (
        pair.chosen, True, 1.0, "oracle"
    )  # fmt: skip
    assert (bad.completion, bad.label, bad.reward, bad.policy) == (
        pair.rejected, False, 0.0, "student"
    )  # fmt: skip
    assert good.turn == bad.turn == 3
