"""Playing the policies of ``agent-gym evaluate``: into journals under ``--out``, or in memory."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from msgspec import structs

from agent_gym_env.assembly import open_player, plan_collection, rollout
from agent_gym_env.cli.arguments import world_arguments
from agent_gym_env.cli.console import progress, tracked
from agent_gym_env.errors import STOPS_THE_RUN, StorageError
from agent_gym_env.rollout.collect import Progress, run_collection
from agent_gym_env.rollout.episode import Episode
from agent_gym_env.rollout.jobs import Collection
from agent_gym_env.rollout.journal.format import check_same_run, read_begun
from agent_gym_env.rollout.journal.reading import read_played, write_episodes
from agent_gym_env.rollout.runners import LockstepRunner

JOURNALS = "journal"
"""Folder under ``--out`` with a journal for each policy, from which a run goes on."""


class Stop:
    """The reason why a run was stopped; what was played is summed up all the same.

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


def play_policies(
    options: argparse.Namespace, reward: Mapping[str, Any], stop: Stop
) -> list[list[Episode]]:
    """Play each policy until the run is stopped.

    Raises:
        ResumeMismatchError: a journal was begun with another configuration.
        StorageError: the disk does not take what is needed, or a file is damaged.
    """
    policies = list(zip(_names(options.policy), options.policy, strict=True))
    kept: dict[str, Collection] = {}
    if options.out is not None:
        # Check all before the first is played, which may take hours.
        kept = {name: _plan(options, name, policy, reward) for name, policy in policies}
    played = []
    for name, policy in policies:
        if options.out is None:
            played.append(_play_in_memory(options, name, policy, reward, stop))
        else:
            played.append(_play_into_journal(options, name, kept[name], stop))
        if stop.reason:
            break
    return played


def _names(policies: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a unique name for each policy: the second of one name gets its number, too."""
    names = [policy["name"] for policy in policies]
    for number, name in enumerate(names):
        yield f"{name}-{number + 1}" if name in names[:number] else name


def _play_in_memory(
    options: argparse.Namespace,
    name: str,
    policy: Mapping[str, Any],
    reward: Mapping[str, Any],
    stop: Stop,
) -> list[Episode]:
    play = partial(
        rollout,
        policy,
        episodes=options.episodes,
        seed=options.seed,
        batch=options.batch,
        reward=reward,
        **world_arguments(options),
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
    options: argparse.Namespace, name: str, policy: Mapping[str, Any], reward: Mapping[str, Any]
) -> Collection:
    """Return the configuration of a policy's journal; `agent-gym rollout` has the same ones."""
    collection = plan_collection(
        policy,
        episodes=options.episodes,
        play_again=False,
        seed=options.seed,
        reward=reward,
        max_episode_steps=None,
        **world_arguments(options),
    )
    begun = read_begun(options.out / JOURNALS / name)
    if begun is not None:
        check_same_run(begun, collection.as_json(), options.out / JOURNALS / name)
    elif (file := options.out / f"{name}.jsonl").exists():
        raise StorageError(
            f"{file} exists, but there is no journal of it in {options.out / JOURNALS / name}, so "
            "the run cannot be resumed. Choose another --out, or move the file away"
        )
    return collection


def _play_into_journal(
    options: argparse.Namespace, name: str, collection: Collection, stop: Stop
) -> list[Episode]:
    """Play the jobs that a policy's journal lacks, and write its episodes in order."""
    folder = options.out / JOURNALS / name
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
            LockstepRunner(options.batch, or_serial=True),
            retry_failed=options.retry_failed,
            on_progress=show,
        )
    if last is not None:
        _tell_what_was_there(name, last)
    if read_begun(folder) is None:
        return []
    (policy,) = collection.policies
    episodes = [
        structs.replace(episode, policy=_renamed(episode, policy, name))
        for episode in read_played(folder)
    ]
    return list(write_episodes(options.out / f"{name}.jsonl", episodes))


def _renamed(episode: Episode, policy: Mapping[str, Any], name: str) -> str:
    """Return the name of a policy in its records: its own, but for the second of one name."""
    return episode.policy if name == policy["name"] else name


def _tell_what_was_there(name: str, last: Progress) -> None:
    before = last.done + last.failed - last.played
    torn = f"; {last.healed_bytes} bytes of a torn line were cut off" if last.healed_bytes else ""
    if before > 0 or torn:
        print(
            f"agent-gym: {name}: {before} of {last.jobs} episodes were there already{torn}",
            file=sys.stderr,
        )
