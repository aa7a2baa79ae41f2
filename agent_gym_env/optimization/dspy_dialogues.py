"""Simulated dialogues for DSPy: examples, and the program that plays a dialogue to its end."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec
import numpy as np

from agent_gym_env.corpus.corpus import Split
from agent_gym_env.envs.sgd_sim import SGDSimEnv
from agent_gym_env.evaluation.simulated import Outcome, outcome
from agent_gym_env.extras import require
from agent_gym_env.lm.prompt import json_lines, plain_messages
from agent_gym_env.optimization.dspy_examples import Origins, RecordedTurns
from agent_gym_env.optimization.monitor import Meter, MeteredLM
from agent_gym_env.optimization.result import Unit
from agent_gym_env.policies.base import Policy
from agent_gym_env.policies.dspy_module import SGDAgentModule, program_inputs
from agent_gym_env.policies.dspy_program import decide
from agent_gym_env.rewards.base import Score
from agent_gym_env.rewards.ground_truth import GroundTruthReward
from agent_gym_env.rewards.task import TaskReward
from agent_gym_env.rollout.episode import Episode
from agent_gym_env.rollout.play import episode_seed, play
from agent_gym_env.types import Action, Observation
from agent_gym_env.users.llm import LLMUser

require("dspy", extra="dspy")

import dspy  # noqa: E402  (`require` names the extra if it is missing)

_decode_messages = msgspec.json.Decoder(list[dict[str, Any]]).decode


class SimulatedDialogues:
    """The simulated dialogues of a split, each of which can be played repeatedly.

    Args:
        env: environment of the split. Dialogues are played in copies of it, at the same time.
        meter: meter of the run; it counts what a simulated user with a language model asks, too.
        seed: seed that those of the episodes are derived from, as `play_all` derives them, and of
            the recorded steps in the examples.

    Attributes:
        origins: the dialogues that inputs of a program were of.

    Raises:
        ValueError: the user of the environment reads acts, which programs do not write.
    """

    unit: Unit = "dialogue"
    parts: tuple[str, ...] = tuple(Outcome.__struct_fields__)

    def __init__(self, env: SGDSimEnv, meter: Meter, seed: int) -> None:
        if env.settings.understanding == "acts":
            raise ValueError(
                "understanding is 'acts', but the program writes text and no acts: leave the "
                "option out, or choose 'text'"
            )
        self.split = env.split
        self.origins = Origins()
        self._env = env
        self._seed = seed
        self._recorded = RecordedTurns(env.split, GroundTruthReward())
        wording = env.settings.wording
        if isinstance(wording, LLMUser):
            wording.model = MeteredLM(wording.model, meter)

    def __deepcopy__(self, memo: dict[int, Any]) -> SimulatedDialogues:
        return self

    @property
    def reward(self) -> TaskReward:
        """Reward of the environment."""
        return self._env.settings.reward

    def example(self, dialogue: str) -> dspy.Example:
        """Write a dialogue as an example: its id, and one recorded step as a demonstration."""
        seed = episode_seed(self._seed, dialogue)
        turns = len(self.split.task(self.split.index(dialogue)).turns)
        number = int(np.random.default_rng(seed).integers(turns))
        step = self._recorded.example(f"{dialogue}#{number}")
        self.origins.note(dialogue, step)
        shown = {name: step[name] for name in ("conversation", "tools", "response", "tool_call")}
        return dspy.Example(dialogue=dialogue, **shown).with_inputs("dialogue")

    def program(self, agent: SGDAgentModule) -> DialogueProgram:
        """Make the program that plays a dialogue."""
        return DialogueProgram(agent, self)

    def date(self, dialogue: str) -> str | None:
        """Return the date of a dialogue, ISO."""
        return self.split.task(self.split.index(dialogue)).date

    def dialogue(self, dialogue: str) -> str:
        """Return the id of the dialogue."""
        return dialogue

    def play(self, policy: Policy, dialogue: str) -> Score:
        """Play one dialogue to its end with a policy."""
        return self.play_and_show(policy, dialogue).score

    def play_and_show(self, policy: Policy, dialogue: str) -> PlayedDialogue:
        """Play one dialogue to its end with a policy, and keep what was said."""
        env = copy.copy(self._env)
        seed = episode_seed(self._seed, dialogue)
        episode = play(env, policy, dialogue_id=dialogue, seed=seed)
        messages = _decode_messages(env.simulation.messages) if episode.turns else []
        return PlayedDialogue(_score(episode), episode, json_lines(plain_messages(messages)))

    @staticmethod
    def feedback(example: dspy.Example, prediction: dspy.Prediction | None, score: float) -> str:
        """Describe in words how a dialogue went."""
        if prediction is None or "reward" not in prediction:
            return "The dialogue could not be played."
        parts = ", ".join(f"{name} {value:.2f}" for name, value in prediction.components.items())
        return (
            f"The dialogue earned {score:.2f} ({parts}).\n"
            f"Missing for a strict success: {', '.join(prediction.missing) or 'nothing'}.\n"
            f"{prediction.not_understood} of {prediction.turns} turns were not understood by the "
            f"user. Actions that were refused or repaired: "
            f"{', '.join(prediction.action_errors) or 'none'}.\n"
            f"The dialogue:\n{prediction.dialogue}"
        )


class PlayedDialogue(NamedTuple):
    """A dialogue that was played.

    Attributes:
        score: sum of the rewards, with the verdict as its parts; its value is ``None`` if the
            dialogue broke off.
        episode: record of the dialogue.
        text: everything that was said, called and answered, one JSON record a line.
    """

    score: Score
    episode: Episode
    text: str


class DialogueProgram(dspy.Module):  # type: ignore[misc]  # dspy is untyped
    """A program that plays a whole dialogue with a simulated user.

    It asks the agent for one step after another until the user has left. The reward is known at the
    end: whether the user's errands were carried out.
    """

    def __init__(self, agent: SGDAgentModule, dialogues: SimulatedDialogues) -> None:
        super().__init__()
        self.agent = agent
        self.dialogues = dialogues

    def forward(self, dialogue: str) -> dspy.Prediction:
        """Play a dialogue to its end.

        Args:
            dialogue: id of the dialogue.

        Returns:
            ``played``, the id; the environment's ``reward``, ``components`` and ``reason``; what
            was ``missing`` for a strict success; the number of ``turns`` and of those that were
            ``not_understood``; ``action_errors``; and the ``dialogue``.

        Raises:
            LMError: the agent's model did not answer.
        """
        policy = _Agent(self.agent, self.dialogues, dialogue)
        (score, episode, text) = self.dialogues.play_and_show(policy, dialogue)
        if score.value is None and policy.problem is not None:
            raise policy.problem
        simulated = [turn.simulated for turn in episode.turns if turn.simulated is not None]
        errors = {step.action_error for turn in episode.turns for step in turn.steps}
        return dspy.Prediction(
            played=dialogue,
            reward=score.value,
            components=score.components,
            reason=score.reason,
            missing=list(simulated[-1].verdict.reasons) if simulated else [],
            turns=len(simulated),
            not_understood=sum(not turn.understood for turn in simulated),
            action_errors=sorted(error for error in errors if error is not None),
            dialogue=text,
        )


class _Agent:
    """The agent of a program as a policy. DSPy's context has its model, and traces its steps."""

    name = "dspy"

    def __init__(self, agent: SGDAgentModule, dialogues: SimulatedDialogues, dialogue: str) -> None:
        self.problem: Exception | None = None
        self._agent = agent
        self._dialogue = dialogue
        self._date = dialogues.date(dialogue)
        self._origins = dialogues.origins

    def reset(self, *, seed: int | None = None) -> None:
        """Begin an episode. Nothing is random here."""

    def act(self, observation: Observation) -> Action:
        """Ask the agent."""
        self._origins.note(self._dialogue, program_inputs(observation, self._date))
        try:
            return decide(self._agent, observation, self._date)
        except Exception as problem:
            self.problem = problem
            raise


def _score(episode: Episode) -> Score:
    found = outcome(episode)
    rewards = [turn.reward for turn in episode.turns if turn.reward is not None]
    if found is None or len(rewards) < len(episode.turns):
        reasons = (turn.reason for turn in episode.turns if turn.reward is None)
        return Score(None, {}, episode.error or next(reasons, None))
    parts = {name: float(getattr(found, name)) for name in Outcome.__struct_fields__}
    return Score(sum(rewards), dict(parts))


def choose_dialogues(
    split: Split, selected: Sequence[int], counts: Sequence[int], seed: int
) -> list[list[str]]:
    """Choose groups of dialogues that have none in common.

    Args:
        split: split of the dialogues.
        selected: indices of the dialogues that can be played.
        counts: number of dialogues of each group.
        seed: seed of the draw.

    Raises:
        ValueError: the split has too few dialogues.
    """
    if sum(counts) > len(selected):
        raise ValueError(
            f"split {split.name!r} has {len(selected)} dialogues to play, and {sum(counts)} are "
            "asked for: ask for fewer"
        )
    ids = split.dialogue_ids()
    order = np.random.default_rng(seed).permutation(np.asarray(selected)).tolist()
    bounds = np.cumsum([0, *counts])
    return [[ids[index] for index in order[start:end]] for start, end in pairwise(bounds)]
