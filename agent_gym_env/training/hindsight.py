"""What each candidate would earn, which only hindsight knows: for teachers and for ceilings."""

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
from agent_gym_env.retrieval.learning import recall
from agent_gym_env.types import Action, AtLeast0, AtLeast1, Observation

Values = NDArray[np.float64]

NOT_TRIED = -1.0
"""The value of a call that nobody asked for, below every reward."""


class Hindsight:
    """Tries candidates in an environment, and comes back each time.

    Args:
        env: ``SGD-v0``, or wrappers around it.
        source: proposes the replies after a call.
        k: how many candidates it may propose.
    """

    def __init__(self, env: gym.Env[Any, Any], source: CandidateSource, k: int) -> None:
        self._env = unwrap_sgd(env)
        self._source = source
        self._k = k

    def values(self, candidates: Sequence[Candidate]) -> Values:
        """Tell what each candidate would earn in the open turn; the environment stays as it is.

        A reply earns its reward, a call the reward of the best reply after it. Calls of a tool that
        is not due are not tried, and neither is a second call: they are worth `NOT_TRIED`.

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
    """Takes the candidate that earns most: the ceiling of all that chooses among candidates.

    Like the oracle it asks the environment that is being played, which no other policy may.

    Args:
        env: the environment to be played.
        source: proposes candidates.
        k: how many.
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
        lessons: AtLeast0 = 8000,
        indexed: AtLeast0 = 5000,
    ) -> BestCandidatePolicy:
        """Make the policy with candidates from the train split of a corpus."""
        memory = recall(corpus.split("train"), lessons=lessons, indexed=indexed)
        return cls(env, CandidateGenerator(memory), k)

    def reset(self, *, seed: int | None = None) -> None:
        """Begin an episode; nothing is drawn."""

    def act(self, observation: Observation) -> Action:
        """Take the best candidate; silence where there is none."""
        candidates = self._source.candidates(observation, self._k)
        if not candidates:
            return Action()
        return candidates[int(self._hindsight.values(candidates).argmax())].action
