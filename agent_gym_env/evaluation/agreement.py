"""What a judge is worth: whether it ranks replies as the ground truth does.

Each recorded turn is answered as it was recorded and in some worse ways, and both rewards score
every answer.
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
from agent_gym_env.evaluation.answers import recorded_turns
from agent_gym_env.evaluation.evaluate import RESAMPLES
from agent_gym_env.evaluation.rank_correlation import rank_correlation
from agent_gym_env.evaluation.statistics import Bootstrap, ClusterSums, Estimate
from agent_gym_env.evaluation.unscored import ScoreCheck
from agent_gym_env.evaluation.worse_answers import worse_answers
from agent_gym_env.rewards.base import ClosedTurn, Reward, score_all
from agent_gym_env.rewards.corruptions import Corruption

RECORDED = "as recorded"

_TURNS_AT_ONCE = 256


class AnswerScores(msgspec.Struct, frozen=True):
    """How both rewards score one way to answer.

    Attributes:
        name: of the way.
        judge: what the judge gives.
        truth: what the ground truth gives.
        recorded_preferred: how often the judge puts the recorded reply above this one; a tie counts
            half. 0.5 is a judge that cannot tell them apart.
    """

    name: str
    judge: Estimate
    truth: Estimate
    recorded_preferred: Estimate


class Agreement(msgspec.Struct, frozen=True):
    """How far a judge and the ground truth agree.

    Attributes:
        corpus: fingerprint of the split.
        split: its name.
        judge: the judge's name.
        truth: the other reward's name.
        dialogues: how many were answered.
        turns: how many were answered.
        rank_correlation: Spearman's, over all answers that both scored; ``left_out`` are those
            that the judge could not score.
        answers: by way to answer, `RECORDED` first.
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
        split: of the dialogues.
        judge: the reward in question.
        truth: the reward that is trusted.
        dialogue_ids: the dialogues.
        seed: of the worse answers and of the bootstrap.
        on_answers: called with the number of answers scored since the last call.

    Raises:
        JudgeError: the judge could score no answer; names the first reason.
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
