"""Episodes of logs are recorded, read again and exported like those of SGD."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from agent_gym_env.assembly import collect, rollout
from agent_gym_env.corpus.reader import CorpusReader
from agent_gym_env.corpus.task import RecordedCall, Task, Turn
from agent_gym_env.corpus.tool_specs import FunctionTool
from agent_gym_env.export.from_episodes import conversations
from agent_gym_env.export.rows import Tally
from agent_gym_env.rollout.episode import Episode, observations
from agent_gym_env.rollout.journal.reading import read_branches
from agent_gym_env.types import ToolCall
from tests.lm.server import LMServer
from tests.lm.wire_formats import ChatAnswer, ChatRequest

SCHEMA = {"type": "object", "properties": {"day": {"type": "integer"}}, "required": ["day"]}


def call(day: int, place: int) -> RecordedCall:
    return RecordedCall("book", {"day": day}, "success", f'{{"booked":{day}}}', round=place)


class Bookings(CorpusReader):
    name = "bookings"

    def splits(self) -> list[str]:
        return ["train"]

    def fingerprint(self) -> str:
        return "1"

    def tools(self, split: str) -> list[FunctionTool]:
        return [FunctionTool("book", "book", "Book a day", SCHEMA)]

    def dialogues(self, split: str) -> Iterator[Task]:
        turns = (
            Turn("", "Hello, which days?", ""),
            Turn("1 and 2, then 3", "Done.", "book", call(1, 0), (), (call(2, 0), call(3, 1))),
        )
        yield Task("d", ("book",), turns, None, "Book what is asked for.")


@pytest.fixture(scope="module")
def episode() -> Episode:
    (played,) = rollout("oracle", corpus=Bookings(), split="train", system_prompt=True)
    return played


def test_each_round_is_a_step_and_the_reply_comes_after_them(episode: Episode) -> None:
    assert [turn.reward for turn in episode.turns] == [1.0, 1.0]
    made = [[each.arguments for each in s.action.tool_calls] for s in episode.turns[1].steps]
    assert made == [[{"day": 1}, {"day": 2}], [{"day": 3}], []]
    answers = [msgspec.json.decode(s.tool_result) for s in episode.turns[1].steps[:2]]
    assert [[each["results"]["booked"] for each in round_] for round_ in answers] == [[1, 2], [3]]


def test_the_conversation_of_an_episode_begins_with_what_was_shown(episode: Episode) -> None:
    (*_, last) = observations(episode)
    roles = [each["role"] for each in msgspec.json.decode(last["messages"])]
    assert roles[:3] == ["system", "assistant", "user"]


def test_a_row_for_training_has_one_system_message(episode: Episode) -> None:
    (row,) = conversations([episode], Tally())
    system = [each["content"] for each in row.messages if each["role"] == "system"]
    assert len(system) == 1
    assert "a day that is not known" in system[0]
    assert system[0].endswith("Book what is asked for.")


def test_states_of_a_log_are_branched(tmp_path: Path) -> None:
    collect(
        ["silent", "constant"],
        tmp_path / "branches",
        corpus="tests.rollout.test_logs:Bookings",
        split="train",
        branches=2,
    )
    assert {branch.date for branch in read_branches(tmp_path / "branches")} == {None}


def test_a_language_model_plays_a_log_over_the_wire() -> None:
    def answer(request: ChatRequest) -> ChatAnswer:
        if request.messages[-1]["role"] == "tool":
            return ChatAnswer(text="Done.")
        return ChatAnswer(tool_calls=(ToolCall("book", {"day": 1}), ToolCall("book", {"day": 2})))

    with LMServer(answer) as server:
        policy = {
            "name": "llm",
            "client": "local",
            "model": "fake",
            "api_base": server.openai_base,
        }
        (played,) = rollout(
            policy, corpus=Bookings(), split="train", system_prompt=True, reward="ground_truth"
        )
        asked = server.requests
    assert played.error is None
    assert played.turns[1].components["tool_accuracy"] == pytest.approx(2 / 3)
    assert "Book what is asked for." in asked[0].messages[0]["content"]
