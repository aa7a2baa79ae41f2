"""What a job came to: the records that are kept, and what they took."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from agent_gym_env.rollout.branches import BranchPoint
from agent_gym_env.rollout.collection import Job
from agent_gym_env.rollout.episode import Episode, StepRecord
from agent_gym_env.rollout.framing import Entry
from agent_gym_env.rollout.spending import Spending, spent_on

WORKER_DIED = "WorkerDied"
"""Error class of a job that killed its workers; such a job has no episode."""

_encode = msgspec.json.Encoder().encode


class Outcome(msgspec.Struct, frozen=True):
    """A job's place in the journal, and its records as JSON: it crosses processes as it is."""

    entry: Entry
    records: tuple[bytes, ...]


class Failure(msgspec.Struct, frozen=True):
    """What is kept of a job that has no records.

    Attributes:
        dialogue_id: the dialogue.
        policy: who failed.
        seed: of that policy.
        error: ``Class: message``.
    """

    dialogue_id: str
    policy: str
    seed: int
    error: str


def best_outcome(number: int, episodes: Sequence[Episode]) -> Outcome:
    """Keep the episode with the best mean reward, the first of equals, of those without an error.

    Args:
        number: of the job.
        episodes: at least one.
    """
    rewards = [None if each.error is not None else each.mean_reward for each in episodes]
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
    return Outcome(entry, (_encode(episodes[best]),))


def branches_outcome(job: Job, points: Sequence[BranchPoint], way: Sequence[StepRecord]) -> Outcome:
    """Keep branch points; where every branch has failed, the job has.

    Args:
        job: the job.
        points: at least one.
        way: the steps from point to point.
    """
    branches = [branch for point in points for branch in point.branches]
    spending = spent_on([*way, *(step for branch in branches for step in branch.steps)])
    errors = [(branch.policy, branch.error) for branch in branches if branch.error is not None]
    if len(errors) == len(branches):
        return failed_outcome(job, *errors[0], spending)
    entry = Entry(job.number, spending=spending, failed_branches=len(errors))
    return Outcome(entry, tuple(map(_encode, points)))


def failed_outcome(job: Job, policy: str, error: str, spending: Spending | None) -> Outcome:
    """Keep why a job has no records.

    Args:
        job: the job.
        policy: who failed.
        error: ``Class: message``.
        spending: on what was played.
    """
    entry = Entry(job.number, spending=spending, error_class=_class_of(error))
    return Outcome(entry, (_encode(Failure(job.dialogue_id, policy, job.seeds[0], error)),))


def _rank(reward: float | None) -> float:
    return -1.0 if reward is None else reward


def _class_of(error: str) -> str:
    return error.partition(":")[0]
