import json
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec
import pytest

from agent_gym_env.errors import AgentGymError, StorageError
from agent_gym_env.export.from_episodes import conversations, labels, prompts
from agent_gym_env.export.preference_pairs import common_states, labels_of_pairs, preferences
from agent_gym_env.export.rows import Tally, write_rows
from agent_gym_env.rollout.episode import Episode
from tests.evaluation.episode_factory import call, episode, turn

GOOD = episode(turn(1.0, says="Where?"), turn(1.0, made=[call()], says="One."), policy="teacher")
POOR = episode(turn(1.0, says="Where?"), turn(0.0, says="None."), policy="student")


def test_conversations_are_one_an_episode_and_each_only_once() -> None:
    tally = Tally()
    rows = list(conversations([GOOD, POOR, GOOD], tally))
    assert [row.policy for row in rows] == ["teacher", "student"]
    assert tally.left_out == {"duplicate": 1}


def test_conversations_of_too_little_reward_are_left_out() -> None:
    tally = Tally()
    assert [row.policy for row in conversations([GOOD, POOR], tally, min_reward=0.6)] == ["teacher"]
    assert tally.left_out == {"below min_reward": 1}


def test_preferences_of_episodes_are_found_where_they_part() -> None:
    (row,) = preferences(common_states([POOR, GOOD]), Tally())
    assert (row.turn, row.chosen_policy, row.rejected_policy) == (1, "teacher", "student")
    assert row.rejected == [{"role": "assistant", "content": "None."}]


def test_labels_of_pairs_say_each_message_once() -> None:
    tally = Tally()
    third = episode(turn(1.0, says="Where?"), turn(0.5, says="Some."), policy="third")
    rows = list(labels_of_pairs(preferences(common_states([POOR, GOOD, third]), Tally()), tally))
    # In the middle "Some." is better than "None." and worse than the call.
    assert sorted((row.policy, row.label) for row in rows) == [
        ("student", False), ("teacher", True), ("third", False), ("third", True)
    ]  # fmt: skip
    assert tally.left_out == {"duplicate": 2}


def test_labels_take_episodes_that_have_not_come_to_their_end() -> None:
    failed = episode(turn(1.0), terminated=False, error="LMError: no")
    nothing = episode(terminated=False, error="LMError: no")
    assert [row.label for row in labels([failed, nothing], Tally())] == [True]


def test_prompts_are_one_a_turn_and_each_only_once() -> None:
    tally = Tally()
    rows = list(prompts([GOOD, POOR], tally))
    assert [row.turn for row in rows] == [0, 1]
    assert tally.left_out == {"duplicate": 2}


def test_rows_are_lines_of_json(tmp_path: Path) -> None:
    tally = Tally()
    path = tmp_path / "rows.jsonl"
    write_rows(path, conversations([GOOD, POOR], tally), tally)
    rows = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert [row["policy"] for row in rows] == ["teacher", "student"]
    assert tally.written == 2


def test_a_line_that_is_too_long_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_rows(path, conversations([POOR], Tally()), Tally())
    size = len(path.read_bytes()) - 1
    write_rows(path, conversations([POOR], Tally()), Tally(), max_bytes=size)
    with pytest.raises(AgentGymError, match="left out, longer than max_bytes: 1"):
        write_rows(path, conversations([POOR], Tally()), Tally(), max_bytes=size - 1)
    assert len(path.read_bytes()) - 1 == size


def test_a_run_that_fails_leaves_no_file(tmp_path: Path) -> None:
    def failing() -> Iterator[Episode]:
        yield GOOD
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_rows(tmp_path / "rows.jsonl", conversations(failing(), Tally()), Tally())
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        write_rows(tmp_path / "file" / "rows.jsonl", [], Tally())


def many(number: int) -> Iterator[Episode]:
    """Episodes of two policies on half as many dialogues, made while they are read."""
    for each in range(number):
        says = f"{'Good' if each % 2 else 'Poor'} answer {each}."
        yield episode(
            turn(each % 2, user=f"Question {each // 2}", made=[call(n=each)], says=says * 50),
            turn(says=says),
            dialogue_id=f"1_{each // 2:05d}",
        )


def peak_bytes(kind: str, number: int, path: Path) -> int:
    tally = Tally()
    rows: dict[str, Callable[[], Iterable[msgspec.Struct]]] = {
        "sft": lambda: conversations(many(number), tally),
        "dpo": lambda: preferences(common_states(many(number)), tally),
        "grpo": lambda: prompts(many(number), tally),
    }
    tracemalloc.start()
    try:
        write_rows(path, rows[kind](), tally)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", ["sft", "dpo", "grpo"])
@pytest.mark.parametrize("number", [400, pytest.param(10_000, marks=pytest.mark.long)])
def test_memory_does_not_grow_with_the_number_of_episodes(
    tmp_path: Path, kind: str, number: int
) -> None:
    few = peak_bytes(kind, number // 8, tmp_path / "rows.jsonl")
    many_more = peak_bytes(kind, number, tmp_path / "rows.jsonl")
    # Each row leaves its digest behind; an episode alone is larger than 1,200 bytes.
    assert many_more - few < 300 * number + 100_000
