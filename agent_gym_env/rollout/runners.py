"""Who plays the jobs of a collection: here, in threads, or many in step."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from typing import Protocol

from agent_gym_env.rollout.job_player import JobPlayer
from agent_gym_env.rollout.outcome import Outcome

OpenPlayer = Callable[[], JobPlayer]
"""Makes a player; for other processes it must be importable, as a function of a module is."""

Outcomes = Generator[Outcome, None, None]
"""What jobs came to, as it comes."""


class Runner(Protocol):
    """Plays jobs in any order. What they come to does not depend on who plays them.

    A runner that sends ``open_player`` to other processes says so by an attribute
    ``crosses_processes = True``: policies and rewards are then given to it by name only.
    """

    def run(self, open_player: OpenPlayer, jobs: Iterable[int]) -> Outcomes:
        """Play jobs; closing the iterator ends all that was begun.

        Args:
            open_player: makes who plays.
            jobs: read no faster than they are played.

        Raises:
            BudgetExceeded: the run has spent what it may spend.
            CircuitOpenError: the provider refuses the key or is down.
        """


class SerialRunner:
    """One job after another: for policies that take less than 5 ms a turn, and few episodes."""

    def run(self, open_player: OpenPlayer, jobs: Iterable[int]) -> Outcomes:
        """Play jobs; see `Runner.run`."""
        yield from map(open_player().play, jobs)


class LockstepRunner:
    """Many dialogues in step, with one question to the policy for all of them.

    For policies that answer many at once faster than one by one, as a model on a GPU does.

    Args:
        width: number of dialogues.
        or_serial: whether a policy that takes no batches plays one dialogue after another; by
            default it is refused.
    """

    def __init__(self, width: int, *, or_serial: bool = False) -> None:
        self._width = width
        self._or_serial = or_serial

    def run(self, open_player: OpenPlayer, jobs: Iterable[int]) -> Outcomes:
        """Play jobs; see `Runner.run`."""
        player = open_player()
        if self._or_serial and not player.takes_batches:
            yield from map(player.play, jobs)
        else:
            yield from player.play_together(jobs, self._width)


class ThreadRunner:
    """Jobs in threads, for policies that wait for a server; they share its client and budget.

    Args:
        workers: how many threads.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers

    def run(self, open_player: OpenPlayer, jobs: Iterable[int]) -> Outcomes:
        """Play jobs; see `Runner.run`."""
        first = open_player()
        players = [first, *(first.another() for _ in range(self._workers - 1))]
        work = _SharedWork(jobs, len(players))
        for player in players:
            # Daemons: one that waits for a server does not hold back a process that was stopped.
            threading.Thread(target=work.play, args=(player,), daemon=True).start()
        try:
            yield from work.outcomes()
        finally:
            work.stop()


class _SharedWork:
    """Jobs that threads take, and what they came to."""

    def __init__(self, jobs: Iterable[int], threads: int) -> None:
        self._jobs = iter(jobs)
        self._taking = threading.Lock()
        self._stopped = threading.Event()
        self._threads = threads
        # As long as nobody reads what came out, threads wait with the next.
        self._results: queue.Queue[Outcome | BaseException | None] = queue.Queue(maxsize=threads)

    def play(self, player: JobPlayer) -> None:
        """Take jobs until there are none."""
        result: BaseException | None = None
        try:
            while (job := self._next()) is not None:
                self._put(player.play(job))
        except BaseException as problem:  # noqa: BLE001  (raised again by who waits for it)
            result = problem
        self._put(result)

    def outcomes(self) -> Iterator[Outcome]:
        """Give what jobs came to until all threads have ended."""
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
        """Let no thread take another job, or wait for a reader."""
        self._stopped.set()

    def _next(self) -> int | None:
        with self._taking:
            return None if self._stopped.is_set() else next(self._jobs, None)

    def _put(self, result: Outcome | BaseException | None) -> None:
        while not self._stopped.is_set():
            with suppress(queue.Full):
                return self._results.put(result, timeout=0.1)
