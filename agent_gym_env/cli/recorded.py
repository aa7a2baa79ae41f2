"""``agent-gym compare``, ``rescore`` and ``report``: commands that read recorded episodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from agent_gym_env.cli.console import print_json, print_table
from agent_gym_env.cli.settings import Compare, Report, Rescore
from agent_gym_env.corpus.corpus import open_corpus
from agent_gym_env.errors import DataError, JudgeError
from agent_gym_env.evaluation.compare import Comparison, compare
from agent_gym_env.evaluation.evaluate import Evaluation, summarize
from agent_gym_env.evaluation.report import write_report
from agent_gym_env.evaluation.rescore import check_kind, require_scores, rescore
from agent_gym_env.evaluation.table import (
    COMPARISON_HEADER,
    FIGURES_COMPARED_HEADER,
    HEADER,
    comparison_rows,
    figures_compared_rows,
    rows,
    simulation_tables,
)
from agent_gym_env.rewards.base import Reward
from agent_gym_env.rewards.presets import make_reward_for
from agent_gym_env.rewards.task import TASK_REWARD_NAMES, TaskReward, make_task_reward
from agent_gym_env.rollout.episode import Episode
from agent_gym_env.rollout.journal.format import read_manifest
from agent_gym_env.rollout.journal.reading import read_episodes, write_episodes


def print_evaluations(evaluations: Sequence[Evaluation]) -> None:
    """Print the figures of policies, and how many turns their means leave out."""
    setting, counts = evaluations[0].setting, evaluations[0].counts
    title = f"reward {setting.reward!r}, split {setting.split!r}, {counts.dialogues} dialogues"
    if setting.user is None:
        print_table(HEADER, rows(evaluations), title)
    else:
        title += f", {counts.episodes} episodes, simulated user {setting.user}"
        _print_simulated(evaluations, title)
    for evaluation in evaluations:
        counts = evaluation.counts
        if counts.unscored_turns or counts.failed_episodes:
            print(
                f"{evaluation.policy}: {counts.unscored_turns} turns without a reward are left "
                f"out; failed episodes: {counts.failed_episodes or 'none'}"
            )


def _print_simulated(evaluations: Sequence[Evaluation], title: str) -> None:
    first, *others = simulation_tables(evaluations)
    for table in (first._replace(title=title), *others):
        print_table(table.header, table.rows, table.title, keys=table.keys)
    for evaluation in evaluations:
        reasons = {} if evaluation.simulated is None else evaluation.simulated.reasons
        if reasons:
            listed = ", ".join(f"{reason} x{count}" for reason, count in reasons.items())
            print(f"{evaluation.policy}: not strict in {listed}")


def print_comparisons(comparisons: Sequence[Comparison]) -> None:
    """Print the differences between policies: in reward, or in success where it is known."""
    if comparisons[0].strict is None:
        print_table(COMPARISON_HEADER, comparison_rows(comparisons), keys=2)
    else:
        print_table(FIGURES_COMPARED_HEADER, figures_compared_rows(comparisons), keys=3)


def compare_files(settings: Compare) -> None:
    """Print how the rewards of two policies differ on the same dialogues."""
    sides = (require_scores(_episodes(path)) for path in (settings.first, settings.second))
    comparison = compare(*sides)
    if not (comparison.reward.count or comparison.headline.count):
        raise JudgeError(
            f"no turn has a reward in both {settings.first} and {settings.second}, so there is "
            "nothing to compare"
        )
    if settings.json:
        print_json(comparison)
    else:
        print_comparisons([comparison])


def _episodes(path: Path) -> Iterator[Episode]:
    """Yield the episodes of a file or folder.

    Raises:
        DataError: it holds none, or one cannot be read.
    """
    episode = None
    for episode in read_episodes(path):
        yield episode
    if episode is None:
        raise DataError("expected episodes, found none", file=str(path))


def rescore_file(settings: Rescore) -> None:
    """Write episodes with the scores of another reward, and print the summary.

    Raises:
        ValueError: the output is the input, or the episodes are of another corpus.
    """
    first = next(_episodes(settings.episodes))
    if settings.out.exists() and settings.out.resolve().is_relative_to(settings.episodes.resolve()):
        raise ValueError(f"--out {settings.out} would overwrite what is read: name another file")
    reward = _reward_for(first, settings)
    rescored = (rescore(episode, reward) for episode in _episodes(settings.episodes))
    evaluation = summarize(write_episodes(settings.out, require_scores(rescored)))
    if settings.json:
        print_json(evaluation)
    else:
        print_evaluations([evaluation])


def _reward_for(first: Episode, settings: Rescore) -> Reward | TaskReward:
    """Make the reward; one of simulated dialogues does not read the corpus.

    Raises:
        ValueError: the episodes are of another corpus, or of a kind that the reward cannot score.
    """
    if settings.reward["name"] in TASK_REWARD_NAMES:
        reward = make_task_reward(settings.reward)
        check_kind(first, reward)
        return reward
    corpus = open_corpus(settings.corpus, schema_variant=settings.schema_variant)
    split = corpus.split(first.split)
    if split.fingerprint != first.corpus:
        raise ValueError(
            f"{settings.episodes} was played on another corpus, or on another state of it, than "
            f"split {split.name!r} of {corpus.name}"
        )
    return make_reward_for(settings.reward, split, corpus)


def report(settings: Report) -> None:
    """Write the page and print its path.

    Raises:
        ValueError: the files were scored by different rewards.
    """
    evaluated = []
    for path in settings.episodes:
        episodes = list(_episodes(path))
        evaluated.append((summarize(episodes), episodes))
    rewards = {evaluation.setting.reward for evaluation, _ in evaluated}
    if len(rewards) > 1:
        raise ValueError(f"one report is about one reward, but these files have {sorted(rewards)}")
    configurations = [_configuration(path) for path in settings.episodes]
    page = write_report(settings.out, evaluated, configurations=configurations)
    if settings.json:
        print_json({"report": str(page)})
    else:
        print(page)


def _configuration(path: Path) -> dict[str, Any] | None:
    """Return the policy's configuration, if the folder is a journal of one policy."""
    manifest = read_manifest(path) if path.is_dir() else None
    policies = manifest.config.get("policies", []) if manifest else []
    return dict(policies[0]) if len(policies) == 1 else None
