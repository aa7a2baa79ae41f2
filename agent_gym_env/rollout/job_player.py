"""Playing the jobs of a collection, one after another or many in step."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import gymnasium as gym

from agent_gym_env.policies.base import BatchPolicy, Policy
from agent_gym_env.rollout.branches import Branch
from agent_gym_env.rollout.branching import State, branch_game, branch_point, walk
from agent_gym_env.rollout.collection import Collection, Job
from agent_gym_env.rollout.episode import Episode
from agent_gym_env.rollout.lockstep import (
    Opening,
    as_batch,
    episode_opening,
    in_order,
    play_together,
)
from agent_gym_env.rollout.outcome import (
    Outcome,
    best_outcome,
    branches_outcome,
    failed_outcome,
)
from agent_gym_env.rollout.play import bare, drive, play
from agent_gym_env.rollout.spending import spent_on

Env = gym.Env[Any, Any]


class JobPlayer:
    """Plays jobs.

    Args:
        collection: says what they are.
        dialogue_ids: those that were chosen.
        open_env: makes an environment of the collection's world.
        open_policies: makes the collection's policies for an environment, the path's last.
    """

    def __init__(
        self,
        collection: Collection,
        dialogue_ids: Sequence[str],
        open_env: Callable[[], Env],
        open_policies: Callable[[Env], Sequence[Policy]],
    ) -> None:
        self._collection = collection
        self._dialogue_ids = dialogue_ids
        self._open_env = open_env
        self._open_policies = open_policies
        self._env = open_env()
        *self._policies, self._path = open_policies(self._env)
        self._batch_envs: list[Env] = []

    @property
    def takes_batches(self) -> bool:
        """Whether each policy can be asked about several conversations at once."""
        return all(isinstance(policy, BatchPolicy) for policy in self._policies)

    def another(self) -> JobPlayer:
        """Make a player of the same jobs that can play at the same time."""
        return JobPlayer(self._collection, self._dialogue_ids, self._open_env, self._open_policies)

    def play(self, number: int) -> Outcome:
        """Play a job.

        Raises:
            BudgetExceeded: the run has spent what it may spend.
            CircuitOpenError: the provider refuses the key or is down.
        """
        job = self._job(number)
        if self._collection.branches:
            return self._branch(job)
        (policy,) = self._policies
        episodes = [
            play(self._env, policy, dialogue_id=job.dialogue_id, seed=seed) for seed in job.seeds
        ]
        return best_outcome(number, episodes)

    def play_together(self, numbers: Iterable[int], width: int) -> Iterator[Outcome]:
        """Play jobs, so many at once, with one question to the policy for all of them.

        Raises:
            ValueError: the policy cannot be asked about several conversations at once.
            BudgetExceeded: as in `play`.
            CircuitOpenError: as in `play`.
        """
        self._batch_envs = [self._open_env() for _ in range(width)]
        if self._collection.branches:
            return map(self.play, numbers)
        (policy,) = self._policies
        batch_policy = as_batch(policy)
        policy.reset(seed=self._collection.seed)
        return self._episodes_together(numbers, policy.name, batch_policy)

    def _episodes_together(
        self, numbers: Iterable[int], name: str, policy: BatchPolicy
    ) -> Iterator[Outcome]:
        openings = (
            ((job, seed), episode_opening(name, job.dialogue_id, seed))
            for job in map(self._job, numbers)
            for seed in job.seeds
        )
        played: defaultdict[Job, dict[int, Episode]] = defaultdict(dict)
        for (job, seed), episode in play_together(openings, policy, self._batch_envs):
            played[job][seed] = episode
            if len(played[job]) == len(job.seeds):
                episodes = played.pop(job)
                yield best_outcome(job.number, [episodes[seed] for seed in job.seeds])

    def _branch(self, job: Job) -> Outcome:
        (seed,) = job.seeds
        way = walk(bare(self._env), self._path, dialogue_id=job.dialogue_id, seed=seed)
        if way.error is not None:
            return failed_outcome(job, self._path.name, way.error, spent_on(way.steps))
        # The same seeds at each state: only what was said so far tells its branches apart.
        seeds = [(seed + more) % (1 << 32) for more in range(self._collection.branches)]
        branches: list[list[Branch]] = [[] for _ in way.states]
        for policy in self._policies:
            for number, branch in self._branches(policy, way.states, seeds):
                branches[number].append(branch)
        points = [
            branch_point(bare(self._env), state, seed, each)
            for state, each in zip(way.states, branches, strict=True)
        ]
        return branches_outcome(job, points, way.steps)

    def _branches(
        self, policy: Policy, states: Sequence[State], seeds: Sequence[int]
    ) -> Iterator[tuple[int, Branch]]:
        """Let a policy play on from each state; gives each branch with the number of its state."""
        wanted = [(number, seed) for number in range(len(states)) for seed in seeds]
        if self._batch_envs and isinstance(policy, BatchPolicy):
            openings = (
                (order, _branch_opening(states[number], policy.name, seed))
                for order, (number, seed) in enumerate(wanted)
            )
            branches = in_order(play_together(openings, policy, self._batch_envs))
        else:
            branches = (
                drive(branch_game(bare(self._env), states[number], policy.name, seed), policy, seed)
                for number, seed in wanted
            )
        return ((number, branch) for (number, _), branch in zip(wanted, branches, strict=True))

    def _job(self, number: int) -> Job:
        return self._collection.job(number, self._dialogue_ids)


def _branch_opening(state: State, policy: str, seed: int) -> Opening[Branch]:
    return Opening(lambda env: branch_game(bare(env), state, policy, seed), seed)
