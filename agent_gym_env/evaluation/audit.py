"""What the known ways to game a reward earn, beside what honest policies do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice

import msgspec
import numpy as np

from agent_gym_env.corpus.corpus import Split
from agent_gym_env.corpus.task import Task
from agent_gym_env.corpus.tool_specs import tools_json
from agent_gym_env.evaluation.answers import recorded_turns
from agent_gym_env.evaluation.evaluate import RESAMPLES
from agent_gym_env.evaluation.rescore import closed_turns
from agent_gym_env.evaluation.statistics import Bootstrap, ClusterSums, Estimate
from agent_gym_env.evaluation.unscored import ScoreCheck
from agent_gym_env.rewards.balanced import BalancedReward
from agent_gym_env.rewards.base import ClosedTurn, Reward, Score, score_all
from agent_gym_env.rewards.corruptions import corruptions
from agent_gym_env.rollout.episode import Episode

_TURNS_AT_ONCE = 256
"""Given to a reward together; a judge is asked about them at once."""

_COMPONENT = "component/"


class AuditScore(msgspec.Struct, frozen=True):
    """What a way to answer earns under one reward.

    Attributes:
        reward: per turn.
        with_values: the same over the turns whose recorded reply says slot values.
        components: mean of each part of the reward, over the turns where it applies.
    """

    reward: Estimate
    with_values: Estimate
    components: dict[str, Estimate]


class AuditRow(msgspec.Struct, frozen=True):
    """A way to answer.

    Attributes:
        name: of the corruption, the policy, or ``"oracle"`` for what was recorded.
        scores: by the reward's name.
    """

    name: str
    scores: dict[str, AuditScore]


class Audit(msgspec.Struct, frozen=True):
    """A table of ways to answer and what they earn.

    Attributes:
        corpus: fingerprint of the split.
        split: its name.
        dialogues: how many were answered.
        turns: how many were answered.
        rewards: names, in the order of the columns.
        rows: the oracle first, then policies, then corruptions.
    """

    corpus: str
    split: str
    dialogues: int
    turns: int
    rewards: tuple[str, ...]
    rows: tuple[AuditRow, ...]


_Turns = Callable[[Reward], Iterator[tuple[str, ClosedTurn]]]
"""From a reward to the turns that it is to score, each beside its dialogue's id."""


def audit(
    split: Split,
    rewards: Sequence[Reward],
    dialogue_ids: Sequence[str],
    *,
    played: Mapping[str, Iterable[Episode]] | None = None,
    seed: int = 0,
    on_row: Callable[[str], None] | None = None,
) -> Audit:
    """Answer dialogues in every way that `corruptions` knows, and score the answers.

    Args:
        split: of the dialogues.
        rewards: to audit.
        dialogue_ids: the dialogues.
        played: by policy, its episodes of the same dialogues, which are scored too; they are read
            once for each reward.
        seed: of the corruptions and of the bootstrap.
        on_row: called with the name of each way to answer before it is scored.

    Raises:
        JudgeError: a reward could score no answer; names the first reason.
    """
    tasks = [split.task(split.index(dialogue_id)) for dialogue_id in dialogue_ids]
    ways: dict[str, _Turns] = {
        "oracle": partial(_recorded, split, tasks),
        **{policy: partial(_played, episodes) for policy, episodes in (played or {}).items()},
        **_corrupted(split, tasks, rewards, seed),
    }
    checks = {reward.name: ScoreCheck(reward.name) for reward in rewards}
    rows = []
    for name, turns in ways.items():
        if on_row is not None:
            on_row(name)
        scores = {
            reward.name: _score(reward, turns(reward), seed, checks[reward.name])
            for reward in rewards
        }
        rows.append(AuditRow(name, scores))
    for check in checks.values():
        check.finish()
    return Audit(
        corpus=split.fingerprint,
        split=split.name,
        dialogues=len(tasks),
        turns=sum(len(task.turns) for task in tasks),
        rewards=tuple(reward.name for reward in rewards),
        rows=tuple(rows),
    )


def _recorded(
    split: Split, tasks: Sequence[Task], reward: Reward
) -> Iterator[tuple[str, ClosedTurn]]:
    for task in tasks:
        for turn in recorded_turns(task, tools_json(split.tools, task.services)):
            yield task.dialogue_id, turn.closed


def _played(episodes: Iterable[Episode], reward: Reward) -> Iterator[tuple[str, ClosedTurn]]:
    for episode in episodes:
        for turn in closed_turns(episode):
            yield episode.dialogue_id, turn


def _corrupted(
    split: Split, tasks: Sequence[Task], rewards: Sequence[Reward], seed: int
) -> dict[str, _Turns]:
    """Make every corruption, each against the weights of the reward that will score it."""
    known = {
        reward.name: corruptions(tasks, split.tools, _word_weight(reward)) for reward in rewards
    }
    names = known[rewards[0].name]
    offers = {task.services: tools_json(split.tools, task.services) for task in tasks}

    def answers(name: str, reward: Reward) -> Iterator[tuple[str, ClosedTurn]]:
        corrupt = known[reward.name][name]
        rng = np.random.default_rng(seed)
        for task in tasks:
            for index, turn in enumerate(recorded_turns(task, offers[task.services])):
                yield task.dialogue_id, turn.answered(corrupt(task, index, rng))

    return {name: partial(answers, name) for name in names}


def _word_weight(reward: Reward) -> Callable[[bytes], float]:
    return reward.weights.__getitem__ if isinstance(reward, BalancedReward) else lambda word: 1.0


def _score(
    reward: Reward, turns: Iterator[tuple[str, ClosedTurn]], seed: int, check: ScoreCheck
) -> AuditScore:
    sums = ClusterSums()
    for dialogue, turn, score in _scored(reward, turns):
        check.add(score.value, score.reason)
        sums.add(dialogue, "reward", score.value)
        if turn.target.values:
            sums.add(dialogue, "with_values", score.value)
        for part, value in score.components.items():
            sums.add(dialogue, _COMPONENT + part, value)
    bootstrap = Bootstrap(sums, resamples=RESAMPLES, seed=seed)
    return AuditScore(
        reward=bootstrap.estimate("reward"),
        with_values=bootstrap.estimate("with_values"),
        components=bootstrap.estimates(_COMPONENT),
    )


def _scored(
    reward: Reward, turns: Iterator[tuple[str, ClosedTurn]]
) -> Iterator[tuple[str, ClosedTurn, Score]]:
    while batch := list(islice(turns, _TURNS_AT_ONCE)):
        scores = score_all(reward, [turn for _, turn in batch])
        for (dialogue, turn), score in zip(batch, scores, strict=True):
            yield dialogue, turn, score
