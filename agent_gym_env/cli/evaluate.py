"""``agent-gym evaluate``, ``compare``, ``rescore`` and ``report``: what recorded episodes say."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from agent_gym_env.assembly import make_reward
from agent_gym_env.cli.arguments import (
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
from agent_gym_env.cli.console import print_json, print_table
from agent_gym_env.cli.evaluate_play import Stop, play_policies
from agent_gym_env.cli.exit_codes import FAILED, STOPPED, VERDICTS_ARE_KEPT, stopped
from agent_gym_env.cli.parser import Subparsers
from agent_gym_env.corpus.corpus import open_corpus
from agent_gym_env.errors import DataError, JudgeError, LMError
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
from agent_gym_env.evaluation.unscored import check_scores, require_scores
from agent_gym_env.rewards.base import Reward
from agent_gym_env.rewards.presets import make_reward_for
from agent_gym_env.rollout.episode import Episode
from agent_gym_env.rollout.journal.format import read_manifest
from agent_gym_env.rollout.journal.reading import read_episodes, write_episodes


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
                          help="keep the episodes, and a report a reward, there; the same command "
                          "goes on after an interruption")  # fmt: skip
    evaluate.add_argument("--retry-failed", action="store_true",
                          help="with --out: play those that failed again")  # fmt: skip
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
    rescoring.set_defaults(run=_rescore, goes_on=VERDICTS_ARE_KEPT)

    report = commands.add_parser("report", help="write an HTML page about recorded episodes")
    report.add_argument("episodes", type=Path, nargs="+", help="a file of episodes for each policy")
    report.add_argument(
        "--out", type=Path, default=Path("out/report.html"), help="default: %(default)s"
    )
    report.set_defaults(run=_report)


def _evaluate(options: argparse.Namespace) -> int:
    stop = Stop()
    with stop.noted():
        code = _evaluate_until(stop, options)
    if stop.reason is None:
        return code
    if isinstance(stop.reason, LMError):
        print(f"agent-gym: stopped: {stop.reason}", file=sys.stderr)
    if options.out is None:
        print("agent-gym: stopped; nothing is kept without --out", file=sys.stderr)
        return STOPPED
    return stopped("the same command")


def _evaluate_until(stop: Stop, options: argparse.Namespace) -> int:
    """Play, sum up what was played, even if the run was stopped, and return the exit code."""
    rewards = options.reward or [{"name": "balanced"}]
    played = play_policies(options, rewards[0], stop)
    if not any(played):
        return FAILED
    others = (make_reward(config, **world_arguments(options)) for config in rewards[1:])
    by_reward = [played, *(_rescored(played, reward, stop) for reward in others)]
    found: dict[str, list[Any]] = {"evaluations": [], "comparisons": []}
    for group in by_reward:
        evaluated = [(summarize(episodes), episodes) for episodes in group if episodes]
        if not evaluated:
            break
        evaluations = [evaluation for evaluation, _ in evaluated]
        paired = () if stop.reason else group[1:]
        comparisons = [compare(group[0], episodes) for episodes in paired]
        found["evaluations"] += evaluations
        found["comparisons"] += comparisons
        if not options.json:
            _print_evaluations(evaluations)
            if options.domains:
                header = ["domain", *(evaluation.policy for evaluation in evaluations)]
                print_table(header, domain_rows(evaluations))
            if comparisons:
                print_table(COMPARISON_HEADER, comparison_rows(comparisons), keys=2)
        if options.out is not None:
            name = f"report-{evaluations[0].setting.reward}.html"
            configurations = options.policy
            write_report(options.out / name, evaluated, comparisons, configurations=configurations)
    if options.json:
        print_json(found)
    return _exit_code(by_reward)


def _rescored(
    played: Sequence[Sequence[Episode]], reward: Reward, stop: Stop
) -> list[list[Episode]]:
    """Score episodes by another reward until the run is stopped."""
    groups: list[list[Episode]] = []
    with stop.noted():
        for episodes in played:
            groups.append([])
            # `extend` keeps what came before an exception.
            groups[-1].extend(rescore(episode, reward) for episode in episodes)
    return groups


def _exit_code(by_reward: Sequence[Sequence[list[Episode]]]) -> int:
    """Print what went wrong on the standard error output, and return the exit code."""
    code = 0
    for episodes in by_reward[0]:
        failed = [episode for episode in episodes if episode.error is not None]
        if failed:
            code = FAILED
            print(
                f"agent-gym: {failed[0].policy}: {len(failed)} of {len(episodes)} episodes failed; "
                f"the first, dialogue {failed[0].dialogue_id}: {failed[0].error}",
                file=sys.stderr,
            )
    unscored = [_is_unscored(episodes) for episodes in chain.from_iterable(by_reward)]
    return FAILED if any(unscored) else code


def _is_unscored(episodes: list[Episode]) -> bool:
    """Return whether no turn of a policy has a reward, and print the reason."""
    try:
        check_scores(episodes)
    except JudgeError as error:
        print(f"agent-gym: {episodes[0].policy}: {error}", file=sys.stderr)
        return True
    return False


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
    sides = (require_scores(_episodes(path)) for path in (options.first, options.second))
    comparison = compare(*sides)
    if not comparison.reward.count:
        raise JudgeError(
            f"no turn has a reward in both {options.first} and {options.second}, so there is "
            "nothing to compare"
        )
    if options.json:
        print_json(comparison)
    else:
        print_table(COMPARISON_HEADER, comparison_rows([comparison]), keys=2)


def _episodes(path: Path) -> Iterator[Episode]:
    """Read episodes.

    Raises:
        DataError: there are none, or one cannot be read.
    """
    episode = None
    for episode in read_episodes(path):
        yield episode
    if episode is None:
        raise DataError("there are no episodes", file=str(path))


def _rescore(options: argparse.Namespace) -> None:
    first = next(_episodes(options.episodes))
    corpus = open_corpus(options.corpus, schema_variant=options.schema_variant)
    split = corpus.split(first.split)
    if split.fingerprint != first.corpus:
        raise ValueError(
            f"{options.episodes} was played on another corpus, or on another state of it, than "
            f"split {split.name!r} of {corpus.name}"
        )
    reward = make_reward_for(options.reward, split, corpus)
    rescored = (rescore(episode, reward) for episode in _episodes(options.episodes))
    evaluation = summarize(write_episodes(options.out, require_scores(rescored)))
    if options.json:
        print_json(evaluation)
    else:
        _print_evaluations([evaluation])


def _report(options: argparse.Namespace) -> None:
    evaluated = []
    for path in options.episodes:
        episodes = list(_episodes(path))
        evaluated.append((summarize(episodes), episodes))
    rewards = {evaluation.setting.reward for evaluation, _ in evaluated}
    if len(rewards) > 1:
        raise ValueError(f"one report is about one reward, but these files have {sorted(rewards)}")
    configurations = [_configuration(path) for path in options.episodes]
    print(write_report(options.out, evaluated, configurations=configurations))


def _configuration(path: Path) -> dict[str, Any] | None:
    """Read the policy's configuration where a journal keeps it."""
    manifest = read_manifest(path) if path.is_dir() else None
    policies = manifest.config.get("policies", []) if manifest else []
    return dict(policies[0]) if len(policies) == 1 else None
