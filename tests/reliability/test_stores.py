"""A compiled split is whole or is not there, whoever builds, kills, damages or fills the disk."""

from __future__ import annotations

import multiprocessing
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

from agent_gym_env.corpus.corpus import Corpus, Split, open_corpus
from agent_gym_env.corpus.locations import sample_path
from agent_gym_env.corpus.store import Store
from agent_gym_env.errors import StorageError
from tests.corpora import write_tiny_corpus
from tests.reliability.builders import (
    SPLIT,
    build_and_read,
    build_as_nobody,
    build_for_ever,
    build_on_a_small_disk,
    content,
    open_cold,
    opened_anew,
)
from tests.reliability.playing import sized
from tests.reliability.test_damaged_files import play_all
from tests.timing import PROCESS_S

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills and limits as POSIX does")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of an empty cache."""
    monkeypatch.setenv("AGENT_GYM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def tiny(home: Path, tmp_path: Path) -> Corpus:
    return open_corpus(write_tiny_corpus(tmp_path / "corpus"))


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Children of a process that has imported what they need and has no threads."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.reliability.builders"])
    return context


def leftovers(corpus: Corpus) -> list[str]:
    """Return the names of all files beside the store and its lock."""
    folder = corpus.store_path(SPLIT).parent
    return sorted({path.name for path in folder.iterdir()} - {"train.store", "train.lock"})


# Many at once


def test_processes_that_build_and_read_at_once_all_read_the_same(
    home: Path, processes: ForkServerContext
) -> None:
    workers, rounds = sized(4, 16), sized(4, 30)
    corpus = open_corpus(sample_path())
    with ProcessPoolExecutor(workers, mp_context=processes) as pool:
        futures = [
            pool.submit(build_and_read, str(sample_path()), str(home), seed, rounds)
            for seed in range(workers)
        ]
        found = set().union(*(future.result(timeout=600) for future in futures))
    assert found == {content(opened_anew(corpus))}
    assert leftovers(corpus) == []


def test_of_processes_that_open_a_cold_cache_at_once_one_builds(
    home: Path, processes: ForkServerContext
) -> None:
    workers = sized(4, 16)
    with ProcessPoolExecutor(workers, mp_context=processes) as pool:
        opening = [pool.submit(open_cold, str(sample_path()), str(home)) for _ in range(workers)]
        assert len({future.result(timeout=600) for future in opening}) == 1


def test_a_builder_that_is_killed_leaves_a_whole_store_or_none(
    home: Path, processes: ForkServerContext
) -> None:
    corpus = open_corpus(sample_path())
    corpus.build(SPLIT)
    expected = content(opened_anew(corpus))
    random_ = random.Random(0)
    torn = 0
    for kill in range(sized(6, 50)):
        if kill % 2:
            corpus.store_path(SPLIT).unlink(missing_ok=True)
        began = processes.Event()
        builder = processes.Process(
            target=build_for_ever, args=(str(sample_path()), str(home), began)
        )
        builder.start()
        assert began.wait(60)
        time.sleep(random_.random() * 0.3)
        builder.kill()
        builder.join()
        torn += bool(leftovers(corpus))
        if corpus.store_path(SPLIT).exists():
            opened_anew(corpus).verify()
            assert content(opened_anew(corpus)) == expected
    print(f"{torn} kills left an unfinished file")
    assert torn
    corpus.build(SPLIT)
    assert content(opened_anew(corpus)) == expected
    assert leftovers(corpus) == []


def test_a_store_that_is_replaced_under_a_reader_is_read_to_its_end(
    tiny: Corpus, tmp_path: Path
) -> None:
    tiny.build(SPLIT)
    reader = opened_anew(tiny)
    expected = content(opened_anew(tiny))
    (tmp_path / "corpus" / "train" / "dialogues_002.json").write_bytes(b"[]")
    tiny.build(SPLIT)
    assert content(reader) == expected
    assert content(opened_anew(tiny)) != expected


# Damage


def outcome(path: Path, whole: bytes, damaged: bytes) -> str:
    """Open, verify and play a damaged store; gives who found it."""
    path.write_bytes(damaged)
    try:
        split = Split(Store(path))
    except StorageError:
        return "opening"
    verified = is_refused(split.verify)
    played = is_refused(lambda: play_all(split))
    assert verified or in_padding(Store(path), whole, damaged)
    if not verified:
        return "nobody: no one reads these bytes"
    return "verification and playing" if played else "verification"


def is_refused(use: Callable[[], object]) -> bool:
    try:
        use()
    except StorageError:
        return True
    return False


def in_padding(store: Store, whole: bytes, damaged: bytes) -> bool:
    """Return whether only bytes between sections have changed."""
    sections = store.header.sections.values()
    changed = {place for place, byte in enumerate(whole) if byte != damaged[place]}
    return not any(
        section.offset <= place < section.offset + section.size
        for section in sections
        for place in changed
    )


def test_every_flipped_bit_is_found_or_lies_where_no_one_reads(tiny: Corpus, home: Path) -> None:
    path = tiny.build(SPLIT)
    whole = path.read_bytes()
    random_ = random.Random(0)
    outcomes: Counter[str] = Counter()
    for _ in range(sized(400, 5000)):
        bit = random_.randrange(8 * len(whole))
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        outcomes[outcome(home / "damaged.store", whole, bytes(damaged))] += 1
    print(dict(outcomes))
    assert {"opening", "verification", "verification and playing"} <= set(outcomes)


def test_every_truncation_is_found_by_opening(tiny: Corpus, home: Path) -> None:
    whole = tiny.build(SPLIT).read_bytes()
    random_ = random.Random(0)
    for _ in range(sized(200, 2000)):
        cut = whole[: random_.randrange(len(whole))]
        assert outcome(home / "cut.store", whole, cut) == "opening"


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: b"x",
        lambda whole: whole[:-1],
        lambda whole: whole[:100],
        lambda whole: bytes(len(whole)),
        lambda whole: whole + b"\0",
    ],
)
def test_a_store_that_is_found_damaged_when_opened_is_built_anew(
    tiny: Corpus, damage: Callable[[bytes], bytes]
) -> None:
    path = tiny.build(SPLIT)
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert len(tiny.split(SPLIT)) == 3
    assert path.read_bytes() == whole


def test_a_folder_in_the_store_s_place_is_a_storage_error(tiny: Corpus) -> None:
    tiny.store_path(SPLIT).mkdir(parents=True)
    with pytest.raises(StorageError):
        tiny.split(SPLIT)


# Disks that take nothing


def test_a_full_disk_is_a_storage_error_and_leaves_nothing(
    tiny: Corpus, home: Path, processes: ForkServerContext
) -> None:
    size = tiny.build(SPLIT).stat().st_size
    shutil.rmtree(home)
    for most in random.Random(0).sample(range(size), sized(8, 50)):
        refused = run(processes, build_on_a_small_disk, tiny.name, str(home), most)
        assert "cannot write" in refused
        assert not tiny.store_path(SPLIT).exists()
        assert leftovers(tiny) == []
    assert run(processes, build_on_a_small_disk, tiny.name, str(home), 2 * size) == ""
    tiny.split(SPLIT).verify()


def run(context: ForkServerContext, job: Callable[..., str], *arguments: object) -> str:
    """Run a job in a separate process."""
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(job, *arguments).result(timeout=PROCESS_S)


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that every user may read."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_a_cache_that_may_not_be_written_is_a_storage_error(
    public: Path, processes: ForkServerContext
) -> None:
    corpus, home = write_tiny_corpus(public / "corpus"), public / "home"
    home.mkdir(mode=0o555)
    assert "AGENT_GYM_HOME" in run(processes, build_as_nobody, str(corpus), str(home))


def test_a_split_that_is_compiled_is_read_where_nothing_may_be_written(
    public: Path, monkeypatch: pytest.MonkeyPatch, processes: ForkServerContext
) -> None:
    corpus, home = write_tiny_corpus(public / "corpus"), public / "home"
    monkeypatch.setenv("AGENT_GYM_HOME", str(home))
    opened = open_corpus(corpus)
    expected = content(opened.split(SPLIT))
    opened.store_path(SPLIT).chmod(0o444)
    folders = [home, *(path for path in home.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    assert run(processes, build_as_nobody, str(corpus), str(home)) == expected
    for folder in folders:
        folder.chmod(0o755)
