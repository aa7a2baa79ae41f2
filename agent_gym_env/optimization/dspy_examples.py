"""Examples for DSPy: their contract, recorded turns, and the program that plays a turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from agent_gym_env.corpus.corpus import Split
from agent_gym_env.corpus.task import Task, Turn
from agent_gym_env.envs.actions import parse_action
from agent_gym_env.envs.replay import Replay, ReplaySettings, Snapshot, recorded_action
from agent_gym_env.errors import ContextExceeded
from agent_gym_env.export.rows import digest
from agent_gym_env.extras import require
from agent_gym_env.optimization.result import Unit
from agent_gym_env.policies.base import Policy
from agent_gym_env.policies.dspy_module import (
    SGDAgentModule,
    program_action,
    program_inputs,
    tool_call_text,
)
from agent_gym_env.rewards.base import Reward, Score
from agent_gym_env.rewards.ground_truth import GroundTruthReward
from agent_gym_env.rewards.task import TaskReward
from agent_gym_env.types import Action, ToolCall

require("dspy", extra="dspy")

import dspy  # noqa: E402  (`require` names the extra if it is missing)


class Examples(Protocol):
    """The examples of an optimisation, of one split: turns, or whole simulated dialogues.

    Attributes:
        unit: kind of example.
        reward: reward of the environment.
        parts: names of the parts of a score.
        origins: the examples that inputs of a program were of.
    """

    unit: Unit
    origins: Origins

    @property
    def reward(self) -> Reward | TaskReward:
        """Reward of the environment."""

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the parts of a score."""

    def example(self, name: str) -> dspy.Example:
        """Write an example for DSPy."""

    def program(self, agent: SGDAgentModule) -> AgentProgram:
        """Make the program that plays an example."""

    def date(self, name: str) -> str | None:
        """Return the date of an example's dialogue, ISO."""

    def dialogue(self, name: str) -> str:
        """Return the id of an example's dialogue."""

    def play(self, policy: Policy, name: str) -> Score:
        """Play an example with a policy."""

    def feedback(
        self, example: dspy.Example, prediction: dspy.Prediction | None, score: float
    ) -> str:
        """Describe in words how an example went, for optimisers that read."""


class AgentProgram(Protocol):
    """A program of DSPy that plays an example.

    Attributes:
        agent: the agent that it asks.
    """

    agent: SGDAgentModule


class Origins:
    """Remembers the example in which a program was first asked with given inputs."""

    def __init__(self) -> None:
        self._names: dict[bytes, str] = {}

    def note(self, name: str, inputs: Mapping[str, str]) -> None:
        """Note that inputs of the agent were of an example."""
        self._names.setdefault(digest(inputs["conversation"]), name)

    def of(self, demo: Mapping[str, str]) -> str | None:
        """Return the example that a demonstration was taken from; ``None`` if it is unknown."""
        return self._names.get(digest(demo.get("conversation")))


class RecordedTurns:
    """The recorded turns of a split, each of which can be played from its beginning repeatedly.

    Args:
        split: split of the dialogues.
        reward: reward of the turns.

    Attributes:
        origins: the turns that inputs of a program were of.
    """

    unit: Unit = "turn"

    def __init__(self, split: Split, reward: Reward) -> None:
        self.split = split
        self.reward = reward
        self.origins = Origins()
        self._settings = ReplaySettings(split, reward)
        # Earlier turns are replayed as recorded; a judge must not be asked to score them.
        self._before = ReplaySettings(split, GroundTruthReward())
        self._beginnings: dict[str, Snapshot] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> RecordedTurns:
        return self

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the parts of the reward."""
        return self.reward.parts

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
        inputs = program_inputs(replay.begin()[0], replay.task.date)
        self.origins.note(turn, inputs)
        return dspy.Example(
            **inputs,
            turn=turn,
            response="" if call else recorded.text,
            tool_call=tool_call_text(call[0] if call else None),
            **_reference(recorded),
        ).with_inputs("conversation", "tools", "turn")

    def program(self, agent: SGDAgentModule) -> TurnProgram:
        """Make the program that plays a turn."""
        return TurnProgram(agent, self)

    def date(self, turn: str) -> str | None:
        """Return the date of a turn's dialogue, ISO."""
        return self._task(turn).date

    def dialogue(self, turn: str) -> str:
        """Return the id of a turn's dialogue."""
        return turn.rpartition("#")[0]

    def play(self, policy: Policy, turn: str) -> Score:
        """Play one turn with a policy. It is silent where its prompt is too long for its model."""
        replay = self.replay(turn)
        observation, _ = replay.begin()
        while replay.score is None:
            try:
                action = policy.act(observation)
            except ContextExceeded:
                action = Action()
            observation, *_ = replay.step(parse_action(action))
        return replay.score

    @staticmethod
    def feedback(example: dspy.Example, prediction: dspy.Prediction | None, score: float) -> str:
        """Describe in words what was right."""
        if prediction is None or "reward" not in prediction:
            return "The output could not be read: give every field of the output, in its form."
        parts = ", ".join(
            f"{name} {value:.2f}"
            for name, value in prediction.components.items()
            if value is not None
        )
        made = "; ".join(prediction.tool_calls) or "none"
        return (
            f"The turn earned {score:.2f} of 1 ({parts}).\n"
            f"Calls made: {made}. The right call: {example.reference_call or 'none'}.\n"
            f"The reply: {prediction.response!r}. A right reply: {example.reference_reply!r}."
        )

    def _task(self, turn: str) -> Task:
        return self.split.task(self.split.index(self.dialogue(turn)))

    def _begin(self, turn: str) -> Snapshot:
        task, number = self._task(turn), turn.rpartition("#")[2]
        replay = Replay(self._before, task)
        while replay.turn < int(number):
            turn_before = replay.recorded_turn()
            for calls in turn_before.rounds:
                made = tuple(ToolCall(call.name, dict(call.arguments)) for call in calls)
                replay.step(parse_action(Action(tool_calls=made)))
            replay.step(parse_action(Action(turn_before.text)))
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
            ``played``, the turn; the agent's ``response`` and ``tool_calls``; and the
            environment's ``reward``, ``components`` and ``reason``.
        """
        replay = self.turns.replay(turn)
        observation, _ = replay.begin()
        calls: list[str] = []
        while True:
            inputs = program_inputs(observation, replay.task.date)
            self.turns.origins.note(turn, inputs)
            decided = self.agent(**inputs)
            action = program_action(decided, observation)
            calls += map(tool_call_text, action.tool_calls)
            observation, *_ = replay.step(parse_action(action))
            if replay.score is not None:
                return dspy.Prediction(
                    played=turn,
                    response=action.text,
                    tool_calls=calls,
                    reward=replay.score.value,
                    components=replay.score.components,
                    reason=replay.score.reason,
                )


def program_of(compiled: AgentProgram) -> SGDAgentModule:
    """Copy the agent of an optimised program, without the attributes that DSPy has added."""
    agent = SGDAgentModule()
    predictor, optimized = agent.predict.predict, compiled.agent.predict.predict
    predictor.signature = predictor.signature.with_instructions(optimized.signature.instructions)
    predictor.demos = list(optimized.demos)
    return agent
