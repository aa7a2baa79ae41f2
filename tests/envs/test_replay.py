"""A world makes its services once, offers tools, and can be given other services."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent_gym_env.corpus.corpus import Split, open_corpus
from agent_gym_env.corpus.task import Task
from agent_gym_env.envs.actions import parse_action
from agent_gym_env.envs.replay import Replay, ReplaySettings, recorded_action, target_messages
from agent_gym_env.rewards.ground_truth import GroundTruthReward
from agent_gym_env.tools.validation import ToolCatalogue
from agent_gym_env.types import Action, ToolCall, ToolResult
from tests.corpora import FIND_TEA, ORDER_CAKE, ORDER_TEA, TRAIN

TEA, BLACK, MIXED = range(len(TRAIN))


@pytest.fixture
def split(tiny_corpus: Path) -> Split:
    return open_corpus(tiny_corpus).split("train")


@pytest.fixture
def world(split: Split) -> ReplaySettings:
    return ReplaySettings(split, GroundTruthReward())


def test_dialogues_of_the_same_services_share_their_offer(
    world: ReplaySettings, split: Split
) -> None:
    assert world.offered_tools(split.task(TEA)) is world.offered_tools(split.task(BLACK))
    assert world.offered_tools(split.task(TEA)) is not world.offered_tools(split.task(MIXED))


def test_an_offer_is_what_is_read_and_what_is_checked(world: ReplaySettings, split: Split) -> None:
    offer = world.offered_tools(split.task(MIXED))
    names = [tool["function"]["name"] for tool in json.loads(offer.json)]
    assert names == list(offer.catalogue.tools) == [FIND_TEA, ORDER_TEA, ORDER_CAKE]


class Closed:
    """Services that are closed today."""

    def __init__(self, catalogue: ToolCatalogue) -> None:
        self.turns = 0

    def reset(self, task: Task) -> None:
        """Begin a dialogue."""

    def next_turn(self) -> None:
        """Move on."""
        self.turns += 1

    def full_name(self, name: str) -> str:
        """Leave a name as it is."""
        return name

    def execute(self, call: ToolCall) -> ToolResult:
        """Refuse a call."""
        return ToolResult(call.name, "failure", [{"turn": str(self.turns)}])


def test_a_world_can_have_other_services(split: Split) -> None:
    replay = Replay(ReplaySettings(split, GroundTruthReward(), backend=Closed), split.task(TEA))
    replay.step(parse_action("Hi."))
    observation, *_ = replay.step(parse_action({"tool_call": {"name": "Anything"}}))
    assert json.loads(observation["tool_result"]) == [
        {"name": "Anything", "status": "failure", "results": [{"turn": "1"}]}
    ]


def test_the_last_action_is_known_as_it_was_understood(world: ReplaySettings, split: Split) -> None:
    replay = Replay(world, split.task(TEA))
    replay.step(parse_action({"text": "", "tool_call": {"name": "FindTea"}}))
    assert replay.last_action == Action("", (ToolCall(FIND_TEA, {}),))
    replay.step(parse_action("x" * 70_000))
    assert replay.last_action == Action("x" * 65_536)


def test_the_recorded_turn_is_the_open_one(world: ReplaySettings, split: Split) -> None:
    task = split.task(TEA)
    replay = Replay(world, task)
    for turn in task.turns:
        assert replay.recorded_turn() is turn
        replay.step(parse_action(recorded_action(turn)))
    assert replay.over


def test_a_score_belongs_to_the_turn_that_the_last_action_closed(
    world: ReplaySettings, split: Split
) -> None:
    replay = Replay(world, split.task(TEA))
    replay.step(parse_action(recorded_action(replay.recorded_turn())))
    assert replay.score is not None
    assert replay.score.value == 1.0
    replay.step(parse_action({"tool_call": {"name": "FindTea"}}))
    assert replay.score is None


def test_a_reward_that_returns_no_score_is_named(world: ReplaySettings, split: Split) -> None:
    class Half:
        name = "half"
        parts = ()

        def score(self, turn: object) -> Any:
            return 0.5

    replay = Replay(ReplaySettings(split, Half()), split.task(TEA))
    with pytest.raises(TypeError, match="the reward 'half' must return an agent_gym_env"):
        replay.step(parse_action("Hello."))


def test_a_target_is_the_call_and_the_reply(split: Split) -> None:
    with_call, *_, without = split.task(TEA).turns
    assert [message["content"] for message in target_messages(with_call)] == [
        None,
        "There is Sencha from Uji.",
    ]
    assert target_messages(without) == [{"role": "assistant", "content": "Goodbye."}]
