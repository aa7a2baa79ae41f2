"""Running the jobs of a collection: in this process, in threads, or in processes that may die."""

from __future__ import annotations

import multiprocessing
import queue
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

import msgspec

from agent_gym_env.errors import AgentGymError
from agent_gym_env.rollout.jobs import JobPlayer, JobResult
from agent_gym_env.rollout.journal.format import WORKER_DIED, Entry

OpenPlayer = Callable[[], JobPlayer]
"""Creates the worker that plays jobs. Other processes must be able to import it by name."""

JobResults = Generator[JobResult, None, None]
"""Results of jobs, in the order in which they are done."""

MAX_DEATHS_OF_JOB = 3
"""Number of workers that may die at a job before the job fails."""

MAX_DEATHS_BEFORE_WORK = 5
"""Number of workers that may die in a row before they can play; then the run fails."""

JOBS_AHEAD = 4
"""Number of jobs that a process holds, so that it need not wait for the next one."""


class Runner(Protocol):
    """Plays jobs in any order. The results do not depend on the runner.

    A runner that sends ``open_player`` to other processes has an attribute
    ``crosses_processes = True``: it accepts policies and rewards by name only.
    """

    def run(self, open_player: OpenPlayer, jobs: Iterable[int]) -> JobResults:
        """Play jobs and yield their results; closing the iterator stops all workers.

        Args:
            open_player: creates a worker.
            jobs: numbers of the jobs; read no faster than they are played.

        Raises:
            BudgetExceeded: the run has spent its budget.
            CircuitOpenError: the provider refuses the key or is down.
        """


class SerialRunner:
    """Plays one job after another.

    The right one for policies that need less than 5 ms per turn, and for few episodes.
    """

    def run(self, open_player: OpenPlayer, jobs: Iterable[int]) -> JobResults:
        """Play jobs; see `Runner.run`."""
        yield from map(open_player().play, jobs)


class LockstepRunner:
    """Plays many dialogues in lockstep; the policy is asked about all of them at once.

    The right one for policies that answer a batch faster than its parts, such as a model on a GPU.

    Args:
        width: number of dialogues.
        or_serial: true to play one dialogue after another if the policy takes no batches; by
            default such a policy is refused.
    """

    def __init__(self, width: int, *, or_serial: bool = False) -> None:
        self._width = width
        self._or_serial = or_serial

    def run(self, open_player: OpenPlayer, jobs: Iterable[int]) -> JobResults:
        """Play jobs; see `Runner.run`."""
        player = open_player()
        if self._or_serial and not player.takes_batches:
            yield from map(player.play, jobs)
        else:
            yield from player.play_together(jobs, self._width)


class ThreadRunner:
    """Plays jobs in threads that share the model's client and budget.

    The right one for policies that wait for a server.

    Args:
        workers: number of threads.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers

    def run(self, open_player: OpenPlayer, jobs: Iterable[int]) -> JobResults:
        """Play jobs; see `Runner.run`."""
        first = open_player()
        players = [first, *(first.another() for _ in range(self._workers - 1))]
        work = _SharedWork(jobs, len(players))
        for player in players:
            # Daemons: a thread that waits for a server does not keep a stopped process alive.
            threading.Thread(target=work.play, args=(player,), daemon=True).start()
        try:
            yield from work.results()
        finally:
            work.stop()


class _SharedWork:
    """Jobs that threads take, and their results."""

    def __init__(self, jobs: Iterable[int], threads: int) -> None:
        self._jobs = iter(jobs)
        self._taking = threading.Lock()
        self._stopped = threading.Event()
        self._threads = threads
        # Threads wait with the next result until this one is read.
        self._results: queue.Queue[JobResult | BaseException | None] = queue.Queue(maxsize=threads)

    def play(self, player: JobPlayer) -> None:
        """Play jobs until none is left."""
        result: BaseException | None = None
        try:
            while (job := self._next()) is not None:
                self._put(player.play(job))
        except BaseException as problem:  # noqa: BLE001  (`results` raises it again)
            result = problem
        self._put(result)

    def results(self) -> Iterator[JobResult]:
        """Yield results until all threads have ended."""
        playing = self._threads
        while playing:
            result = self._results.get()
            if result is None:
                playing -= 1
            elif isinstance(result, BaseException):
                raise result
            else:
                yield result

    def stop(self) -> None:
        """Stop threads that would take another job or wait for a reader."""
        self._stopped.set()

    def _next(self) -> int | None:
        with self._taking:
            return None if self._stopped.is_set() else next(self._jobs, None)

    def _put(self, result: JobResult | BaseException | None) -> None:
        while not self._stopped.is_set():
            with suppress(queue.Full):
                return self._results.put(result, timeout=0.1)


class Assignments:
    """Assigns jobs to workers that may die; jobs of dead workers are assigned again first.

    Args:
        jobs: numbers of the jobs; each is read when a worker asks for it.
    """

    def __init__(self, jobs: Iterable[int]) -> None:
        self._jobs: Iterator[int] = iter(jobs)
        self._again: deque[int] = deque()
        self._deaths: Counter[int] = Counter()
        self._deaths_before_work = 0

    def next(self) -> int | None:
        """Return the next job; ``None`` if none is left."""
        return self._again.popleft() if self._again else next(self._jobs, None)

    def worker_works(self) -> None:
        """Record that a worker is ready, or has played a job."""
        self._deaths_before_work = 0

    def worker_died(self, jobs: deque[int], reason: str, *, was_ready: bool) -> list[JobResult]:
        """Take back the jobs of a dead worker.

        Args:
            jobs: the job that it was playing, and those that it had not begun.
            reason: reason of its death, as far as it is known.
            was_ready: true if it could play.

        Returns:
            The failure of the job that it was playing, if too many workers have died at that job.

        Raises:
            AgentGymError: too many workers in a row have died before they could play.
        """
        if not was_ready:
            self._deaths_before_work += 1
            if self._deaths_before_work >= MAX_DEATHS_BEFORE_WORK:
                raise AgentGymError(
                    f"{MAX_DEATHS_BEFORE_WORK} workers in a row died before they could begin; the "
                    f"last: {reason}"
                )
        given_up: list[JobResult] = []
        if was_ready and jobs:
            self._deaths[jobs[0]] += 1
            if self._deaths[jobs[0]] >= MAX_DEATHS_OF_JOB:
                given_up.append(_worker_died(jobs.popleft(), reason))
        self._again.extend(jobs)
        return given_up


def _worker_died(job: int, reason: str) -> JobResult:
    error = f"{WORKER_DIED}: {MAX_DEATHS_OF_JOB} workers died of it; the last: {reason}"
    return JobResult(Entry(job, error_class=WORKER_DIED), (msgspec.json.encode({"error": error}),))


class ProcessRunner:
    """Plays jobs in processes. If one is killed, another plays its jobs.

    The right one for policies that compute for 5 ms per turn or more. For cheaper policies, use
    `SerialRunner`: starting the processes and sending the episodes takes more processor time than
    playing.

    The processes are spawned, so a script that collects needs ``if __name__ == "__main__":``.

    Args:
        workers: number of processes.
    """

    crosses_processes = True

    def __init__(self, workers: int) -> None:
        self._workers = workers

    def run(self, open_player: OpenPlayer, jobs: Iterable[int]) -> JobResults:
        """Play jobs; see `Runner.run`.

        Raises:
            AgentGymError: workers die before they can begin.
        """
        assignments = Assignments(jobs)
        workers = [_Worker(open_player, assignments) for _ in range(self._workers)]
        try:
            while busy := [worker.connection for worker in workers if worker.is_busy()]:
                ready = wait(busy)
                for worker in workers:
                    if worker.connection in ready:
                        yield from worker.receive()
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
        # Now only the child holds its end: when the child dies, reading here ends.
        theirs.close()

    def is_busy(self) -> bool:
        """Return whether the process will send something."""
        return bool(self._jobs) or not self._is_ready

    def receive(self) -> Iterator[JobResult]:
        """Receive what the process sent, or replace it if it has died."""
        try:
            message: JobResult | BaseException | None = self.connection.recv()
        except (EOFError, OSError):
            yield from self._replace()
            return
        if isinstance(message, BaseException):
            raise message
        self._assignments.worker_works()
        if message is None:
            self._is_ready = True
        else:
            self._jobs.popleft()
            yield message
        self._fill()

    def _fill(self) -> None:
        while len(self._jobs) < JOBS_AHEAD and (job := self._assignments.next()) is not None:
            self._jobs.append(job)
            # If the process is dead, the next `receive` notices.
            with suppress(OSError):
                self.connection.send(job)

    def _replace(self) -> Iterator[JobResult]:
        self.end()
        reason = f"exit code {self._process.exitcode}"
        jobs, self._jobs = self._jobs, deque()
        yield from self._assignments.worker_died(jobs, reason, was_ready=self._is_ready)
        self._begin()

    def end(self) -> None:
        """Kill the process."""
        self._process.kill()
        self._process.join()
        self.connection.close()


def _play(open_player: OpenPlayer, connection: Connection[Any, Any]) -> None:
    # Ctrl-C reaches all processes of a terminal; only the parent is to react to it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        player = open_player()
        connection.send(None)
        while True:
            connection.send(player.play(connection.recv()))
    except (EOFError, ConnectionError):
        return  # the parent is gone
    except Exception as problem:  # noqa: BLE001  (the parent raises it again)
        connection.send(problem)
