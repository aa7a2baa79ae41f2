"""Turns of recorded dialogues as examples, and a program that plays one in its environment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from agent_gym_env.corpus.corpus import Split
from agent_gym_env.corpus.task import Turn
from agent_gym_env.envs.actions import parse_action
from agent_gym_env.envs.replay import Replay, ReplaySettings, Snapshot, recorded_action
from agent_gym_env.extras import require
from agent_gym_env.policies.base import Policy
from agent_gym_env.policies.dspy_module import (
    SGDAgentModule,
    program_action,
    program_inputs,
    tool_call_text,
)
from agent_gym_env.rewards.base import Reward, Score
from agent_gym_env.rewards.ground_truth import GroundTruthReward
from agent_gym_env.types import Action

require("dspy", extra="dspy")

import dspy  # noqa: E402  (`require` first says where it comes from)


class Stage:
    """The turns of a split, each to be played from its beginning as often as one likes.

    Args:
        split: of the dialogues.
        reward: scores the turns.
    """

    def __init__(self, split: Split, reward: Reward) -> None:
        self.split = split
        self.reward = reward
        self._world = ReplaySettings(split, reward)
        # The way to a turn is as recorded, and nobody is to be asked what it is worth.
        self._rehearsal = ReplaySettings(split, GroundTruthReward())
        self._beginnings: dict[str, Snapshot] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> Stage:
        return self

    def enter(self, turn: str) -> Replay:
        """Begin a turn.

        Args:
            turn: ``dialogue_id#turn``.
        """
        if turn not in self._beginnings:
            self._beginnings[turn] = self._rehearse(turn)
        return Replay.restored(self._world, self._beginnings[turn])

    def example(self, turn: str) -> dspy.Example:
        """Write a turn as an example: its inputs, and the step that was recorded."""
        replay = self.enter(turn)
        recorded = replay.recorded_turn()
        call = recorded_action(recorded).tool_calls
        return dspy.Example(
            **program_inputs(replay.begin()[0], replay.task.date),
            turn=turn,
            response="" if call else recorded.text,
            tool_call=tool_call_text(call[0] if call else None),
            **_reference(recorded),
        ).with_inputs("conversation", "tools", "turn")

    def _rehearse(self, turn: str) -> Snapshot:
        dialogue_id, _, number = turn.rpartition("#")
        task = self.split.task(self.split.index(dialogue_id))
        replay = Replay(self._rehearsal, task)
        while replay.turn < int(number):
            recorded = recorded_action(replay.recorded_turn())
            if recorded.tool_calls:
                replay.step(parse_action(Action(tool_calls=recorded.tool_calls)))
            replay.step(parse_action(Action(recorded.text)))
        return replay.snapshot()


def _reference(turn: Turn) -> dict[str, str]:
    call = recorded_action(turn).tool_calls
    return {
        "reference_reply": turn.text,
        "reference_call": tool_call_text(call[0] if call else None),
    }


def choose_turns(split: Split, counts: Sequence[int], seed: int) -> list[list[str]]:
    """Choose groups of turns that share no dialogue.

    Each group takes one turn of as many dialogues as it needs, and more of each where the split has
    too few dialogues.

    Args:
        split: of the dialogues.
        counts: how many turns each group has.
        seed: of the draw.

    Returns:
        ``dialogue_id#turn`` by group.

    Raises:
        ValueError: there are not so many turns.
    """
    rng = np.random.default_rng(seed)
    ids = split.dialogue_ids()
    order = rng.permutation(len(ids))
    shares = np.cumsum([0, *counts]) / max(sum(counts), 1)
    bounds = np.round(shares * min(len(ids), sum(counts))).astype(int)
    groups = []
    for group, count in enumerate(counts):
        members = order[bounds[group] : bounds[group + 1]]
        groups.append(_draw(split, members.tolist(), count, rng))
    return groups


def _draw(split: Split, dialogues: list[int], count: int, rng: np.random.Generator) -> list[str]:
    turns: list[list[str]] = []
    for dialogue in dialogues:
        task = split.task(dialogue)
        shuffled = rng.permutation(len(task.turns))
        turns.append([f"{task.dialogue_id}#{number}" for number in shuffled])
    rounds = max(map(len, turns), default=0)
    drawn = [each[at] for at in range(rounds) for each in turns if at < len(each)]
    if len(drawn) < count:
        raise ValueError(
            f"split {split.name!r} has {len(drawn)} turns for a group of {count}: ask for fewer"
        )
    return drawn[:count]


class TurnProgram(dspy.Module):  # type: ignore[misc]  # dspy is untyped
    """Plays one turn: asks the agent for step after step until the turn closes."""

    def __init__(self, agent: SGDAgentModule, stage: Stage) -> None:
        super().__init__()
        self.agent = agent
        self.stage = stage

    def forward(self, conversation: str, tools: str, turn: str) -> dspy.Prediction:
        """Play a turn.

        Args:
            conversation: as the agent sees it when the turn begins.
            tools: likewise.
            turn: ``dialogue_id#turn``.

        Returns:
            What was said and called, with the environment's ``reward``, ``components`` and
            ``reason``.
        """
        replay = self.stage.enter(turn)
        observation, _ = replay.begin()
        calls: list[str] = []
        while True:
            decided = self.agent(**program_inputs(observation, replay.task.date))
            action = program_action(decided, observation)
            calls += map(tool_call_text, action.tool_calls)
            observation, *_ = replay.step(parse_action(action))
            if replay.score is not None:
                return dspy.Prediction(
                    response=action.text,
                    tool_calls=calls,
                    reward=replay.score.value,
                    components=replay.score.components,
                    reason=replay.score.reason,
                )


def play_turn(policy: Policy, stage: Stage, turn: str) -> Score:
    """Have a policy play one turn."""
    replay = stage.enter(turn)
    observation, _ = replay.begin()
    while replay.score is None:
        observation, *_ = replay.step(parse_action(policy.act(observation)))
    return replay.score


def program_of(compiled: TurnProgram) -> SGDAgentModule:
    """Take the agent out of an optimised program, without what DSPy hung on it."""
    agent = SGDAgentModule()
    predictor, optimized = agent.predict.predict, compiled.agent.predict.predict
    predictor.signature = predictor.signature.with_instructions(optimized.signature.instructions)
    predictor.demos = list(optimized.demos)
    return agent
