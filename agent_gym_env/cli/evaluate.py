"""``agent-gym evaluate``: play policies, into journals under ``--out`` or in memory, and sum up."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from msgspec import structs, to_builtins

from agent_gym_env.assembly import make_reward, open_player, plan_collection, rollout
from agent_gym_env.cli.console import print_json, print_table, progress, tracked
from agent_gym_env.cli.events import wanted_events
from agent_gym_env.cli.exit_codes import ExitCode, stopped
from agent_gym_env.cli.recorded import print_comparisons, print_evaluations
from agent_gym_env.cli.settings import Evaluate
from agent_gym_env.errors import STOPS_THE_RUN, JudgeError, LMError, StorageError
from agent_gym_env.evaluation.compare import compare
from agent_gym_env.evaluation.evaluate import Evaluation, summarize
from agent_gym_env.evaluation.report import write_report
from agent_gym_env.evaluation.rescore import check_scores, rescore
from agent_gym_env.evaluation.table import domain_rows
from agent_gym_env.rewards.base import Reward
from agent_gym_env.rewards.task import TaskReward, make_task_reward
from agent_gym_env.rollout.collect import Progress, run_collection
from agent_gym_env.rollout.episode import Episode
from agent_gym_env.rollout.jobs import Collection
from agent_gym_env.rollout.journal.format import check_same_run, read_begun
from agent_gym_env.rollout.journal.reading import read_played, write_episodes
from agent_gym_env.rollout.runners import LockstepRunner
from agent_gym_env.training.trackers import Tracker, open_trackers

_JOURNALS = "journal"
"""Folder under ``--out`` with a journal for each policy, from which a run resumes."""


def evaluate(settings: Evaluate) -> int:
    """Play policies and print, write or compare their rewards; return the exit code."""
    stop = _Stop()
    names = ("policy", "reward", "split", "episodes", "seed", "trials")
    shown = {name: getattr(settings, name) for name in names}
    out = settings.out or Path("out/evaluate")
    with open_trackers(settings.track, out=out, settings=shown) as tracker, stop.noted():
        code = _evaluate_until(stop, settings, tracker)
    if stop.reason is None:
        return code
    if isinstance(stop.reason, LMError):
        print(f"agent-gym: stopped: {stop.reason}", file=sys.stderr)
    if settings.out is None:
        print("agent-gym: stopped; nothing is kept without --out", file=sys.stderr)
        return ExitCode.STOPPED
    return stopped("the same command again")


def _evaluate_until(stop: _Stop, settings: Evaluate, tracker: Tracker) -> int:
    """Play, sum up what was played, even if the run was stopped, and return the exit code."""
    first, *more = settings.reward or (settings.default_reward(),)
    played = _play_policies(settings, first, stop)
    if not any(played):
        return ExitCode.FAILED
    others = (_make_reward(config, settings) for config in more)
    by_reward = [played, *(_rescored(played, reward, stop) for reward in others)]
    found: dict[str, list[Any]] = {"evaluations": [], "comparisons": []}
    for group in by_reward:
        evaluated = [(summarize(episodes), episodes) for episodes in group if episodes]
        if not evaluated:
            break
        evaluations = [evaluation for evaluation, _ in evaluated]
        paired = () if stop.reason else group[1:]
        comparisons = [compare(group[0], episodes) for episodes in paired]
        for evaluation in evaluations:
            tracker.log(0, _figures(evaluation))
        found["evaluations"] += evaluations
        found["comparisons"] += comparisons
        if events := wanted_events():
            for evaluation in evaluations:
                events.emit("evaluation", {"evaluation": to_builtins(evaluation)})
        elif not settings.json:
            print_evaluations(evaluations)
            if settings.domains:
                header = ["domain", *(evaluation.policy for evaluation in evaluations)]
                print_table(header, domain_rows(evaluations))
            if comparisons:
                print_comparisons(comparisons)
        if settings.out is not None:
            name = f"report-{evaluations[0].setting.reward}.html"
            configurations = settings.policy
            write_report(settings.out / name, evaluated, comparisons, configurations=configurations)
    if settings.json:
        print_json(found)
    return _exit_code(by_reward)


def _figures(evaluation: Evaluation) -> dict[str, float]:
    """Return the figures of an evaluation for a tracker."""
    of = evaluation.policy
    figures = {
        f"{of}/{evaluation.setting.reward}": evaluation.reward.mean,
        f"{of}/episodes": evaluation.counts.episodes,
    }
    if evaluation.simulated is not None:
        figures[f"{of}/strict_success"] = evaluation.simulated.strict.mean
    return {name: value for name, value in figures.items() if value is not None}


def _make_reward(config: Mapping[str, Any], settings: Evaluate) -> Reward | TaskReward:
    if settings.is_simulation:
        return make_task_reward(config)
    return make_reward(config, **settings.environment())


def _rescored(
    played: Sequence[Sequence[Episode]], reward: Reward | TaskReward, stop: _Stop
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
    code = ExitCode.DONE
    for episodes in by_reward[0]:
        failed = [episode for episode in episodes if episode.error is not None]
        if failed:
            code = ExitCode.FAILED
            print(
                f"agent-gym: {failed[0].policy}: {len(failed)} of {len(episodes)} episodes failed; "
                f"the first, dialogue {failed[0].dialogue_id}: {failed[0].error}",
                file=sys.stderr,
            )
    unscored = [_is_unscored(episodes) for episodes in chain.from_iterable(by_reward)]
    return ExitCode.FAILED if any(unscored) else code


def _is_unscored(episodes: list[Episode]) -> bool:
    """Return whether no turn of a policy has a reward, and print the reason."""
    try:
        check_scores(episodes)
    except JudgeError as error:
        print(f"agent-gym: {episodes[0].policy}: {error}", file=sys.stderr)
        return True
    return False


class _Stop:
    """The reason why a run was stopped; what was played until then is summed up.

    Attributes:
        reason: the error, or the Ctrl-C or SIGTERM; ``None`` while nothing has stopped the run.
    """

    def __init__(self) -> None:
        self.reason: BaseException | None = None

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Run a part of the work; note a Ctrl-C, SIGTERM or error that stops the run."""
        try:
            yield
        except (KeyboardInterrupt, *STOPS_THE_RUN) as error:
            self.reason = error


def _play_policies(
    settings: Evaluate, reward: Mapping[str, Any], stop: _Stop
) -> list[list[Episode]]:
    """Play each policy until the run is stopped.

    Raises:
        ResumeMismatchError: a journal was begun with another configuration.
        StorageError: the disk does not take what is needed, or a file is damaged.
    """
    policies = list(zip(_names(settings.policy), settings.policy, strict=True))
    kept: dict[str, Collection] = {}
    if settings.out is not None:
        # Check all before the first is played, which may take hours.
        kept = {
            name: _plan(settings, settings.out, name, policy, reward) for name, policy in policies
        }
    played = []
    for name, policy in policies:
        if settings.out is None:
            played.append(_play_in_memory(settings, name, policy, reward, stop))
        else:
            played.append(_play_into_journal(settings, settings.out, kept[name], name, stop))
        if stop.reason:
            break
    return played


def _names(policies: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a unique name for each policy: a repeated name gets a number."""
    names = [policy["name"] for policy in policies]
    for number, name in enumerate(names):
        yield f"{name}-{number + 1}" if name in names[:number] else name


def _play_in_memory(
    settings: Evaluate,
    name: str,
    policy: Mapping[str, Any],
    reward: Mapping[str, Any],
    stop: _Stop,
) -> list[Episode]:
    play = partial(
        rollout,
        policy,
        episodes=settings.episodes,
        seed=settings.seed,
        trials=settings.trials,
        batch=settings.batch,
        reward=reward,
        **settings.environment(),
    )
    episodes: list[Episode] = []
    with stop.noted():
        # `extend` keeps what came before an exception.
        episodes.extend(
            structs.replace(episode, policy=_renamed(episode, policy, name))
            for episode in tracked(name, play)
        )
    return episodes


def _plan(
    settings: Evaluate,
    out: Path,
    name: str,
    policy: Mapping[str, Any],
    reward: Mapping[str, Any],
) -> Collection:
    """Return the configuration of a policy's journal, which equals that of `agent-gym rollout`."""
    collection = plan_collection(
        policy,
        episodes=settings.episodes,
        play_again=False,
        seed=settings.seed,
        best_of=settings.trials,
        keep_all=settings.trials > 1,
        reward=reward,
        max_episode_steps=None,
        **settings.environment(),
    )
    begun = read_begun(out / _JOURNALS / name)
    if begun is not None:
        check_same_run(begun, collection.as_json(), out / _JOURNALS / name)
    elif (file := out / f"{name}.jsonl").exists():
        raise StorageError(
            f"{file} exists without a journal in {out / _JOURNALS / name}, so the run "
            "cannot be resumed. Choose another --out, or move the file away"
        )
    return collection


def _play_into_journal(
    settings: Evaluate, out: Path, collection: Collection, name: str, stop: _Stop
) -> list[Episode]:
    """Play the jobs that a policy's journal lacks, and write its episodes in order."""
    folder = out / _JOURNALS / name
    last: Progress | None = None
    with stop.noted(), progress(name) as advance:

        def show(now: Progress) -> None:
            nonlocal last
            last = now
            advance(now.done + now.failed, now.jobs)

        last = run_collection(
            collection,
            folder,
            partial(open_player, collection),
            LockstepRunner(settings.batch, or_serial=True),
            retry_failed=settings.retry_failed,
            on_progress=show,
        )
    if last is not None:
        _print_what_was_there(name, last)
    if read_begun(folder) is None:
        return []
    (policy,) = collection.policies
    episodes = [
        structs.replace(episode, policy=_renamed(episode, policy, name))
        for episode in read_played(folder)
    ]
    return list(write_episodes(out / f"{name}.jsonl", episodes))


def _renamed(episode: Episode, policy: Mapping[str, Any], name: str) -> str:
    """Return the name of a policy in its records: its own, with its number from `_names`."""
    return episode.policy + name.removeprefix(policy["name"])


def _print_what_was_there(name: str, last: Progress) -> None:
    before = last.done + last.failed - last.played
    torn = f"; {last.healed_bytes} bytes of a torn line were cut off" if last.healed_bytes else ""
    if before > 0 or torn:
        print(
            f"agent-gym: {name}: {before} of {last.jobs} episodes were there already{torn}",
            file=sys.stderr,
        )
