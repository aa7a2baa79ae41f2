"""The progress of an optimisation: its events, its counts of calls and costs, and its end.

Every event is a JSON object with ``kind`` and ``elapsed_s``; the documentation lists them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from typing import Any, Literal, TypeVar

import msgspec

from agent_gym_env.errors import STOPS_THE_RUN, ContextExceeded, LMError
from agent_gym_env.lm.base import CancellableModel, LanguageModel, Request, Response, forget_answer
from agent_gym_env.process_wide import output_shown
from agent_gym_env.rewards.base import ClosedTurn, Reward, Score
from agent_gym_env.rewards.judge import JudgeReward
from agent_gym_env.types import Usage

Phase = Literal["baseline", "search", "optimized"]
"""The original program on what is held out; the search; the optimised program on the same."""


class _Event(msgspec.Struct, frozen=True, tag_field="kind", kw_only=True):
    """Fields of all events.

    Attributes:
        elapsed_s: wall-clock seconds since the run began.
    """

    elapsed_s: float


class Started(_Event, frozen=True, tag="started", kw_only=True):
    """A run begins.

    Attributes:
        strategy: name of the strategy.
        model: name of the program's model.
        reward: name of the reward.
        train_turns: number of turns that the optimiser learns from; with ``SGDSim-v0``, of
            dialogues.
        validation_turns: number of those that the optimiser compares programs on.
        held_out_turns: number of those that the result is measured on.
    """

    strategy: str
    model: str
    reward: str
    train_turns: int
    validation_turns: int
    held_out_turns: int


class PhaseBegan(_Event, frozen=True, tag="phase", kw_only=True):
    """A part of the run begins.

    Attributes:
        phase: the part that begins.
    """

    phase: Phase


class TurnScored(_Event, frozen=True, tag="turn", kw_only=True):
    """A program has played a turn or a simulated dialogue.

    These events are many, so a result does not keep them.

    Attributes:
        phase: part of the run.
        turn: ``dialogue_id#turn``; the id of a simulated dialogue.
        reward: reward of the turn, or sum of the dialogue's; ``None`` if it is unknown.
        calls: number of calls of models since the run began.
        cost_usd: cost of these calls, as far as prices are known.
    """

    phase: Phase
    turn: str
    reward: float | None
    calls: int
    cost_usd: float


class ProgramScored(_Event, frozen=True, tag="program", kw_only=True):
    """The optimiser has tried a program on several turns or simulated dialogues.

    Attributes:
        reward: mean over them; an unknown reward counts as 0.
        turns: number of them.
        instructions: instructions of the program.
        demos: number of demonstrations in its prompt.
    """

    reward: float
    turns: int
    instructions: str
    demos: int


class Finished(_Event, frozen=True, tag="finished", kw_only=True):
    """The run is over, and its files are written.

    Attributes:
        baseline: mean reward of the original program on what is held out.
        optimized: mean reward of the optimised program on the same.
        improvement_pct: change in percent of the baseline; ``None`` if that is 0 or unknown.
        program_path: path of the program.
        result_path: path of the result.
    """

    baseline: float | None
    optimized: float | None
    improvement_pct: float | None
    program_path: str
    result_path: str


class Stopped(_Event, frozen=True, tag="stopped", kw_only=True):
    """The run has ended early. The answers so far are in the cache, where the next run finds them.

    Attributes:
        reason: ``Class: message``.
    """

    reason: str


Event = Started | PhaseBegan | TurnScored | ProgramScored | Finished | Stopped

Callback = Callable[[Event], None]
"""Called with each event, one at a time, from any thread. If it raises, the run ends."""

_E = TypeVar("_E", bound=Event)


class RunAborted(BaseException):
    """Ends a run from inside an optimiser.

    Not an `Exception`, because optimisers catch those, score the program 0 and continue.
    """


class EventLog:
    """Passes events to the callback, one at a time, and keeps all except the single turns.

    Args:
        callback: called with each event; if it raises, the run ends.
        meter: meter of the run.

    Attributes:
        events: events that are kept.
    """

    def __init__(self, callback: Callback | None, meter: Meter) -> None:
        self.events: list[Event] = []
        self._callback = callback
        self._meter = meter
        self._begin = time.perf_counter()
        self._lock = threading.Lock()

    @property
    def elapsed_s(self) -> float:
        """Wall-clock seconds since the run began."""
        return time.perf_counter() - self._begin

    def record(self, kind: type[_E], **values: Any) -> None:
        """Make an event and pass it on.

        Raises:
            RunAborted: the callback raised.
        """
        with self._lock, output_shown():
            event = kind(elapsed_s=self.elapsed_s, **values)
            if not isinstance(event, TurnScored):
                self.events.append(event)
            if self._callback is None:
                return
            try:
                self._callback(event)
            except Exception as error:  # noqa: BLE001  (foreign code; its error ends the run)
                self._callback = None
                self._meter.abort(error)


class CallCounts(msgspec.Struct, frozen=True):
    """Counts of a run's calls of models.

    Attributes:
        calls: completions, including those from the cache and those that failed.
        cached: completions from the cache, which cost nothing.
        failed: completions that ended with an error.
        prompt_tokens: tokens of the prompts that were paid for.
        completion_tokens: tokens of the completions that were paid for.
        cost_usd: cost, as far as prices are known.
        unpriced: completions with an unknown price.
    """

    calls: int = 0
    cached: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    unpriced: int = 0


class Meter:
    """Counts calls and errors of a run, from several threads, and ends the run.

    Args:
        max_errors: number of failures and unknown rewards that are tolerated.

    Attributes:
        counts: counts of the run so far.
        last_asked: for each thread, the last ``request`` and the ``model`` that answered it.
    """

    def __init__(self, max_errors: int) -> None:
        self.counts = CallCounts()
        self._max_errors = max_errors
        self._errors = 0
        self._end: BaseException | None = None
        self._lock = threading.Lock()
        self.last_asked = threading.local()
        self._models: list[LanguageModel] = []

    def check(self) -> None:
        """Raise `RunAborted` if the run has ended, also in threads that are still at work."""
        if self._end is not None:
            raise RunAborted from self._end

    def record_answer(self, response: Response) -> None:
        """Count a completion."""
        usage = response.usage or Usage()
        with self._lock:
            counts = self.counts
            self.counts = CallCounts(
                calls=counts.calls + 1,
                cached=counts.cached + response.cached,
                failed=counts.failed,
                prompt_tokens=counts.prompt_tokens + usage.prompt_tokens,
                completion_tokens=counts.completion_tokens + usage.completion_tokens,
                cost_usd=counts.cost_usd + (response.cost_usd or 0.0),
                unpriced=counts.unpriced + (response.cost_usd is None),
            )

    def record_failure(self, error: LMError) -> None:
        """Count a completion that ended with an error.

        A prompt that is too long for the model is the program's fault, and not an error of the run.

        Raises:
            RunAborted: there were too many errors, or no further call will be answered.
        """
        with self._lock:
            counts = self.counts
            self.counts = msgspec.structs.replace(
                counts, calls=counts.calls + 1, failed=counts.failed + 1
            )
        if not isinstance(error, ContextExceeded):
            self.record_error(error)

    def record_error(self, error: Exception) -> None:
        """Count an error that is not the program's fault.

        Raises:
            RunAborted: there were too many errors, or no further call will be answered.
        """
        with self._lock:
            self._errors += 1
            is_over = isinstance(error, STOPS_THE_RUN) or self._errors > self._max_errors
        if is_over:
            self.abort(error)

    def abort(self, error: BaseException) -> None:
        """End the run.

        Raises:
            RunAborted: always; its cause is the first error.
        """
        self.close(error)
        self.check()

    def close(self, error: BaseException) -> None:
        """Refuse all further calls. If called again, the first error is kept."""
        with self._lock:
            self._end = self._end or error
        for model in self._models:
            # At its exit Python waits for the threads of a pool, and they wait for an answer.
            if isinstance(model, CancellableModel):
                model.cancel()

    def watch(self, model: LanguageModel) -> None:
        """Cancel the requests of this model when the run ends."""
        self._models.append(model)


class MeteredLM:
    """A language model that counts the calls of another one.

    Args:
        model: model that answers.
        meter: meter of the run.
    """

    def __init__(self, model: LanguageModel, meter: Meter) -> None:
        self.name = model.name
        self._model = model
        self._meter = meter
        meter.watch(model)

    def complete(self, request: Request) -> Response:
        """Answer a request; see `LanguageModel.complete`."""
        self._meter.check()
        try:
            response = self._model.complete(request)
        except LMError as error:
            self._meter.record_failure(error)
            raise
        except CancelledError:
            # The run was ended in another thread.
            self._meter.check()
            raise
        self._meter.record_answer(response)
        self._meter.last_asked.model, self._meter.last_asked.request = self, request
        return response

    def complete_many(self, requests: Sequence[Request]) -> list[Response | LMError]:
        """Answer many requests at once."""
        self._meter.check()
        try:
            outcomes = self._model.complete_many(requests)
        except CancelledError:
            self._meter.check()
            raise
        for outcome in outcomes:
            if isinstance(outcome, LMError):
                self._meter.record_failure(outcome)
            else:
                self._meter.record_answer(outcome)
        return outcomes

    def forget_last(self) -> None:
        """Delete the last answer from the cache, if this thread got it from this model."""
        if getattr(self._meter.last_asked, "model", None) is self:
            self.forget(self._meter.last_asked.request)

    def forget(self, request: Request) -> None:
        """Delete the answer to a request from the cache."""
        forget_answer(self._model, request)

    def close(self) -> None:
        """Close connections."""
        self._model.close()


class MeteredReward:
    """A reward that ends the run when the judge of another reward answers no further call.

    Args:
        reward: reward that scores.
        meter: meter of the run.
    """

    def __init__(self, reward: Reward, meter: Meter) -> None:
        self.name = reward.name
        self.parts = reward.parts
        self._reward = reward
        self._meter = meter
        for judge in (reward, getattr(reward, "later", None)):
            if isinstance(judge, JudgeReward):
                meter.watch(judge.model)

    def score(self, turn: ClosedTurn) -> Score:
        """Score a turn."""
        try:
            return self._reward.score(turn)
        except STOPS_THE_RUN as error:
            self._meter.abort(error)
            raise
