"""Playing one policy through one dialogue, and recording the episode."""

from __future__ import annotations

import time
import zlib
from collections.abc import Generator, Iterable, Iterator
from typing import Any, TypeVar

import gymnasium as gym
import msgspec
import numpy as np

from agent_gym_env.corpus.goals import Goal
from agent_gym_env.corpus.task import Task
from agent_gym_env.envs.actions import parse_action
from agent_gym_env.envs.dialogue import SGDEnv
from agent_gym_env.envs.replay import Replay
from agent_gym_env.envs.sgd_sim import SGDSimEnv, unwrap_any
from agent_gym_env.envs.simulation import Simulation
from agent_gym_env.envs.spaces import is_unicode
from agent_gym_env.errors import STOPS_THE_RUN, AgentGymError, ContextExceeded, LMError
from agent_gym_env.policies.base import Policy
from agent_gym_env.rewards.task import Verdict
from agent_gym_env.rollout.episode import (
    POLICY_FAILED,
    Episode,
    SimulatedTurn,
    SimulatedUser,
    StepRecord,
    TurnRecord,
)
from agent_gym_env.types import Action, Completion, Observation
from agent_gym_env.users.agent_turn import AgentTurn

_T = TypeVar("_T")

_SILENCE = Action()

EpisodeGenerator = Generator[Observation, "Action | Exception", _T]
"""A dialogue being played. It yields observations, receives the policy's action or the exception
that the policy raised, and returns the record."""


def play(
    env: gym.Env[Any, Any],
    policy: Policy,
    *,
    dialogue_id: str | None = None,
    seed: int | None = None,
) -> Episode:
    """Play one dialogue.

    Args:
        env: ``SGD-v0`` or ``SGDSim-v0``, possibly in wrappers that do not change observations and
            actions.
        policy: policy that plays. An exception that it raises is recorded. If the policy itself
            failed, the rest of the dialogue is played in silence and scored, so that failing never
            improves a score. If something else failed, such as the language model of a simulated
            user, the episode ends (see `is_policy_failure`).
        dialogue_id: id of the dialogue; ``None`` to draw one.
        seed: seed of the draw and of the policy.

    Raises:
        BudgetExceeded: the run has spent its budget; the dialogue counts as not played.
        CircuitOpenError: the provider refuses the key or is down.
    """
    generator = start_episode(env, policy.name, dialogue_id=dialogue_id, seed=seed)
    return play_to_end(generator, policy, seed)


def start_episode(
    env: gym.Env[Any, Any], policy: str, *, dialogue_id: str | None = None, seed: int | None = None
) -> EpisodeGenerator[Episode]:
    """Start an episode; see `play`.

    Args:
        env: as in `play`.
        policy: name of the policy that will play.
        dialogue_id: as in `play`.
        seed: as in `play`.
    """
    begin = time.perf_counter()
    record = _Record(env)
    options = None if dialogue_id is None else {"dialogue_id": dialogue_id}
    try:
        observation, _ = env.reset(seed=seed, options=options)
    except STOPS_THE_RUN:
        raise
    except LMError as problem:  # the simulated user's model did not write the first words
        if dialogue_id is None:
            raise
        duration_s = time.perf_counter() - begin
        outcome = {"policy": policy, "seed": seed, "duration_s": duration_s}
        return record.unopened(dialogue_id, error=error_text(problem), **outcome)
    record.begin_turn(observation)
    terminated = truncated = False
    error = None
    while not (terminated or truncated):
        action = _SILENCE if error is not None else (yield observation)
        if isinstance(action, Exception):
            error = error_text(action)
            if not is_policy_failure(action):
                break
            action = _SILENCE
        try:
            observation, _, terminated, truncated, info = env.step(action)
        except STOPS_THE_RUN:
            raise
        except LMError as problem:  # the simulated user's model did not answer
            error = error_text(problem)
            break
        if error is not None:
            info = {**info, "action_error": POLICY_FAILED}
        record.step(action, observation, info)
    return record.episode(
        policy=policy,
        seed=seed,
        terminated=terminated,
        truncated=truncated,
        error=error,
        duration_s=time.perf_counter() - begin,
    )


def play_to_end(generator: EpisodeGenerator[_T], policy: Policy, seed: int | None) -> _T:
    """Play an episode or a branch that was started, and return its record.

    Raises:
        BudgetExceeded: as in `play`.
        CircuitOpenError: as in `play`.
    """
    try:
        observation = next(generator)
        action = _first_action(policy, observation, seed)
        while True:
            observation = generator.send(action)
            action = ask(policy, observation)
    except StopIteration as end:
        record: _T = end.value
        return record


def _first_action(policy: Policy, observation: Observation, seed: int | None) -> Action | Exception:
    try:
        policy.reset(seed=seed)
    except STOPS_THE_RUN:
        raise
    except Exception as problem:  # noqa: BLE001  (a failed episode is a record, not a crash)
        return problem
    return ask(policy, observation)


def ask(policy: Policy, observation: Observation) -> Action | Exception:
    """Ask a policy for an action; return its exception if it raises one.

    Raises:
        BudgetExceeded: as in `play`.
        CircuitOpenError: as in `play`.
    """
    try:
        return validate_action(policy.act(observation))
    except STOPS_THE_RUN:
        raise
    except Exception as problem:  # noqa: BLE001  (a failed episode is a record, not a crash)
        return problem


def validate_action(action: Action) -> Action | Exception:
    """Validate an action; return it, or the exception that explains why it is invalid."""
    try:
        parse_action(action)
    except (TypeError, ValueError) as problem:
        return TypeError(str(problem))
    return action


def is_policy_failure(problem: Exception) -> bool:
    """Return whether an exception is the policy's own failure, which counts as silence.

    A conversation that exceeds the model's context is the policy's failure, and so is an exception
    in its code. A failure of a provider, a file or the memory is not. Neither is a ``TypeError``,
    such as the one for a value that is not an action: it is a mistake in the program. After these,
    the turns that are left are not scored.
    """
    if isinstance(problem, AgentGymError):
        return isinstance(problem, ContextExceeded)
    return not isinstance(problem, OSError | MemoryError | TypeError)


def error_text(problem: Exception) -> str:
    """Format an exception for a record: ``Class: message``."""
    return _writable(f"{type(problem).__name__}: {problem}")


def play_all(
    env: gym.Env[Any, Any],
    policy: Policy,
    dialogue_ids: Iterable[str],
    *,
    seed: int = 0,
    trials: int = 1,
) -> Iterator[Episode]:
    """Play dialogues one after another.

    The seed of an episode is derived from ``seed`` and the dialogue's id. So two policies play a
    dialogue with the same seed, and a policy plays two dialogues with different seeds.

    Args:
        env: as in `play`.
        policy: as in `play`.
        dialogue_ids: ids of the dialogues.
        seed: seed that those of the episodes are derived from.
        trials: number of times that each dialogue is played, each time with another seed.
    """
    for dialogue_id in dialogue_ids:
        for trial in range(trials):
            of_episode = episode_seed(seed, dialogue_id, trial)
            yield play(env, policy, dialogue_id=dialogue_id, seed=of_episode)


def episode_seed(seed: int, dialogue_id: str, trial: int = 0) -> int:
    """Derive the seed of an episode of a dialogue, in [0, 2**32).

    Args:
        seed: seed of the run.
        dialogue_id: id of the dialogue.
        trial: number of episodes of the same dialogue before this one. It is added, not drawn, so
            that no two of them have the same seed.
    """
    entropy = [seed, zlib.crc32(dialogue_id.encode())]
    first = int(np.random.SeedSequence(entropy).generate_state(1)[0])
    return (first + trial) % (1 << 32)


class _Record:
    """Collects the turns of an episode."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        self._env = unwrap_any(env)
        self._turns: list[TurnRecord] = []
        self._steps: list[StepRecord] = []

    def begin_turn(self, observation: Observation) -> None:
        dialogue = dialogue_in_play(self._env)
        self._user = observation["user"]
        self._tools = observation["tools"]
        if isinstance(dialogue, Simulation):
            self._service = dialogue.service
            self._counted = dict(dialogue.user_state.counters)
            if not self._turns:
                self._opening = dialogue.verdict
        else:
            self._target = dialogue.recorded_turn()
        self._steps = []

    def step(self, action: Action, observation: Observation, info: dict[str, Any]) -> None:
        dialogue = dialogue_in_play(self._env)
        self._steps.append(step_record(dialogue, action, observation, info))
        if dialogue.score is None:
            return
        self._turns.append(
            TurnRecord(
                user=self._user,
                steps=tuple(self._steps),
                reward=dialogue.score.value,
                components=dict(dialogue.score.components),
                reason=dialogue.score.reason,
                **self._of_corpus_or_user(dialogue),
            )
        )
        if not dialogue.over:
            self.begin_turn(observation)

    def _of_corpus_or_user(self, dialogue: Replay | Simulation) -> dict[str, Any]:
        if not isinstance(dialogue, Simulation):
            return {"target": self._target}
        state = dialogue.user_state
        simulated = SimulatedTurn(
            service=self._service,
            meaning=dialogue.agent_turn or AgentTurn("none"),
            verdict=dialogue.verdict,
            understood=bool(dialogue.understood),
            recorded=state.turn is not None,
            answer=state.acts,
            events=tuple(
                [
                    name
                    for name, count in state.counters.items()
                    for _ in range(count - self._counted.get(name, 0))
                ]
            ),
        )
        return {"simulated": simulated}

    def episode(self, **outcome: Any) -> Episode:
        dialogue = dialogue_in_play(self._env)
        user = None
        if isinstance(dialogue, Simulation):
            leaves = dialogue.user_state.patience < 0
            user = self._simulated_user(dialogue.goal, dialogue.task, self._opening, leaves)
        system = None
        if isinstance(self._env, SGDEnv):
            system = self._env.settings.system_prompt_of(dialogue.task)
        return Episode(
            **_origin(self._env, dialogue.task),
            tools=self._tools,
            turns=tuple(self._turns),
            simulated_user=user,
            system=system,
            **outcome,
        )

    def unopened(self, dialogue_id: str, **outcome: Any) -> Episode:
        """Record a simulated dialogue whose user said nothing at all."""
        split = self._env.split
        index = split.index(dialogue_id)
        user = self._simulated_user(split.goal(index), split.task(index), Verdict())
        return Episode(
            **_origin(self._env, split.task(index)), turns=(), simulated_user=user, **outcome
        )

    def _simulated_user(
        self, goal: Goal, task: Task, opening: Verdict, leaves: bool = False
    ) -> SimulatedUser | None:
        if isinstance(self._env, SGDEnv):
            return None
        return SimulatedUser(
            goal=task.dialogue_id,
            options=self._env.user_options,
            errands=len(goal.errands),
            writes=sum(errand.transactional for errand in goal.errands),
            opening=opening,
            leaves=leaves,
        )


def dialogue_in_play(env: SGDEnv | SGDSimEnv) -> Replay | Simulation:
    """Return the dialogue that an environment plays."""
    return env.replay if isinstance(env, SGDEnv) else env.simulation


def origin(env: SGDEnv | SGDSimEnv) -> dict[str, Any]:
    """Return the fields that every record has: the dialogue being played, and its corpus."""
    return _origin(env, dialogue_in_play(env).task)


def _origin(env: SGDEnv | SGDSimEnv, task: Task) -> dict[str, Any]:
    split = env.split
    seen = split.seen_services
    return {
        "dialogue_id": task.dialogue_id,
        "split": split.name,
        "corpus": split.fingerprint,
        "schema_variant": split.schema_variant,
        "services": task.services,
        "seen_services": None if seen is None else tuple(s for s in task.services if s in seen),
        "date": task.date,
        "reward": env.settings.reward.name,
    }


def step_record(
    dialogue: Replay | Simulation, action: Action, observation: Observation, info: dict[str, Any]
) -> StepRecord:
    """Record the latest step, as the environment understood it."""
    completion = _writable_completion(getattr(action, "completion", None))
    understood = msgspec.structs.replace(dialogue.last_action, completion=completion)
    return StepRecord(understood, observation["tool_result"], info["action_error"])


def _writable_completion(completion: Completion | None) -> Completion | None:
    if completion is None or is_unicode(completion.text):
        return completion
    return msgspec.structs.replace(completion, text=_writable(completion.text))


def _writable(text: str) -> str:
    """Replace lone surrogates, which a model can write but UTF-8 cannot encode."""
    return text.encode("utf-8", "replace").decode()
