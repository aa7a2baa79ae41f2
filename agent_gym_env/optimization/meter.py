"""What a run asks of models and rewards, counted, and the run ended when it must be."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import CancelledError

import msgspec

from agent_gym_env.errors import STOPS_THE_RUN, LMError
from agent_gym_env.lm.base import CancellableModel, LanguageModel, Request, Response, forget_answer
from agent_gym_env.rewards.base import ClosedTurn, Reward, Score
from agent_gym_env.rewards.judge import JudgeReward
from agent_gym_env.types import Usage


class BrokenOff(BaseException):
    """Ends a run from inside an optimiser.

    Not an `Exception`: optimisers take any of those for a program that earned nothing, and go on.
    """


class CallCounts(msgspec.Struct, frozen=True):
    """What a run asked of its models.

    Attributes:
        calls: completions, those from the cache and those that failed included.
        cached: from the cache, which cost nothing.
        failed: that ended with an error.
        prompt_tokens: of completions that were paid.
        completion_tokens: likewise.
        cost_usd: as far as prices are known.
        unpriced: completions whose price is not known.
    """

    calls: int = 0
    cached: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    unpriced: int = 0


class Meter:
    """Counts for a whole run, from several threads.

    Args:
        max_errors: failures and unknown rewards that the run bears; the next one breaks it off.

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
        """Raise `BrokenOff` if the run is to end: threads that were left behind come here too."""
        if self._end is not None:
            raise BrokenOff from self._end

    def answered(self, response: Response) -> None:
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

    def failed(self, error: LMError) -> None:
        """Count a completion that ended with an error.

        Raises:
            BrokenOff: it was one too many, or nothing more will be answered.
        """
        with self._lock:
            counts = self.counts
            self.counts = msgspec.structs.replace(
                counts, calls=counts.calls + 1, failed=counts.failed + 1
            )
        self.erred(error)

    def erred(self, error: Exception) -> None:
        """Count something that went wrong without anybody's fault in the program.

        Raises:
            BrokenOff: it was one too many, or nothing more will be answered.
        """
        with self._lock:
            self._errors += 1
            is_over = isinstance(error, STOPS_THE_RUN) or self._errors > self._max_errors
        if is_over:
            self.end(error)

    def end(self, error: BaseException) -> None:
        """Break the run off.

        Raises:
            BrokenOff: always; the first error is its cause.
        """
        self.close(error)
        self.check()

    def close(self, error: BaseException) -> None:
        """Let nothing more be asked; the first error is the one that counts."""
        with self._lock:
            self._end = self._end or error
        for model in self._models:
            # Python waits at its end for threads of a pool, and they for an answer.
            if isinstance(model, CancellableModel):
                model.cancel()

    def watch(self, model: LanguageModel) -> None:
        """Cancel a model's requests when the run is interrupted."""
        self._models.append(model)


class MeteredLM:
    """Asks another model, and counts.

    Args:
        model: that answers.
        meter: of the run.
    """

    def __init__(self, model: LanguageModel, meter: Meter) -> None:
        self.name = model.name
        self._model = model
        self._meter = meter
        meter.watch(model)

    def complete(self, request: Request) -> Response:
        """Answer; see `LanguageModel.complete`."""
        self._meter.check()
        try:
            response = self._model.complete(request)
        except LMError as error:
            self._meter.failed(error)
            raise
        except CancelledError:
            # The run was broken off in another thread, which is why this one ends too.
            self._meter.check()
            raise
        self._meter.answered(response)
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
                self._meter.failed(outcome)
            else:
                self._meter.answered(outcome)
        return outcomes

    def forget_last(self) -> None:
        """Delete the last answer from the cache, if this thread got it from this model."""
        if getattr(self._meter.last_asked, "model", None) is self:
            forget_answer(self._model, self._meter.last_asked.request)

    def close(self) -> None:
        """Let go of connections."""
        self._model.close()


class MeteredReward:
    """Scores by another reward; a judge that will answer nothing more ends the run.

    Args:
        reward: that scores.
        meter: of the run.
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
            self._meter.end(error)
            raise
