"""A torn end is healed and counted; what has changed inside is told with file and line."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from agent_gym_env.errors import StorageError
from agent_gym_env.rollout.jobs import Collection, JobResult
from agent_gym_env.rollout.journal.format import Entry, Manifest
from agent_gym_env.rollout.journal.reading import read_episodes
from agent_gym_env.rollout.journal.recovery import check_journal
from agent_gym_env.rollout.journal.writing import open_journal
from agent_gym_env.rollout.runners import SerialRunner
from tests.reliability.playing import sized
from tests.rollout.collecting import collection, open_player, records

JOBS = 24
SHARD_BYTES = 12_000


class Played(NamedTuple):
    """A collection and the results of its jobs."""

    what: Collection
    outcomes: list[JobResult]

    def go_on(self, folder: Path) -> Manifest:
        """Append what is missing, as a collector does that need not play."""
        with open_journal(
            folder, "episodes", self.what.as_json(), JOBS, shard_bytes=SHARD_BYTES
        ) as journal:
            for job in journal.pending():
                journal.append(self.outcomes[job].entry, self.outcomes[job].records)
            return journal.manifest


@pytest.fixture(scope="module")
def played(tiny_corpus: Path) -> Played:
    what = collection(tiny_corpus, jobs=JOBS)
    return Played(what, list(SerialRunner().run(partial(open_player, what), range(JOBS))))


class Written(NamedTuple):
    """A complete journal, and its files."""

    folder: Path
    files: dict[Path, bytes]

    def restore(self) -> None:
        for path, content in self.files.items():
            path.write_bytes(content)


@pytest.fixture
def written(played: Played, tmp_path: Path) -> Written:
    played.go_on(tmp_path)
    return Written(tmp_path, {path: path.read_bytes() for path in sorted(tmp_path.iterdir())})


def shards(written: Written) -> list[Path]:
    return [path for path in written.files if path.suffix == ".jsonl"]


def cuts(size: int) -> Iterable[int]:
    """Sizes that a file may be cut to: each of its last 4,096 bytes, or some of them."""
    step = sized(41, 1)
    return range(max(0, size - 4096), size, step)


def test_a_torn_end_is_cut_off_counted_and_collected_again(
    played: Played, written: Written
) -> None:
    expected = records(written.folder)
    last = shards(written)[-1]
    whole = written.files[last]
    ends = [0, *(place.end() for place in re.finditer(b"\n", whole))]
    tried = 0
    for size in cuts(len(whole)):
        written.restore()
        last.write_bytes(whole[:size])
        manifest = played.go_on(written.folder)
        assert manifest.healed_bytes == size - max(end for end in ends if end <= size)
        assert (manifest.done, manifest.is_complete) == (JOBS, True)
        assert records(written.folder) == expected
        tried += 1
    print(f"{tried} torn ends healed")


def refusal(use: Callable[[], object]) -> str | None:
    """Use what is damaged; what is said when it is refused."""
    try:
        use()
    except StorageError as error:
        return str(error)
    return None


def places(path: Path, whole: bytes, changed: int) -> list[str]:
    """Return the places that a refusal may name: the file, or in a shard this or the next line."""
    if path.suffix != ".jsonl":
        return [str(path)]
    line = whole.count(b"\n", 0, changed) + 1
    return [f"{path}:{line}", f"{path}:{line + 1}"]


def test_no_flipped_bit_is_missed(played: Played, written: Written) -> None:
    expected = records(written.folder)
    random_ = random.Random(0)
    paths = [*shards(written), written.folder / "manifest.json"]
    outcomes: Counter[str] = Counter()
    for _ in range(sized(60, 500)):
        path = random_.choice(paths)
        whole = written.files[path]
        bit = random_.randrange(8 * len(whole))
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        written.restore()
        path.write_bytes(damaged)
        refusals = [
            refusal(lambda: list(read_episodes(written.folder))),
            refusal(lambda: check_journal(written.folder)),
            # Last: it heals what can be healed.
            refusal(lambda: played.go_on(written.folder)),
        ]
        named = places(path, whole, bit // 8)
        assert all(any(place in said for place in named) for said in refusals if said)
        if refusals[-1] is None:
            assert records(written.folder) == expected
            healed = path == shards(written)[-1]
            outcomes["a torn end, healed" if healed else "white space of the manifest"] += 1
        else:
            assert None not in refusals
            outcomes["refused"] += 1
    print(dict(outcomes))
    assert outcomes["refused"] > 0.8 * outcomes.total()


def test_failures_are_held_to_the_same(written: Written, played: Played, tmp_path: Path) -> None:
    folder = tmp_path / "failed"
    with open_journal(folder, "episodes", played.what.as_json(), JOBS) as journal:
        for job in range(2):
            journal.append(Entry(job, error_class="OSError"), [b'{"error":"OSError: no"}'])
    path = folder / "failed.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    assert played.go_on(folder).failed == 1
    path.write_bytes(whole.replace(b"no", b"on", 1))
    with pytest.raises(StorageError, match=r"failed\.jsonl:1"):
        played.go_on(folder)
