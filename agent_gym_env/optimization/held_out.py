"""Programs measured on held-out turns, each by itself and in pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from agent_gym_env.errors import LMError
from agent_gym_env.evaluation.evaluate import RESAMPLES
from agent_gym_env.evaluation.rescore import ScoreCheck
from agent_gym_env.evaluation.statistics import (
    Bootstrap,
    ClusterSums,
    Difference,
    paired_difference,
)
from agent_gym_env.optimization.dspy_examples import Stage, play_turn
from agent_gym_env.optimization.result import HeldOutScore
from agent_gym_env.policies.base import Policy
from agent_gym_env.rewards.base import Score

_COMPONENT = "component/"


def score_held_out(
    policy: Policy,
    stage: Stage,
    turns: Sequence[str],
    *,
    threads: int,
    seed: int,
    on_turn: Callable[[str, float | None], None],
) -> HeldOutScore:
    """Have a policy play turns.

    A turn in which the model does not answer has no reward: that is not the program's doing.

    Args:
        policy: is asked from several threads.
        stage: of the turns.
        turns: ``dialogue_id#turn``.
        threads: turns played at once.
        seed: of the bootstrap.
        on_turn: is told each turn and its reward.

    Raises:
        JudgeError: no turn has a reward; names the first reason.
    """

    def play(turn: str) -> Score:
        try:
            score = play_turn(policy, stage, turn)
        except LMError as error:
            score = Score(None, {}, f"{type(error).__name__}: {error}")
        on_turn(turn, score.value)
        return score

    pool = ThreadPoolExecutor(threads)
    try:
        scores = dict(zip(turns, pool.map(play, turns), strict=True))
    finally:
        # Whoever breaks off is not to wait for the turns that nobody has begun.
        pool.shutdown(wait=False, cancel_futures=True)
    check = ScoreCheck(stage.reward.name)
    for score in scores.values():
        check.add(score.value, score.reason)
    check.finish()
    return _summary(scores, stage.reward.parts, seed)


def _summary(scores: Mapping[str, Score], parts: Sequence[str], seed: int) -> HeldOutScore:
    sums = ClusterSums()
    for turn, score in scores.items():
        sums.add(_dialogue(turn), "reward", score.value)
        for part in parts:
            sums.add(_dialogue(turn), _COMPONENT + part, score.components.get(part))
    bootstrap = Bootstrap(sums, resamples=RESAMPLES, seed=seed)
    return HeldOutScore(
        reward=bootstrap.estimate("reward"),
        components=bootstrap.estimates(_COMPONENT),
        rewards={turn: score.value for turn, score in scores.items()},
    )


def paired(first: HeldOutScore, second: HeldOutScore, seed: int) -> Difference:
    """Compare two programs turn by turn, the first minus the second; dialogues are resampled."""
    sums = ClusterSums()
    for turn, mine in first.rewards.items():
        theirs = second.rewards.get(turn)
        if mine is not None and theirs is not None:
            sums.add(_dialogue(turn), "first", mine)
            sums.add(_dialogue(turn), "second", theirs)
    mine_sums, counts = sums.columns("first")
    their_sums, _ = sums.columns("second")
    rng = np.random.default_rng(seed)
    return paired_difference(mine_sums, their_sums, counts, resamples=RESAMPLES, rng=rng)


def _dialogue(turn: str) -> str:
    return turn.rpartition("#")[0]
