"""The reward of each candidate, found by trying it: for demonstrations and for an upper bound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from agent_gym_env.corpus.corpus import Corpus
from agent_gym_env.encoders.candidates import Candidate, CandidateSource
from agent_gym_env.envs.dialogue import unwrap_sgd
from agent_gym_env.retrieval.candidates import CandidateGenerator
from agent_gym_env.retrieval.training import load_or_train
from agent_gym_env.types import Action, AtLeast0, AtLeast1, Observation

Values = NDArray[np.float64]

NOT_TRIED = -1.0
"""Value of a call that is not due; lower than every reward."""


class Hindsight:
    """Tries candidates in an environment, and restores its state each time.

    Args:
        env: ``SGD-v0``, or wrappers around it.
        source: source of the replies after a call.
        k: largest number of candidates.
    """

    def __init__(self, env: gym.Env[Any, Any], source: CandidateSource, k: int) -> None:
        self._env = unwrap_sgd(env)
        self._source = source
        self._k = k

    def values(self, candidates: Sequence[Candidate]) -> Values:
        """Return the reward of each candidate in the open turn; the environment's state is kept.

        The value of a reply is its reward, and that of a call the reward of the best reply after
        it. Calls of a tool that is not due and second calls are not tried; their value is
        `NOT_TRIED`.

        Returns:
            Shape ``(len(candidates),)``.
        """
        state = self._env.get_state()
        recorded = self._env.recorded_action().tool_calls
        due = recorded[0].name if recorded and not state["calls"] else None
        return np.array([self._value(each.action, state, due) for each in candidates])

    def _value(self, action: Action, state: dict[str, Any], due: str | None) -> float:
        if not action.tool_calls:
            return self._reward(action, state)
        if action.tool_calls[0].name != due:
            return NOT_TRIED
        observation, *_ = self._env.step(action)
        after = self._env.get_state()
        proposed = self._source.candidates(observation, self._k)
        replies = [each.action for each in proposed if not each.action.tool_calls]
        value = max((self._reward(reply, after) for reply in replies), default=0.0)
        self._env.set_state(state)
        return value

    def _reward(self, reply: Action, state: dict[str, Any]) -> float:
        _, reward, *_ = self._env.step(reply)
        self._env.set_state(state)
        return reward


class BestCandidatePolicy:
    """Takes the candidate with the highest reward: an upper bound for every choice of candidates.

    Like the oracle, and unlike all other policies, it reads the environment that is played.

    Args:
        env: environment to be played.
        source: source of the candidates.
        k: largest number of candidates.
    """

    name = "best-candidate"

    def __init__(self, env: gym.Env[Any, Any], source: CandidateSource, k: int = 16) -> None:
        self._hindsight = Hindsight(env, source, k)
        self._source = source
        self._k = k

    @classmethod
    def of_corpus(
        cls,
        env: gym.Env[Any, Any],
        corpus: Corpus,
        *,
        k: AtLeast1 = 16,
        training_dialogues: AtLeast0 = 8000,
        indexed: AtLeast0 = 5000,
    ) -> BestCandidatePolicy:
        """Make the policy with candidates from the train split of a corpus."""
        model = load_or_train(
            corpus.split("train"), training_dialogues=training_dialogues, indexed=indexed
        )
        return cls(env, CandidateGenerator(model), k)

    def reset(self, *, seed: int | None = None) -> None:
        """Begin an episode; nothing is drawn."""

    def act(self, observation: Observation) -> Action:
        """Take the best candidate, or stay silent if the source proposes none."""
        candidates = self._source.candidates(observation, self._k)
        if not candidates:
            return Action()
        return candidates[int(self._hindsight.values(candidates).argmax())].action
