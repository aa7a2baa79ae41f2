"""The rewards ``llm_judge``, ``rubric`` and ``hybrid``: a language model grades by a rubric."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import fsum
from statistics import fmean

from msgspec import structs

from agent_gym_env.errors import STOPS_THE_RUN, JudgeError, LMError
from agent_gym_env.lm.base import LanguageModel, Request, forget_answer
from agent_gym_env.lm.parse import without_reasoning
from agent_gym_env.rewards.base import ClosedTurn, Reward, Score, score_all
from agent_gym_env.rewards.judge_prompt import REMINDER, Case, make_case
from agent_gym_env.rewards.rubric import (
    DISAGREEMENT,
    HIGHEST_LEVEL,
    MAX_VERDICT_TOKENS,
    RESPONSE_QUALITY,
    TOOL_CORRECTNESS,
    Criterion,
    Verdict,
    read_verdict,
    verdict_schema,
)

_MAX_REASON_CHARS = 1000
_SAMPLING_TEMPERATURE = 1.0
_TOKENS_OF_A_CRITERION = 32

_Outcome = Verdict | JudgeError | LMError


class JudgeReward:
    """The verdict of a language model on the reply and the tool calls of a turn.

    Each criterion is graded from 0 to 4, and the grade is divided by 4. The reward is the weighted
    mean of the criteria that apply. The part ``disagreement`` is the distance between the votes; it
    does not count in the reward. An unreadable verdict is asked for once more, and then does not
    count. Without a majority of valid votes the reward is missing.

    Args:
        model: language model of the judge.
        votes: number of verdicts on each turn, of which the mean counts.
        reference: whether the judge sees what the corpus did.
        temperature: temperature of the judge; by default 0 for one vote, which makes it repeatable,
            and 1 for several, so that they can differ.
        criteria: criteria of the user, all of which apply to every turn; the reward is then named
            ``rubric``. Empty for those of ``llm_judge``.
    """

    name = "llm_judge"
    parts: tuple[str, ...] = (RESPONSE_QUALITY.name, TOOL_CORRECTNESS.name, DISAGREEMENT)

    def __init__(
        self,
        model: LanguageModel,
        *,
        votes: int = 1,
        reference: bool = True,
        temperature: float | None = None,
        criteria: Sequence[Criterion] = (),
    ) -> None:
        if votes < 1:
            raise ValueError(f"votes must be at least 1, not {votes}")
        if criteria:
            self.name = "rubric"
            self.parts = (*(criterion.name for criterion in criteria), DISAGREEMENT)
        self._criteria = tuple(criteria)
        self.model = model
        self.votes = votes
        self._reference = reference
        default = 0.0 if votes == 1 else _SAMPLING_TEMPERATURE
        self._temperature = default if temperature is None else temperature

    def score(self, turn: ClosedTurn) -> Score:
        """Ask for a verdict on a turn.

        Raises:
            BudgetExceeded: the run has spent what it may spend.
            CircuitOpenError: the provider refuses the key or is down.
        """
        return self.score_many([turn])[0]

    def score_many(self, turns: Sequence[ClosedTurn]) -> list[Score]:
        """Ask for verdicts on several turns at once.

        Raises:
            BudgetExceeded: the run has spent what it may spend.
            CircuitOpenError: the provider refuses the key or is down.
        """
        cases = [
            make_case(turn, with_reference=self._reference, criteria=self._criteria)
            for turn in turns
        ]
        asked = [(case, vote) for case in cases for vote in range(self.votes)]
        outcomes = self._ask(asked)
        unread = [
            place for place, outcome in enumerate(outcomes) if isinstance(outcome, JudgeError)
        ]
        again = self._ask([asked[at] for at in unread], remind=True)
        for at, outcome in zip(unread, again, strict=True):
            outcomes[at] = outcome
            if isinstance(outcome, JudgeError):
                self._forget(*asked[at])
        return [
            self._score(case, outcomes[place * self.votes : (place + 1) * self.votes])
            for place, case in enumerate(cases)
        ]

    def _score(self, case: Case, outcomes: Sequence[_Outcome]) -> Score:
        verdicts = [outcome for outcome in outcomes if isinstance(outcome, Verdict)]
        failures = [outcome for outcome in outcomes if not isinstance(outcome, Verdict)]
        components: dict[str, float | None] = dict.fromkeys(self.parts)
        if 2 * len(verdicts) <= len(outcomes):
            return Score(None, components, _explain_failures(failures))
        for name in verdicts[0].levels:
            components[name] = fmean(verdict.levels[name] for verdict in verdicts) / HIGHEST_LEVEL
        weights = {criterion.name: criterion.weight for criterion in case.criteria}
        values = [_mean(verdict.levels, weights) / HIGHEST_LEVEL for verdict in verdicts]
        if len(values) > 1:
            components[DISAGREEMENT] = max(values) - min(values)
        return Score(fmean(values), components, _explain(verdicts, len(failures)))

    def _ask(self, asked: Sequence[tuple[Case, int]], *, remind: bool = False) -> list[_Outcome]:
        if not asked:
            return []
        answers = self.model.complete_many([self._request(*each, remind=remind) for each in asked])
        outcomes: list[_Outcome] = []
        for (case, _), answer in zip(asked, answers, strict=True):
            if isinstance(answer, STOPS_THE_RUN):
                raise answer
            outcomes.append(answer if isinstance(answer, LMError) else _read(answer.text, case))
        return outcomes

    def _forget(self, case: Case, vote: int) -> None:
        """Delete the cached answers of a case whose verdict could not be read."""
        for remind in (False, True):
            forget_answer(self.model, self._request(case, vote, remind=remind))

    def _request(self, case: Case, vote: int, *, remind: bool) -> Request:
        # The unreadable answer is not sent back: it may quote the candidate, in the judge's voice.
        reminder = ({"role": "user", "content": REMINDER},) if remind else ()
        return Request(
            messages=(*case.messages, *reminder),
            response_format=verdict_schema(case.number, case.criteria),
            temperature=self._temperature,
            max_tokens=MAX_VERDICT_TOKENS + _TOKENS_OF_A_CRITERION * len(self._criteria),
            sample=vote,
        )


class HybridReward:
    """One reward for the first turn of a dialogue, another one for the later turns.

    A dialogue's first turn has a single right answer more often than the later ones.

    Args:
        first: reward of the first turn.
        later: reward of the others.
    """

    name = "hybrid"

    def __init__(self, first: Reward, later: Reward) -> None:
        self._first = first
        self.later = later
        self.parts: tuple[str, ...] = tuple(dict.fromkeys((*first.parts, *later.parts)))

    def score(self, turn: ClosedTurn) -> Score:
        """Score a turn; the other reward's parts are ``None``."""
        return self.score_many([turn])[0]

    def score_many(self, turns: Sequence[ClosedTurn]) -> list[Score]:
        """Score several turns at once."""
        first = iter(score_all(self._first, [turn for turn in turns if turn.index == 0]))
        later = iter(score_all(self.later, [turn for turn in turns if turn.index > 0]))
        return [self._complete(next(first if turn.index == 0 else later)) for turn in turns]

    def _complete(self, score: Score) -> Score:
        components = {**dict.fromkeys(self.parts), **score.components}
        return structs.replace(score, components=components)


def _read(text: str, case: Case) -> Verdict | JudgeError:
    try:
        verdict, _ = without_reasoning(text)
        return read_verdict(verdict, case.number, case.criteria)
    except JudgeError as error:
        return error


def _mean(levels: Mapping[str, int], weights: Mapping[str, float]) -> float:
    """Return the weighted mean of some levels."""
    total = fsum(weights[name] for name in levels)
    return fsum(weights[name] * level for name, level in levels.items()) / total


def _explain(verdicts: Sequence[Verdict], failures: int) -> str:
    """Describe the votes, with the reason of the first one."""
    levels = ", ".join(
        f"{name} {'|'.join(str(verdict.levels[name]) for verdict in verdicts)} of {HIGHEST_LEVEL}"
        for name in verdicts[0].levels
    )
    missing = f" ({failures} votes could not be read)" if failures else ""
    return f"{levels}{missing}: {verdicts[0].reason[:_MAX_REASON_CHARS]}"


def _explain_failures(failures: Iterable[JudgeError | LMError]) -> str:
    problems = Counter(f"{type(failure).__name__}: {failure}" for failure in failures)
    listed = "; ".join(f"{count} x {text}" for text, count in problems.most_common())
    return f"the judge gave no verdict: {listed}"[:_MAX_REASON_CHARS]
