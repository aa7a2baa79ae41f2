"""Jobs in the hands of workers that may die."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator

import msgspec

from agent_gym_env.errors import AgentGymError
from agent_gym_env.rollout.framing import Entry
from agent_gym_env.rollout.outcome import WORKER_DIED, Outcome

DEATHS_OF_A_JOB = 3
"""A job whose workers die so often has failed: it is what kills them."""

DEATHS_BEFORE_WORK = 5
"""After so many workers that die before they can play, with none at work, the run fails."""


class Assignments:
    """Gives jobs out, those of dead workers first.

    Args:
        jobs: read as they are asked for.
    """

    def __init__(self, jobs: Iterable[int]) -> None:
        self._jobs: Iterator[int] = iter(jobs)
        self._again: deque[int] = deque()
        self._deaths: Counter[int] = Counter()
        self._deaths_before_work = 0

    def next(self) -> int | None:
        """Give a job; ``None`` if there is none left."""
        return self._again.popleft() if self._again else next(self._jobs, None)

    def worker_spoke(self) -> None:
        """Note that a worker is ready, or has played a job."""
        self._deaths_before_work = 0

    def worker_died(self, jobs: deque[int], reason: str, *, was_ready: bool) -> list[Outcome]:
        """Take back the jobs of a worker that has died.

        Args:
            jobs: the one it was at, and those that it had not begun.
            reason: what is known of its end.
            was_ready: whether it could play.

        Returns:
            The failure of the job it was at, if that is what kills workers.

        Raises:
            AgentGymError: no worker comes to work.
        """
        if not was_ready:
            self._deaths_before_work += 1
            if self._deaths_before_work >= DEATHS_BEFORE_WORK:
                raise AgentGymError(
                    f"{DEATHS_BEFORE_WORK} workers in a row died before they could begin; the "
                    f"last: {reason}"
                )
        given_up: list[Outcome] = []
        if was_ready and jobs:
            self._deaths[jobs[0]] += 1
            if self._deaths[jobs[0]] >= DEATHS_OF_A_JOB:
                given_up.append(_worker_died(jobs.popleft(), reason))
        self._again.extend(jobs)
        return given_up


def _worker_died(job: int, reason: str) -> Outcome:
    error = f"{WORKER_DIED}: {DEATHS_OF_A_JOB} workers died of it; the last: {reason}"
    return Outcome(Entry(job, error_class=WORKER_DIED), (msgspec.json.encode({"error": error}),))
