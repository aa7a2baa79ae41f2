"""Functions that the tests of the store run on a compiled split in separate processes."""

from __future__ import annotations

import hashlib
import os
import random
import resource
from multiprocessing.synchronize import Event
from pathlib import Path

import msgspec

from agent_gym_env.corpus.corpus import Corpus, Split, open_corpus
from agent_gym_env.corpus.store import Store
from agent_gym_env.errors import StorageError

SPLIT = "train"


def content(split: Split) -> str:
    """Hash all that a split says, read through its map."""
    tasks = [split.task(index) for index in range(len(split))]
    rows = [split.entities.rows(tool, {}) for tool in split.tools]
    said = (tasks, rows, split.dialogue_ids(), split.schema, split.word_counts)
    return hashlib.sha256(msgspec.msgpack.encode(said)).hexdigest()


def opened_anew(corpus: Corpus) -> Split:
    """Open the store itself: a process opens a split only once otherwise."""
    return Split(Store(corpus.store_path(SPLIT)))


def build_and_read(path: str, home: str, seed: int, rounds: int) -> set[str]:
    """Open, build and read in random order; gives what was read."""
    os.environ["AGENT_GYM_HOME"] = home
    random_ = random.Random(seed)
    found = {content(open_corpus(path).split(SPLIT))}
    for _ in range(rounds):
        corpus = open_corpus(path)
        if random_.random() < 0.3:
            corpus.build(SPLIT)
        split = opened_anew(corpus)
        split.verify()
        found.add(content(split))
    return found


def open_cold(path: str, home: str) -> int:
    """Open a split that may not be compiled yet; gives the number of the store's file."""
    os.environ["AGENT_GYM_HOME"] = home
    corpus = open_corpus(path)
    corpus.split(SPLIT)
    return corpus.store_path(SPLIT).stat().st_ino


def build_for_ever(path: str, home: str, began: Event) -> None:
    """Build until killed."""
    os.environ["AGENT_GYM_HOME"] = home
    corpus = open_corpus(path)
    began.set()
    while True:
        corpus.build(SPLIT)


def build_on_a_small_disk(path: str, home: str, most_bytes: int) -> str:
    """Build where no file may be larger; gives what went wrong."""
    os.environ["AGENT_GYM_HOME"] = home
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, resource.RLIM_INFINITY))
    try:
        open_corpus(path).split(SPLIT)
    except StorageError as error:
        return str(error)
    return ""


def build_as_nobody(path: str, home: str) -> str:
    """Open as a user who may write nothing; gives what was read or went wrong."""
    os.environ["AGENT_GYM_HOME"] = home
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    try:
        return content(open_corpus(Path(path)).split(SPLIT))
    except StorageError as error:
        return str(error)
