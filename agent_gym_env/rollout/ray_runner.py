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
from agent_gym_env.rollout.assignments import Assignments
from agent_gym_env.rollout.outcome import Outcome
from agent_gym_env.rollout.runners import OpenPlayer, Outcomes

AHEAD = 2
"""Jobs that an actor has at hand, so that it need not wait for the next."""

ANSWERS_WITHIN_S = 10.0
"""Seconds in which a cluster's address must accept a connection; Ray itself waits for minutes."""


class RayRunner:
    """Jobs in Ray actors. What a killed one had begun, another one plays.

    What each machine of a cluster needs is in ``docs/guides/rollouts.md``.

    Args:
        workers: how many actors.
        options: options of ``ray.init``, if Ray is not running in this process. ``address`` names a
            cluster to join (``"auto"`` or ``"host:port"``); without it the environment variable
            ``RAY_ADDRESS`` does, and without either Ray is started on this machine.
    """

    crosses_processes = True

    def __init__(self, workers: int, **options: Any) -> None:
        self._workers = workers
        self._options = options

    def run(self, open_player: OpenPlayer, jobs: Iterable[int]) -> Outcomes:
        """Play jobs; see `Runner.run`.

        Raises:
            AgentGymError: there is no cluster at the address, or actors die before they can begin.
            MissingDependency: Ray is not installed.
        """
        ray = require("ray", extra="ray")
        actors: list[_Actor] = []
        with _connection.held(ray, self._options):
            try:
                assignments = Assignments(jobs)
                actors += [_Actor(ray, open_player, assignments) for _ in range(self._workers)]
                while heard := {actor.next_ref(): actor for actor in actors if actor.is_busy()}:
                    for ref in ray.wait(list(heard))[0]:
                        yield from heard[ref].hear()
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
        # No restarts of Ray's own: who has begun what is known here.
        self._remote = self._ray.remote(max_restarts=0)(_Player).remote(self._open_player)
        self._is_ready = False
        self._refs = deque([self._remote.open.remote()])

    def is_busy(self) -> bool:
        """Whether something is to be heard from it."""
        return bool(self._refs)

    def next_ref(self) -> Any:
        """Give the reference to what it says next."""
        return self._refs[0]

    def hear(self) -> Iterator[Outcome]:
        """Take what the actor says, or that it has died."""
        errors = self._ray.exceptions
        try:
            said: Outcome | None = self._ray.get(self._refs[0])
        except errors.RayTaskError as error:
            raise error.cause from error
        except (errors.RayActorError, errors.ObjectLostError) as error:
            yield from self._replace(type(error).__name__)
            return
        self._assignments.worker_spoke()
        self._refs.popleft()
        if said is None:
            self._is_ready = True
        else:
            self._jobs.popleft()
            yield said
        self._fill()

    def _fill(self) -> None:
        while len(self._jobs) < AHEAD and (job := self._assignments.next()) is not None:
            self._jobs.append(job)
            self._refs.append(self._remote.play.remote(job))

    def _replace(self, reason: str) -> Iterator[Outcome]:
        self.end()
        jobs, self._jobs = self._jobs, deque()
        yield from self._assignments.worker_died(jobs, reason, was_ready=self._is_ready)
        self._begin()

    def end(self) -> None:
        """End the actor, whatever it is at."""
        self._ray.kill(self._remote)


class _Player:
    """What an actor holds."""

    def __init__(self, open_player: OpenPlayer) -> None:
        self._open_player = open_player

    def open(self) -> None:
        """Make the player."""
        self._player = self._open_player()

    def play(self, job: int) -> Outcome:
        """Play a job."""
        return self._player.play(job)
