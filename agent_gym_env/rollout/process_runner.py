"""Playing jobs in processes, for policies that keep a processor busy."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any

from agent_gym_env.rollout.assignments import Assignments
from agent_gym_env.rollout.outcome import Outcome
from agent_gym_env.rollout.runners import OpenPlayer, Outcomes

AHEAD = 4
"""Jobs that a worker has at hand, so that it need not wait for the next."""


class ProcessRunner:
    """Jobs in processes of their own. What a killed one had begun, another one plays.

    For policies that compute for 5 ms a turn or more. For cheaper ones starting the processes and
    sending the episodes takes more processor time than playing them: choose `SerialRunner`.

    The processes are spawned: a script that collects needs ``if __name__ == "__main__":``.

    Args:
        workers: how many processes.
    """

    crosses_processes = True

    def __init__(self, workers: int) -> None:
        self._workers = workers

    def run(self, open_player: OpenPlayer, jobs: Iterable[int]) -> Outcomes:
        """Play jobs; see `Runner.run`.

        Raises:
            AgentGymError: workers die before they can begin.
        """
        assignments = Assignments(jobs)
        workers = [_Worker(open_player, assignments) for _ in range(self._workers)]
        try:
            while busy := [worker.connection for worker in workers if worker.is_busy()]:
                heard = wait(busy)
                for worker in workers:
                    if worker.connection in heard:
                        yield from worker.hear()
        finally:
            for worker in workers:
                worker.end()


class _Worker:
    """A process, which is replaced when it dies."""

    def __init__(self, open_player: OpenPlayer, assignments: Assignments) -> None:
        self._open_player = open_player
        self._assignments = assignments
        self._jobs: deque[int] = deque()
        self._begin()

    def _begin(self) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.connection, theirs = spawn.Pipe()
        self._is_ready = False
        self._process = spawn.Process(target=_play, args=(self._open_player, theirs), daemon=True)
        self._process.start()
        # Only the child holds it now: when it dies, reading here ends.
        theirs.close()

    def is_busy(self) -> bool:
        """Whether something is to be heard from it."""
        return bool(self._jobs) or not self._is_ready

    def hear(self) -> Iterator[Outcome]:
        """Take what the process says, or that it has died."""
        try:
            said: Outcome | BaseException | None = self.connection.recv()
        except (EOFError, OSError):
            yield from self._replace()
            return
        if isinstance(said, BaseException):
            raise said
        self._assignments.worker_spoke()
        if said is None:
            self._is_ready = True
        else:
            self._jobs.popleft()
            yield said
        self._fill()

    def _fill(self) -> None:
        while len(self._jobs) < AHEAD and (job := self._assignments.next()) is not None:
            self._jobs.append(job)
            # If it is dead, that is heard next.
            with suppress(OSError):
                self.connection.send(job)

    def _replace(self) -> Iterator[Outcome]:
        self.end()
        reason = f"exit code {self._process.exitcode}"
        jobs, self._jobs = self._jobs, deque()
        yield from self._assignments.worker_died(jobs, reason, was_ready=self._is_ready)
        self._begin()

    def end(self) -> None:
        """End the process, whatever it is at."""
        self._process.kill()
        self._process.join()
        self.connection.close()


def _play(open_player: OpenPlayer, connection: Connection[Any, Any]) -> None:
    # Ctrl-C reaches all processes of a terminal; it is for the one that hands the jobs out.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        player = open_player()
        connection.send(None)
        while True:
            connection.send(player.play(connection.recv()))
    except (EOFError, ConnectionError):
        return  # who hands the jobs out is gone
    except Exception as problem:  # noqa: BLE001  (raised again by who hands the jobs out)
        connection.send(problem)
