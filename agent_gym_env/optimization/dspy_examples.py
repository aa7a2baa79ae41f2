"""Recorded turns for DSPy: examples, a program that plays a turn, and its reward as a metric."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from agent_gym_env.corpus.corpus import Split
from agent_gym_env.corpus.task import Turn
from agent_gym_env.envs.actions import parse_action
from agent_gym_env.envs.replay import Replay, ReplaySettings, Snapshot, recorded_action
from agent_gym_env.errors import JudgeError
from agent_gym_env.extras import require
from agent_gym_env.optimization.monitor import Meter
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

import dspy  # noqa: E402  (`require` names the extra if it is missing)

OnTurn = Callable[[str, "float | None"], None]
"""Called with ``dialogue_id#turn`` and the reward of a turn."""


class RecordedTurns:
    """The recorded turns of a split, each of which can be played from its beginning repeatedly.

    Args:
        split: split of the dialogues.
        reward: reward of the turns.
    """

    def __init__(self, split: Split, reward: Reward) -> None:
        self.split = split
        self.reward = reward
        self._settings = ReplaySettings(split, reward)
        # Earlier turns are replayed as recorded; a judge must not be asked to score them.
        self._before = ReplaySettings(split, GroundTruthReward())
        self._beginnings: dict[str, Snapshot] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> RecordedTurns:
        return self

    def replay(self, turn: str) -> Replay:
        """Return a replay at the beginning of a turn.

        Args:
            turn: ``dialogue_id#turn``.
        """
        if turn not in self._beginnings:
            self._beginnings[turn] = self._begin(turn)
        return Replay.restored(self._settings, self._beginnings[turn])

    def example(self, turn: str) -> dspy.Example:
        """Write a turn as an example: its inputs and the recorded step."""
        replay = self.replay(turn)
        recorded = replay.recorded_turn()
        call = recorded_action(recorded).tool_calls
        return dspy.Example(
            **program_inputs(replay.begin()[0], replay.task.date),
            turn=turn,
            response="" if call else recorded.text,
            tool_call=tool_call_text(call[0] if call else None),
            **_reference(recorded),
        ).with_inputs("conversation", "tools", "turn")

    def _begin(self, turn: str) -> Snapshot:
        dialogue_id, _, number = turn.rpartition("#")
        task = self.split.task(self.split.index(dialogue_id))
        replay = Replay(self._before, task)
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

    Each group takes one turn of each of its dialogues, or several if the split has too few
    dialogues.

    Args:
        split: split of the dialogues.
        counts: number of turns of each group.
        seed: seed of the draw.

    Returns:
        For each group its turns, each ``dialogue_id#turn``.

    Raises:
        ValueError: the split has too few turns.
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
    """A program that plays one turn: it asks the agent for steps until the turn closes."""

    def __init__(self, agent: SGDAgentModule, turns: RecordedTurns) -> None:
        super().__init__()
        self.agent = agent
        self.turns = turns

    def forward(self, conversation: str, tools: str, turn: str) -> dspy.Prediction:
        """Play a turn.

        Args:
            conversation: conversation at the beginning of the turn, as the agent sees it.
            tools: tools on offer, as the agent sees them.
            turn: ``dialogue_id#turn``.

        Returns:
            The agent's ``response`` and ``tool_calls``, and the environment's ``reward``,
            ``components`` and ``reason``.
        """
        replay = self.turns.replay(turn)
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


def play_turn(policy: Policy, turns: RecordedTurns, turn: str) -> Score:
    """Play one turn with a policy."""
    replay = turns.replay(turn)
    observation, _ = replay.begin()
    while replay.score is None:
        observation, *_ = replay.step(parse_action(policy.act(observation)))
    return replay.score


def program_of(compiled: TurnProgram) -> SGDAgentModule:
    """Copy the agent of an optimised program, without the attributes that DSPy has added."""
    agent = SGDAgentModule()
    predictor, optimized = agent.predict.predict, compiled.agent.predict.predict
    predictor.signature = predictor.signature.with_instructions(optimized.signature.instructions)
    predictor.demos = list(optimized.demos)
    return agent


class TurnMetric:
    """The environment's reward of a played turn, as a metric for DSPy's optimisers.

    DSPy has no unknown rewards: such a turn counts as 0 in the search, and as an error of the run.
    A turn in which the program itself failed counts as 0, and not as an error of the run.

    Args:
        meter: meter of the run.
        on_turn: called with each played turn.
    """

    def __init__(self, meter: Meter, on_turn: OnTurn) -> None:
        self._meter = meter
        self._on_turn = on_turn

    def __call__(
        self, example: dspy.Example, prediction: dspy.Prediction | None, trace: Any = None
    ) -> float:
        """Return the reward of a turn."""
        if prediction is None or not _is_played(prediction):
            return 0.0
        reward: float | None = prediction.reward
        self._on_turn(example.turn, reward)
        if reward is None:
            self._meter.record_error(JudgeError(prediction.reason or "a turn has no reward"))
            return 0.0
        return reward

    def with_feedback(
        self,
        example: dspy.Example,
        prediction: dspy.Prediction | None,
        trace: Any = None,
        predictor_name: str | None = None,
        predictor_trace: Any = None,
    ) -> dspy.Prediction:
        """Return the reward of a turn and a description of the right step, for GEPA."""
        score = self(example, prediction, trace)
        return dspy.Prediction(score=score, feedback=_feedback(example, prediction, score))


def _is_played(prediction: dspy.Prediction) -> bool:
    """Return whether a turn was played; a program that failed leaves another prediction."""
    return "reward" in prediction


def _feedback(example: dspy.Example, prediction: dspy.Prediction | None, score: float) -> str:
    if prediction is None or not _is_played(prediction):
        return "The output could not be read: give every field of the output, in its form."
    parts = ", ".join(
        f"{name} {value:.2f}" for name, value in prediction.components.items() if value is not None
    )
    made = "; ".join(prediction.tool_calls) or "none"
    return (
        f"The turn earned {score:.2f} of 1 ({parts}).\n"
        f"Calls made: {made}. The right call: {example.reference_call or 'none'}.\n"
        f"The reply: {prediction.response!r}. A right reply: {example.reference_reply!r}."
    )
