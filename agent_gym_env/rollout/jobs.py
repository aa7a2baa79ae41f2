"""The jobs of a collection: what determines them, playing them, and their results."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import gymnasium as gym
import msgspec
import numpy as np

from agent_gym_env.envs.sgd_sim import SGDSimEnv, unwrap_any, unwrap_simulation
from agent_gym_env.lm.credentials import without_credentials
from agent_gym_env.policies.base import BatchPolicy, Policy
from agent_gym_env.rollout.branching import (
    BranchPoint,
    Continuation,
    PlayedBranch,
    State,
    branch_point,
    play_path,
    start_branch,
    start_continuation,
    with_outcome,
)
from agent_gym_env.rollout.episode import Episode, Spending, StepRecord, spent_on
from agent_gym_env.rollout.journal.format import Entry, Kind
from agent_gym_env.rollout.lockstep import (
    Planned,
    as_batch,
    in_order,
    planned_episode,
    play_together,
)
from agent_gym_env.rollout.play import episode_seed, play, play_to_end
from agent_gym_env.types import Action

Env = gym.Env[Any, Any]
_K = TypeVar("_K")
_T = TypeVar("_T")


class Collection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that determines which episodes a run collects.

    Equal configurations give identical episodes. A *job* is the unit that is done or not done: one
    episode, or all branches of one dialogue.

    Attributes:
        policies: configurations of the policies; more than one only with ``branches``.
        world: arguments of the environment.
        corpus: fingerprint of the compiled split.
        jobs: number of jobs. If there are more jobs than dialogues, dialogues are played again with
            other seeds.
        seed: seed of the choice of dialogues and of each episode.
        best_of: number of episodes played per job, of which the best is kept.
        keep_all: true to keep all of them, each as a separate job.
        branches: number of branches that each policy plays from each state; 0 for episodes.
        path: configuration of the policy that leads from state to state.
        states: number of states of a dialogue that are branched from, drawn at random; 0 for all.
        continuations: with a simulated user, number of times that the first policy plays on from
            each branch to the end of the dialogue.
        dialogue_ids: ids of the dialogues, in the order in which they are played; empty for a
            number of dialogues that ``seed`` draws.
    """

    policies: tuple[dict[str, Any], ...]
    world: dict[str, Any]
    corpus: str
    jobs: int
    seed: int = 0
    best_of: int = 1
    keep_all: bool = False
    branches: int = 0
    path: dict[str, Any] = msgspec.field(default_factory=lambda: {"name": "oracle"})
    states: int = 0
    continuations: int = 1
    dialogue_ids: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.best_of < 1 or self.branches < 0:
            raise ValueError("best_of must be at least 1, and branches at least 0")
        if self.branches and self.best_of > 1:
            raise ValueError("best_of is for episodes; with branches, all branches are kept")
        if self.keep_all and self.best_of == 1:
            raise ValueError("keep_all keeps all the episodes of best_of, which must be above 1")
        if self.states < 0 or self.continuations < 1:
            raise ValueError("states must be at least 0, and continuations at least 1")
        if self.states and not self.branches:
            raise ValueError("states limits the states that are branched from: it needs branches")
        if self.continuations > 1 and not (self.branches and self._is_simulated):
            raise ValueError(
                "continuations play a simulated dialogue on from its branches: they need branches "
                "and SGDSim-v0"
            )
        if self.branches and self.world.get("max_episode_steps") is not None:
            raise ValueError("branches are played to their end: leave max_episode_steps away")
        if len(self.policies) != 1 and not (self.policies and self.branches):
            raise ValueError(
                f"expected one policy, found {len(self.policies)}; several policies are for "
                "branches, which they play from the same states"
            )

    @property
    def _is_simulated(self) -> bool:
        return bool(self.world.get("env", "SGD-v0") == "SGDSim-v0")

    @property
    def kind(self) -> Kind:
        """Kind of the records."""
        return "branches" if self.branches else "episodes"

    @property
    def players(self) -> Sequence[dict[str, Any]]:
        """Configurations of all policies that play; with branches the path's policy is last."""
        return (*self.policies, self.path) if self.branches else self.policies

    def as_json(self) -> dict[str, Any]:
        """Return the configuration as JSON values for a file, without credentials."""
        config: dict[str, Any] = without_credentials(msgspec.json.decode(msgspec.json.encode(self)))
        if not self.dialogue_ids:  # so that journals of drawn dialogues keep their configuration
            del config["dialogue_ids"]
        return config

    @property
    def dialogues(self) -> int:
        """Number of dialogues played; a dialogue that is played again counts again."""
        return self.jobs // (self.best_of if self.keep_all else 1)

    def job(self, number: int, dialogue_ids: Sequence[str]) -> Job:
        """Return a job.

        Args:
            number: number of the job.
            dialogue_ids: ids of the chosen dialogues.
        """
        at_once = 1 if self.keep_all else self.best_of
        candidate, place = 0, number
        if self.keep_all:
            place, candidate = divmod(number, self.best_of)
        again, dialogue = divmod(place, len(dialogue_ids))
        dialogue_id = dialogue_ids[dialogue]
        before = again * max(self.best_of, self.branches) + candidate
        seeds = tuple(
            episode_seed(self.seed, dialogue_id, before + more) for more in range(at_once)
        )
        return Job(number, dialogue_id, seeds)


class Job(NamedTuple):
    """One job of a collection.

    Attributes:
        number: number of the job.
        dialogue_id: id of the dialogue to play.
        seeds: seeds of its episodes; for branches, the seed of the path through the dialogue.
    """

    number: int
    dialogue_id: str
    seeds: tuple[int, ...]


class JobResult(msgspec.Struct, frozen=True):
    """Result of one job: its records and their cost. It crosses processes as it is.

    Attributes:
        entry: entry of the job in the journal.
        records: records as JSON.
    """

    entry: Entry
    records: tuple[bytes, ...]


class Failure(msgspec.Struct, frozen=True):
    """Record of a job without episodes or branches.

    Attributes:
        dialogue_id: id of the dialogue.
        policy: name of the policy that failed.
        seed: seed of that policy.
        error: exception as ``Class: message``.
    """

    dialogue_id: str
    policy: str
    seed: int
    error: str


_encode = msgspec.json.Encoder().encode


def best_episode(number: int, episodes: Sequence[Episode]) -> JobResult:
    """Keep the episode with the best reward, the first of equals, of those without an error.

    Args:
        number: number of the job.
        episodes: at least one episode.
    """
    rewards = [None if each.error is not None else each.ranking_reward for each in episodes]
    ended = [order for order, episode in enumerate(episodes) if episode.error is None]
    best = max(ended, key=lambda order: _rank(rewards[order]), default=0)
    error = episodes[best].error
    entry = Entry(
        number,
        candidates=tuple(rewards) if len(episodes) > 1 else (),
        spending=spent_on(
            step for episode in episodes for turn in episode.turns for step in turn.steps
        ),
        error_class=None if error is None else _class_of(error),
    )
    return JobResult(entry, (_encode(episodes[best]),))


def branch_points(
    job: Job,
    points: Sequence[BranchPoint],
    path: Sequence[StepRecord],
    continuations: Iterable[Continuation] = (),
) -> JobResult:
    """Keep branch points; if every branch failed, the job failed.

    Args:
        job: job that was played.
        points: at least one branch point.
        path: steps of the path from state to state.
        continuations: continuations that were played; equal branches share them.
    """
    branches = [branch for point in points for branch in point.branches]
    spending = spent_on([*path, *(step for branch in branches for step in branch.steps)])
    for each in continuations:
        if each.spending is not None:
            spending = each.spending if spending is None else spending + each.spending
    errors = [(branch.policy, branch.error) for branch in branches if branch.error is not None]
    if len(errors) == len(branches):
        return failed_job(job, *errors[0], spending)
    entry = Entry(job.number, spending=spending, failed_branches=len(errors))
    return JobResult(entry, tuple(map(_encode, points)))


def failed_job(job: Job, policy: str, error: str, spending: Spending | None) -> JobResult:
    """Keep the reason for which a job has no records.

    Args:
        job: job that was played.
        policy: name of the policy that failed.
        error: exception as ``Class: message``.
        spending: spending on what was played.
    """
    entry = Entry(job.number, spending=spending, error_class=_class_of(error))
    return JobResult(entry, (_encode(Failure(job.dialogue_id, policy, job.seeds[0], error)),))


def _rank(reward: float | None) -> float:
    return -1.0 if reward is None else reward


def _class_of(error: str) -> str:
    return error.partition(":")[0]


class JobPlayer:
    """Plays jobs one after another, or many in lockstep.

    Args:
        collection: configuration of the collection.
        dialogue_ids: ids of the chosen dialogues.
        open_env: creates an environment.
        open_policies: creates the collection's `Collection.players` for an environment.

    Raises:
        ValueError: a policy that needs the beginning of a dialogue is to play branches.
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
        players = list(open_policies(self._env))
        self._policies = players[: len(collection.policies)]
        self._path = players[-1]
        if collection.branches:
            _refuse_beginners(self._policies)
        self._batch_envs: list[Env] = []

    @property
    def takes_batches(self) -> bool:
        """True if every policy can be asked about several conversations at once."""
        return all(isinstance(policy, BatchPolicy) for policy in self._policies)

    def another(self) -> JobPlayer:
        """Create a player of the same jobs that can play at the same time."""
        return JobPlayer(self._collection, self._dialogue_ids, self._open_env, self._open_policies)

    def play(self, number: int) -> JobResult:
        """Play a job.

        Raises:
            BudgetExceeded: the run has spent its budget.
            CircuitOpenError: the provider refuses the key or is down.
        """
        job = self._job(number)
        if self._collection.branches:
            return self._branch(job)
        (policy,) = self._policies
        episodes = [
            play(self._env, policy, dialogue_id=job.dialogue_id, seed=seed) for seed in job.seeds
        ]
        return best_episode(number, episodes)

    def play_together(self, numbers: Iterable[int], width: int) -> Iterator[JobResult]:
        """Play jobs in lockstep; the policy is asked about all dialogues at once.

        Args:
            numbers: numbers of the jobs.
            width: number of dialogues played at once.

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
    ) -> Iterator[JobResult]:
        planned = (
            ((job, seed), planned_episode(name, job.dialogue_id, seed))
            for job in map(self._job, numbers)
            for seed in job.seeds
        )
        played: defaultdict[Job, dict[int, Episode]] = defaultdict(dict)
        for (job, seed), episode in play_together(planned, policy, self._batch_envs):
            played[job][seed] = episode
            if len(played[job]) == len(job.seeds):
                episodes = played.pop(job)
                yield best_episode(job.number, [episodes[seed] for seed in job.seeds])

    def _branch(self, job: Job) -> JobResult:
        (seed,) = job.seeds
        env = unwrap_any(self._env)
        path = play_path(env, self._path, dialogue_id=job.dialogue_id, seed=seed)
        if path.error is not None:
            return failed_job(job, self._path.name, path.error, spent_on(path.steps))
        states = self._chosen(path.states, seed)
        played = self._played(states, seed)
        continuations: dict[_Version, list[Continuation]] = {}
        if isinstance(env, SGDSimEnv):
            continuations = self._played_on(states, played, seed)
            branches = [
                [with_outcome(each.branch, continuations.get((n, each.said), ())) for each in said]
                for n, said in enumerate(played)
            ]
            plays_on = self._policies[0].name
        else:
            branches, plays_on = [[each.branch for each in said] for said in played], None
        points = [
            branch_point(env, state, seed, each, plays_on=plays_on)
            for state, each in zip(states, branches, strict=True)
        ]
        every = [each for of_version in continuations.values() for each in of_version]
        return branch_points(job, points, path.steps, every)

    def _chosen(self, states: Sequence[State], seed: int) -> Sequence[State]:
        """Draw the states that are branched from, in the order of the dialogue."""
        wanted = self._collection.states
        if not 0 < wanted < len(states):
            return states
        drawn = np.random.default_rng(seed).choice(len(states), wanted, replace=False)
        return [states[number] for number in sorted(drawn.tolist())]

    def _played(self, states: Sequence[State], seed: int) -> list[list[PlayedBranch]]:
        """Play the branches of all policies from each state."""
        # The same seeds at each state, so that branches differ only by the conversation so far.
        seeds = _seeds(seed, self._collection.branches)
        played: list[list[PlayedBranch]] = [[] for _ in states]
        for policy in self._policies:
            planned = [
                (number, _planned_branch(state, policy.name, each))
                for number, state in enumerate(states)
                for each in seeds
            ]
            for number, branch in self._play_each(policy, planned):
                played[number].append(branch)
        return played

    def _played_on(
        self, states: Sequence[State], played: Sequence[Sequence[PlayedBranch]], seed: int
    ) -> dict[_Version, list[Continuation]]:
        """Play a simulated dialogue on from each version of a turn, where there are several."""
        seeds = _seeds(seed, self._collection.continuations)
        versions: dict[_Version, list[Continuation]] = {}
        planned: list[tuple[_Version, Planned[Continuation]]] = []
        for place, branches in enumerate(played):
            ended = {each.said: each.actions for each in branches if each.branch.error is None}
            if len(ended) < 2:
                continue  # they make no pair
            for said, actions in ended.items():
                versions[place, said] = []
                planned += [
                    ((place, said), _planned_continuation(states[place], actions, number, each))
                    for number, each in enumerate(seeds)
                ]
        for version, continuation in self._play_each(self._policies[0], planned):
            versions[version].append(continuation)
        return versions

    def _play_each(
        self, policy: Policy, planned: Sequence[tuple[_K, Planned[_T]]]
    ) -> Iterator[tuple[_K, _T]]:
        """Play with one policy; yield the records with their keys in the order of the plan."""
        plays = [each for _, each in planned]
        if self._batch_envs and isinstance(policy, BatchPolicy):
            records = in_order(play_together(enumerate(plays), policy, self._batch_envs))
        else:
            records = (play_to_end(each.start(self._env), policy, each.seed) for each in plays)
        return ((key, record) for (key, _), record in zip(planned, records, strict=True))

    def _job(self, number: int) -> Job:
        return self._collection.job(number, self._dialogue_ids)


_Version = tuple[int, bytes]
"""One version of an open turn: the index of its state, and `PlayedBranch.said`."""


def _refuse_beginners(policies: Iterable[Policy]) -> None:
    names = [each.name for each in policies if getattr(each, "needs_beginning", False)]
    if names:
        raise ValueError(
            f"policy {names[0]!r} goes on only with dialogues that it has played from the "
            "beginning, and branches start in the middle: let it lead from state to state (path), "
            "and name policies that act on the observation alone"
        )


def _seeds(first: int, count: int) -> list[int]:
    return [(first + more) % (1 << 32) for more in range(count)]


def _planned_branch(state: State, policy: str, seed: int) -> Planned[PlayedBranch]:
    return Planned(lambda env: start_branch(unwrap_any(env), state, policy, seed), seed)


def _planned_continuation(
    state: State, actions: Sequence[Action], number: int, seed: int
) -> Planned[Continuation]:
    return Planned(
        lambda env: start_continuation(
            unwrap_simulation(env), state, actions, number=number, seed=seed
        ),
        seed,
    )
