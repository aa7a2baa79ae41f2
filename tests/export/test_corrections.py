from __future__ import annotations

from agent_gym_env.export.from_episodes import correction_rows, corrections
from agent_gym_env.export.rows import ConversationRow, Tally
from tests.evaluation.episode_factory import BOOK, FIND, call, due, episode, turn

ASKED = turn(0.2, says="What?", recorded="Which city?", due=None)
FOUND = turn(
    0.0,
    made=[call(BOOK, hotel="B")],
    says="Booked.",
    recorded="One in Ur.",
    due=due(FIND, city="Ur"),
)


def answers(rows: list[ConversationRow]) -> list[object]:
    """Return the message to learn of each row: the words of a reply, or the call."""
    found: list[object] = []
    for row in rows:
        (learned,) = [m for m in row.messages if m["role"] == "assistant" and m.get("weight") != 0]
        assert learned is row.messages[-1]
        calls = learned.get("tool_calls")
        found.append(calls[0]["function"] if calls else learned["content"])
    return found


def test_each_step_of_a_poor_turn_learns_what_the_corpus_would_have_done() -> None:
    rows = list(correction_rows(episode(ASKED, FOUND), 0.5))
    due_call = {"name": FIND, "arguments": {"city": "Ur"}}
    assert answers(rows) == ["Which city?", due_call, due_call]
    said = [message.get("content") for message in rows[2].messages]
    assert said[1:4] == ["A room, please.", "What?", "A room, please."]


def test_after_a_call_of_the_due_tool_the_reply_is_learned() -> None:
    late = turn(0.4, made=[call(FIND, city="Rome")], recorded="One in Ur.", due=due(city="Ur"))
    assert answers(list(correction_rows(episode(late), 0.5)))[1] == "One in Ur."


def test_turns_that_earned_enough_or_have_no_reward_are_left_as_they_are() -> None:
    assert list(correction_rows(episode(turn(0.5), turn(None)), 0.5)) == []


def test_corrections_are_taken_of_episodes_that_were_cut_and_each_only_once() -> None:
    cut = episode(ASKED, terminated=False, truncated=True)
    tally = Tally()
    assert len(list(corrections([cut, cut], tally, below=1.0))) == 1
    assert tally.left_out == {"duplicate": 1}
