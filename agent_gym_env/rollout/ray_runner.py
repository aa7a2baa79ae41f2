"""Playing jobs in Ray actors, on one machine or a cluster."""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from agent_gym_env.errors import AgentGymError
from agent_gym_env.extras import require
from agent_gym_env.process_wide import SharedChange, environment_variable
from agent_gym_env.rollout.jobs import JobResult
from agent_gym_env.rollout.runners import Assignments, JobResults, OpenPlayer

JOBS_AHEAD = 2
"""Number of jobs that an actor holds, so that it need not wait for the next one."""

ANSWERS_WITHIN_S = 10.0
"""Seconds within which a cluster's address must accept a connection; Ray waits for minutes."""


class RayRunner:
    """Plays jobs in Ray actors. If one is killed, another plays its jobs.

    The requirements on the machines of a cluster are in ``docs/guides/rollouts.md``.

    Args:
        workers: number of actors.
        options: options of ``ray.init``, used if Ray is not running in this process. ``address``
            names a cluster to join (``"auto"`` or ``"host:port"``). The default is the environment
            variable ``RAY_ADDRESS``; without either, Ray is started on this machine.
    """

    crosses_processes = True

    def __init__(self, workers: int, **options: Any) -> None:
        self._workers = workers
        self._options = options

    def run(self, open_player: OpenPlayer, jobs: Iterable[int]) -> JobResults:
        """Play jobs; see `Runner.run`.

        Raises:
            AgentGymError: the address has no cluster, or actors die before they can begin.
            MissingDependency: Ray is not installed.
        """
        ray = require("ray", extra="ray")
        actors: list[_Actor] = []
        with _connection.held(ray, self._options):
            try:
                assignments = Assignments(jobs)
                actors += [_Actor(ray, open_player, assignments) for _ in range(self._workers)]
                while waited_for := {
                    actor.next_ref(): actor for actor in actors if actor.is_busy()
                }:
                    for ref in ray.wait(list(waited_for))[0]:
                        yield from waited_for[ref].receive()
            finally:
                for actor in actors:
                    actor.end()


@contextmanager
def _connected(ray: Any, options: dict[str, Any]) -> Iterator[None]:
    """Start Ray or join a cluster, if Ray is not running in this process."""
    if ray.is_initialized():
        yield
        return
    # Ray sends usage statistics by default; do not, unless the user has asked for it.
    with environment_variable("RAY_USAGE_STATS_ENABLED", "0", override=False):
        _start_or_join(ray, options)
        try:
            yield
        finally:
            ray.shutdown()


_connection = SharedChange(_connected)


def _start_or_join(ray: Any, options: Mapping[str, Any]) -> None:
    options = {"include_dashboard": False, "log_to_driver": False, **options}
    address = options.get("address") or os.environ.get("RAY_ADDRESS")
    if not address:
        ray.init(**options)
        return
    try:
        host, _, port = address.rpartition("/")[2].rpartition(":")
        if port.isdecimal():
            socket.create_connection((host.strip("[]"), int(port)), ANSWERS_WITHIN_S).close()
        ray.init(**options)
    except (OSError, OverflowError, RuntimeError, ValueError) as error:
        raise AgentGymError(
            f"cannot join a Ray cluster at {address!r}: {error}. Expected the address of one that "
            "runs, such as 'auto' or '10.0.0.1:6379'; `ray start --head` starts one"
        ) from error


class _Actor:
    """An actor, which is replaced when it dies."""

    def __init__(self, ray: Any, open_player: OpenPlayer, assignments: Assignments) -> None:
        self._ray = ray
        self._open_player = open_player
        self._assignments = assignments
        self._jobs: deque[int] = deque()
        self._begin()

    def _begin(self) -> None:
        # Ray must not restart actors: only this process knows which jobs they had begun.
        self._remote = self._ray.remote(max_restarts=0)(_Player).remote(self._open_player)
        self._is_ready = False
        self._refs = deque([self._remote.open.remote()])

    def is_busy(self) -> bool:
        """Return whether the actor will send something."""
        return bool(self._refs)

    def next_ref(self) -> Any:
        """Return the reference to its next message."""
        return self._refs[0]

    def receive(self) -> Iterator[JobResult]:
        """Receive what the actor sent, or replace it if it has died."""
        errors = self._ray.exceptions
        try:
            message: JobResult | None = self._ray.get(self._refs[0])
        except errors.RayTaskError as error:
            raise error.cause from error
        except (errors.RayActorError, errors.ObjectLostError) as error:
            yield from self._replace(type(error).__name__)
            return
        self._assignments.worker_works()
        self._refs.popleft()
        if message is None:
            self._is_ready = True
        else:
            self._jobs.popleft()
            yield message
        self._fill()

    def _fill(self) -> None:
        while len(self._jobs) < JOBS_AHEAD and (job := self._assignments.next()) is not None:
            self._jobs.append(job)
            self._refs.append(self._remote.play.remote(job))

    def _replace(self, reason: str) -> Iterator[JobResult]:
        self.end()
        jobs, self._jobs = self._jobs, deque()
        yield from self._assignments.worker_died(jobs, reason, was_ready=self._is_ready)
        self._begin()

    def end(self) -> None:
        """Kill the actor."""
        self._ray.kill(self._remote)


class _Player:
    """The worker inside an actor."""

    def __init__(self, open_player: OpenPlayer) -> None:
        self._open_player = open_player

    def open(self) -> None:
        """Create the player."""
        self._player = self._open_player()

    def play(self, job: int) -> JobResult:
        """Play a job."""
        return self._player.play(job)
