"""Collections that the tests of the journal run in separate processes."""

from __future__ import annotations

import os
import resource
from functools import partial
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import msgspec

from agent_gym_env.errors import StorageError
from agent_gym_env.rollout.collect import run_collection
from agent_gym_env.rollout.jobs import Collection
from agent_gym_env.rollout.runners import Runner, SerialRunner, ThreadRunner
from tests.rollout.collecting import open_player

RUNNERS: dict[str, Runner] = {"serial": SerialRunner(), "threads": ThreadRunner(4)}
SHARD_BYTES = 60_000


def collect_here(collection: Collection, folder: Path, runner: str = "serial") -> None:
    """Collect into shards so small that many are begun."""
    run_collection(
        collection,
        folder,
        partial(open_player, collection),
        RUNNERS[runner],
        shard_bytes=SHARD_BYTES,
    )


def collect_and_tell(
    home: str, collection: Collection, folder: Path, begins: Event, done: Any, runner: str
) -> None:
    """Collect; put how many jobs are done into a shared value as soon as they are."""
    os.environ["AGENT_GYM_HOME"] = home

    def tell(progress: Any) -> None:
        done.value = progress.done

    begins.set()
    run_collection(
        collection,
        folder,
        partial(open_player, collection),
        RUNNERS[runner],
        shard_bytes=SHARD_BYTES,
        on_progress=tell,
    )


def collect_on_a_small_disk(
    home: str, collection: Collection, folder: Path, file_bytes: int
) -> str:
    """Collect where no file can be larger; gives the error."""
    os.environ["AGENT_GYM_HOME"] = home
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, resource.RLIM_INFINITY))
    try:
        run_collection(collection, folder, partial(open_player, collection), SerialRunner())
    except StorageError as error:
        return str(error)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    return ""


def main(collection: str, folder: str) -> None:
    """Collect, from the command line."""
    collect_here(msgspec.json.decode(collection, type=Collection), Path(folder))
