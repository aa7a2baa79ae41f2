"""Agreement of a judge with the ground truth: do both rank answers in the same order?

Each recorded turn is answered as it was recorded and with single mistakes. Both rewards score every
answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from msgspec import structs

from agent_gym_env.corpus.corpus import Split
from agent_gym_env.corpus.task import Task
from agent_gym_env.corpus.tool_specs import ToolSpec, tools_json
from agent_gym_env.evaluation.evaluate import RESAMPLES
from agent_gym_env.evaluation.rescore import ScoreCheck
from agent_gym_env.evaluation.statistics import (
    Bootstrap,
    ClusterSums,
    Estimate,
    Floats,
    interval,
)
from agent_gym_env.evaluation.table import number, with_interval
from agent_gym_env.reward_audit.answers import Corruption, recorded_turns, worse_answers
from agent_gym_env.rewards.base import ClosedTurn, Reward, score_all

RECORDED = "as recorded"

_TURNS_AT_ONCE = 256


class AnswerScores(msgspec.Struct, frozen=True):
    """Scores of one kind of answer by both rewards.

    Attributes:
        name: name of the kind of answer.
        judge: score of the judge.
        truth: score of the ground truth.
        recorded_preferred: share of turns in which the judge prefers the recorded reply; a tie
            counts half. At 0.5 the judge cannot distinguish the two.
    """

    name: str
    judge: Estimate
    truth: Estimate
    recorded_preferred: Estimate


class Agreement(msgspec.Struct, frozen=True):
    """Agreement of a judge with the ground truth.

    Attributes:
        corpus: fingerprint of the split.
        split: name of the split.
        judge: name of the judge.
        truth: name of the other reward.
        dialogues: number of dialogues answered.
        turns: number of turns answered.
        rank_correlation: Spearman's rank correlation over all answers that both scored;
            ``left_out`` counts those that the judge could not score.
        answers: scores by kind of answer, `RECORDED` first.
    """

    corpus: str
    split: str
    judge: str
    truth: str
    dialogues: int
    turns: int
    rank_correlation: Estimate
    answers: tuple[AnswerScores, ...]


class _Point(NamedTuple):
    """One answer and its two scores."""

    dialogue: int
    turn: int
    way: str
    judge: float | None
    truth: float | None


def agreement(
    split: Split,
    judge: Reward,
    truth: Reward,
    dialogue_ids: Sequence[str],
    *,
    seed: int = 0,
    on_answers: Callable[[int], None] | None = None,
) -> Agreement:
    """Compare a judge with the ground truth.

    Args:
        split: split of the dialogues.
        judge: reward to examine.
        truth: reward to compare with.
        dialogue_ids: ids of the dialogues.
        seed: seed of the worse answers and of the bootstrap.
        on_answers: called with the number of answers scored since the last call.

    Raises:
        JudgeError: the judge could not score any answer; names the first reason.
    """
    tasks = [split.task(split.index(dialogue_id)) for dialogue_id in dialogue_ids]
    ways = worse_answers(tasks, split.tools)
    answers = list(_answers(tasks, split.tools, ways, seed))
    points: list[_Point] = []
    check = ScoreCheck(judge.name)
    for start in range(0, len(answers), _TURNS_AT_ONCE):
        batch = answers[start : start + _TURNS_AT_ONCE]
        points += _points(batch, judge, truth, check)
        if on_answers is not None:
            on_answers(len(batch))
    check.finish()
    return Agreement(
        corpus=split.fingerprint,
        split=split.name,
        judge=judge.name,
        truth=truth.name,
        dialogues=len(tasks),
        turns=sum(len(task.turns) for task in tasks),
        rank_correlation=_rank_correlation(points, seed),
        answers=_answer_scores(points, (RECORDED, *ways), seed),
    )


class _Answer(NamedTuple):
    dialogue: int
    way: str
    turn: ClosedTurn


def _answers(
    tasks: Sequence[Task],
    tools: Mapping[str, ToolSpec],
    ways: Mapping[str, Corruption],
    seed: int,
) -> Iterator[_Answer]:
    rng = np.random.default_rng(seed)
    for dialogue, task in enumerate(tasks):
        for turn in recorded_turns(task, tools_json(tools, task.services)):
            yield _Answer(dialogue, RECORDED, turn.closed)
            for way, answer in ways.items():
                closed = turn.answered(answer(task, turn.closed.index, rng))
                if (closed.text, closed.calls) != (turn.closed.text, turn.closed.calls):
                    yield _Answer(dialogue, way, closed)


def _points(
    answers: Sequence[_Answer], judge: Reward, truth: Reward, check: ScoreCheck
) -> Iterator[_Point]:
    turns = [answer.turn for answer in answers]
    for answer, judged, true in zip(
        answers, score_all(judge, turns), score_all(truth, turns), strict=True
    ):
        check.add(judged.value, judged.reason)
        yield _Point(answer.dialogue, answer.turn.index, answer.way, judged.value, true.value)


def _rank_correlation(points: Sequence[_Point], seed: int) -> Estimate:
    known = [
        (point.dialogue, point.judge, point.truth)
        for point in points
        if point.judge is not None and point.truth is not None
    ]
    dialogues, judged, true = np.array(known, dtype=np.float64).reshape(-1, 3).T
    found = rank_correlation(judged, true, dialogues, resamples=RESAMPLES, seed=seed)
    return structs.replace(found, left_out=len(points) - len(known))


def _answer_scores(
    points: Sequence[_Point], ways: Sequence[str], seed: int
) -> tuple[AnswerScores, ...]:
    recorded = {
        (point.dialogue, point.turn): point.judge for point in points if point.way == RECORDED
    }
    sums = ClusterSums()
    for point in points:
        sums.add(point.dialogue, f"judge/{point.way}", point.judge)
        sums.add(point.dialogue, f"truth/{point.way}", point.truth)
        preferred = _preferred(recorded[point.dialogue, point.turn], point.judge)
        sums.add(point.dialogue, f"preferred/{point.way}", preferred)
    bootstrap = Bootstrap(sums, resamples=RESAMPLES, seed=seed)
    return tuple(
        AnswerScores(
            name=way,
            judge=bootstrap.estimate(f"judge/{way}"),
            truth=bootstrap.estimate(f"truth/{way}"),
            recorded_preferred=bootstrap.estimate(f"preferred/{way}"),
        )
        for way in ways
    )


def _preferred(recorded: float | None, other: float | None) -> float | None:
    if recorded is None or other is None:
        return None
    return 0.5 if recorded == other else float(recorded > other)


def rank_correlation(
    first: Floats, second: Floats, clusters: Floats, *, resamples: int, seed: int
) -> Estimate:
    """Compute Spearman's rank correlation; its interval comes from resampling whole clusters.

    Args:
        first: scores, shape (answers,).
        second: scores of the same answers, same shape.
        clusters: cluster of each answer, same shape.
        resamples: number of resamples.
        seed: seed of the resampling.
    """
    whole = spearman(first, second)
    if whole is None:
        return Estimate(count=len(first))
    members = [np.flatnonzero(clusters == cluster) for cluster in np.unique(clusters)]

    def resampled() -> Iterator[float]:
        rng = np.random.default_rng(seed)
        for draw in rng.integers(len(members), size=(resamples, len(members))):
            rows = np.concatenate([members[cluster] for cluster in draw])
            drawn = spearman(first[rows], second[rows])
            yield np.nan if drawn is None else drawn

    low, high = interval(np.fromiter(resampled(), np.float64), len(members))
    return Estimate(whole, low, high, len(first))


def spearman(first: Floats, second: Floats) -> float | None:
    """Compute Spearman's rank correlation; equal values share the mean of their ranks.

    Returns:
        Correlation in [-1, 1]; ``None`` if all values of one side are equal.
    """
    if not len(first):
        return None
    centred = [ranks - ranks.mean() for ranks in (_ranks(first), _ranks(second))]
    spread = np.sqrt(np.prod([ranks @ ranks for ranks in centred]))
    return float(centred[0] @ centred[1] / spread) if spread else None


def _ranks(values: Floats) -> Floats:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle: Floats = counts.cumsum() - (counts - 1) / 2
    return middle[inverse]


AGREEMENT_HEADER = ("reply", "judge", "95 % interval", "truth", "recorded preferred", "interval")


def agreement_rows(found: Agreement) -> list[tuple[str, ...]]:
    """Return the cells of a table under `AGREEMENT_HEADER`, one row for each kind of answer."""
    return [
        (
            row.name,
            *with_interval(row.judge),
            number(row.truth.mean),
            *with_interval(row.recorded_preferred),
        )
        for row in found.answers
    ]
