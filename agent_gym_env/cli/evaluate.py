"""``agent-gym evaluate``, ``compare``, ``rescore`` and ``report``: what recorded episodes say."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import structs

from agent_gym_env.assembly import reward_of, rollout
from agent_gym_env.cli.arguments import (
    Subparsers,
    add_corpus,
    add_json,
    add_model,
    add_variant,
    add_world,
    policy_config,
    positive,
    reward_config,
    whole_number,
    world_arguments,
)
from agent_gym_env.cli.console import print_json, print_table, tracked
from agent_gym_env.corpus.corpus import open_corpus
from agent_gym_env.errors import STOPS_THE_RUN, LMError
from agent_gym_env.evaluation.compare import compare
from agent_gym_env.evaluation.evaluate import Evaluation, summarize
from agent_gym_env.evaluation.report import write_report
from agent_gym_env.evaluation.rescore import rescore
from agent_gym_env.evaluation.table import (
    COMPARISON_HEADER,
    HEADER,
    comparison_rows,
    domain_rows,
    rows,
)
from agent_gym_env.rewards.presets import make_reward
from agent_gym_env.rollout.episode import Episode
from agent_gym_env.rollout.episode_file import read_episodes, write_episodes


def add_commands(commands: Subparsers[argparse.ArgumentParser]) -> None:
    """Add the commands of this module."""
    evaluate = commands.add_parser("evaluate", help="play policies and say what they earn")
    add_world(evaluate, split="dev")
    evaluate.add_argument(
        "--policy",
        type=policy_config,
        action="append",
        required=True,
        help="a name, or a JSON object with options; may be repeated",
    )
    evaluate.add_argument(
        "--reward",
        type=reward_config,
        action="append",
        help="a preset (default: balanced), or a JSON object with options; may be repeated: the "
        "first is played, the others score the same episodes",
    )
    evaluate.add_argument("--episodes", type=positive, metavar="N", help="default: all dialogues")
    evaluate.add_argument("--seed", type=whole_number, default=0)
    evaluate.add_argument("--batch", type=positive, default=1, metavar="N",
                          help="play so many dialogues in step, where a policy can")  # fmt: skip
    evaluate.add_argument("--out", type=Path, metavar="DIR",
                          help="keep the episodes, and a report a reward, there")  # fmt: skip
    evaluate.add_argument("--domains", action="store_true", help="say it for each domain, too")
    add_json(evaluate)
    evaluate.set_defaults(run=_evaluate)

    comparison = commands.add_parser("compare", help="compare two policies, dialogue by dialogue")
    comparison.add_argument(
        "first", type=Path, help="episodes of one policy, as `evaluate --out` keeps them"
    )
    comparison.add_argument("second", type=Path, help="episodes of another")
    add_json(comparison)
    comparison.set_defaults(run=_compare)

    rescoring = commands.add_parser("rescore", help="score recorded episodes by another reward")
    rescoring.add_argument("episodes", type=Path, help="a file of episodes")
    rescoring.add_argument("--reward", type=reward_config, required=True)
    rescoring.add_argument("--out", type=Path, required=True, help="the file to write")
    add_corpus(rescoring)
    add_model(rescoring)
    add_variant(rescoring)
    add_json(rescoring)
    rescoring.set_defaults(run=_rescore)

    report = commands.add_parser("report", help="write an HTML page about recorded episodes")
    report.add_argument("episodes", type=Path, nargs="+", help="a file of episodes for each policy")
    report.add_argument("--out", type=Path, default=Path("report.html"))
    report.set_defaults(run=_report)


def _evaluate(options: argparse.Namespace) -> int:
    rewards = options.reward or [{"name": "balanced"}]
    world = world_arguments(options)
    by_reward: list[list[tuple[Evaluation, list[Episode]]]] = [[] for _ in rewards]
    stopped: LMError | None = None
    for number, policy in enumerate(options.policy):
        play = partial(
            rollout,
            policy,
            episodes=options.episodes,
            seed=options.seed,
            batch=options.batch,
            reward=rewards[0],
            **world,
        )
        twice = policy["name"] in [other["name"] for other in options.policy[:number]]
        name = f"{policy['name']}-{number + 1}" if twice else policy["name"]
        run = _UntilStopped(tracked(name, play))
        played: Iterable[Episode] = run
        if twice:
            played = (structs.replace(episode, policy=name) for episode in run)
        if options.out is not None:
            played = write_episodes(options.out / f"{name}.jsonl", played)
        episodes = list(played)
        stopped = run.error
        if stopped and not episodes:
            raise stopped
        by_reward[0].append((summarize(episodes), episodes))
        for group, config in zip(by_reward[1:], rewards[1:], strict=True):
            reward = reward_of(config, **world)
            rescored = [rescore(episode, reward) for episode in episodes]
            group.append((summarize(rescored), rescored))
        if stopped:
            break
    found: dict[str, list[Any]] = {"evaluations": [], "comparisons": []}
    for group in by_reward:
        evaluations = [evaluation for evaluation, _ in group]
        others = () if stopped else group[1:]
        comparisons = [compare(group[0][1], episodes) for _, episodes in others]
        found["evaluations"] += evaluations
        found["comparisons"] += comparisons
        if not options.json:
            _print_evaluations(evaluations)
            if options.domains:
                header = ["domain", *(evaluation.policy for evaluation in evaluations)]
                print_table(header, domain_rows(evaluations))
            if comparisons:
                print_table(COMPARISON_HEADER, comparison_rows(comparisons))
        if options.out is not None:
            name = f"report-{evaluations[0].setting.reward}.html"
            write_report(options.out / name, group, comparisons)
    if options.json:
        print_json(found)
    return _exit_code([episodes for _, episodes in by_reward[0]], stopped)


class _UntilStopped:
    """Passes episodes on, up to the error that stops the run.

    Attributes:
        error: why the run stopped; ``None`` while it has not.
    """

    def __init__(self, episodes: Iterable[Episode]) -> None:
        self._episodes = episodes
        self.error: LMError | None = None

    def __iter__(self) -> Iterator[Episode]:
        try:
            yield from self._episodes
        except STOPS_THE_RUN as error:
            self.error = error


def _exit_code(runs: Iterable[list[Episode]], stopped: LMError | None) -> int:
    """Say on the standard error output what went wrong."""
    code = 0
    for episodes in runs:
        failed = [episode for episode in episodes if episode.error is not None]
        if failed:
            code = 1
            print(
                f"agent-gym: {failed[0].policy}: {len(failed)} of {len(episodes)} episodes failed; "
                f"the first, dialogue {failed[0].dialogue_id}: {failed[0].error}",
                file=sys.stderr,
            )
    if stopped:
        print(f"agent-gym: stopped: {stopped}", file=sys.stderr)
    return 3 if stopped else code


def _print_evaluations(evaluations: list[Evaluation]) -> None:
    setting, counts = evaluations[0].setting, evaluations[0].counts
    title = f"reward {setting.reward!r}, split {setting.split!r}, {counts.episodes} dialogues"
    print_table(HEADER, rows(evaluations), title)
    for evaluation in evaluations:
        counts = evaluation.counts
        if counts.unscored_turns or counts.failed_episodes:
            print(
                f"{evaluation.policy}: {counts.unscored_turns} turns without a reward are left "
                f"out; failed episodes: {counts.failed_episodes or 'none'}"
            )


def _compare(options: argparse.Namespace) -> None:
    comparison = compare(read_episodes(options.first), read_episodes(options.second))
    if options.json:
        print_json(comparison)
    else:
        print_table(COMPARISON_HEADER, comparison_rows([comparison]))


def _rescore(options: argparse.Namespace) -> None:
    first = next(read_episodes(options.episodes), None)
    if first is None:
        raise ValueError(f"{options.episodes} holds no episodes")
    corpus = open_corpus(options.corpus, schema_variant=options.schema_variant)
    split = corpus.split(first.split)
    if split.fingerprint != first.corpus:
        raise ValueError(
            f"{options.episodes} was played on another corpus, or on another state of it, than "
            f"split {split.name!r} of {corpus.source.name}"
        )
    reward = make_reward(options.reward, split, corpus)
    rescored = (rescore(episode, reward) for episode in read_episodes(options.episodes))
    evaluation = summarize(write_episodes(options.out, rescored))
    if options.json:
        print_json(evaluation)
    else:
        _print_evaluations([evaluation])


def _report(options: argparse.Namespace) -> None:
    evaluated = []
    for path in options.episodes:
        episodes = list(read_episodes(path))
        evaluated.append((summarize(episodes), episodes))
    rewards = {evaluation.setting.reward for evaluation, _ in evaluated}
    if len(rewards) > 1:
        raise ValueError(f"one report is about one reward, but these files have {sorted(rewards)}")
    print(write_report(options.out, evaluated))
