"""The score of every known exploit of a reward, beside the scores of honest policies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice

import msgspec
import numpy as np

from agent_gym_env.corpus.corpus import Split
from agent_gym_env.corpus.task import Task
from agent_gym_env.corpus.tool_specs import tools_json
from agent_gym_env.evaluation.evaluate import RESAMPLES
from agent_gym_env.evaluation.rescore import ScoreCheck, closed_turns
from agent_gym_env.evaluation.statistics import Bootstrap, ClusterSums, Estimate
from agent_gym_env.evaluation.table import with_interval
from agent_gym_env.reward_audit.answers import corruptions, recorded_turns
from agent_gym_env.rewards.balanced import BalancedReward
from agent_gym_env.rewards.base import ClosedTurn, Reward, Score, score_all
from agent_gym_env.rollout.episode import Episode

_TURNS_AT_ONCE = 256
"""Number of turns scored together; a judge is asked about all of them at once."""

_COMPONENT = "component/"


class AuditScore(msgspec.Struct, frozen=True):
    """Score of one kind of answer by one reward.

    Attributes:
        reward: reward per turn.
        with_values: reward per turn, over the turns whose recorded reply says slot values.
        components: mean of each component of the reward, over the turns to which it applies.
    """

    reward: Estimate
    with_values: Estimate
    components: dict[str, Estimate]


class AuditRow(msgspec.Struct, frozen=True):
    """Scores of one kind of answer.

    Attributes:
        name: name of the exploit or the policy; ``"oracle"`` for the recording.
        scores: scores by name of the reward.
    """

    name: str
    scores: dict[str, AuditScore]


class Audit(msgspec.Struct, frozen=True):
    """Scores of kinds of answers by several rewards.

    Attributes:
        corpus: fingerprint of the split.
        split: name of the split.
        dialogues: number of dialogues answered.
        turns: number of turns answered.
        rewards: names of the rewards, in the order of the columns.
        rows: scores of the oracle, then of policies, then of exploits.
    """

    corpus: str
    split: str
    dialogues: int
    turns: int
    rewards: tuple[str, ...]
    rows: tuple[AuditRow, ...]


_Turns = Callable[[Reward], Iterator[tuple[str, ClosedTurn]]]
"""Function from a reward to the turns that it scores, each with its dialogue's id."""


def audit(
    split: Split,
    rewards: Sequence[Reward],
    dialogue_ids: Sequence[str],
    *,
    played: Mapping[str, Iterable[Episode]] | None = None,
    seed: int = 0,
    on_row: Callable[[str], None] | None = None,
) -> Audit:
    """Answer dialogues with every exploit in `corruptions`, and score the answers.

    Args:
        split: split of the dialogues.
        rewards: rewards to audit.
        dialogue_ids: ids of the dialogues.
        played: episodes of the same dialogues, by policy; they are scored too, and read once for
            each reward.
        seed: seed of the exploits and of the bootstrap.
        on_row: called with the name of each kind of answer before it is scored.

    Raises:
        JudgeError: a reward could not score any answer; names the first reason.
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
    """Return the answers of every exploit, each adapted to the weights of the scoring reward."""
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


def audit_header(audit: Audit) -> tuple[str, ...]:
    """Return the names of the columns of an audit's table."""
    return ("answer", *(title for reward in audit.rewards for title in (reward, "95 % interval")))


def audit_rows(audit: Audit) -> list[tuple[str, ...]]:
    """Return the cells of a table under `audit_header`, one row for each kind of answer."""
    return [
        (
            row.name,
            *(
                cell
                for reward in audit.rewards
                for cell in with_interval(row.scores[reward].reward)
            ),
        )
        for row in audit.rows
    ]
