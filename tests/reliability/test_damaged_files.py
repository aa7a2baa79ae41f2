"""A damaged corpus is refused with its place, or is a corpus that can be played."""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from agent_gym_env.corpus.compiler import compile_split
from agent_gym_env.corpus.corpus import Split, open_corpus
from agent_gym_env.corpus.sgd_reader import SGDReader, open_source
from agent_gym_env.corpus.store import Store
from agent_gym_env.envs.actions import parse_action
from agent_gym_env.envs.replay import Replay, ReplaySettings, recorded_action
from agent_gym_env.errors import DataError
from agent_gym_env.rewards.ground_truth import GroundTruthReward
from agent_gym_env.types import Action
from tests.corpora import write_tiny_corpus
from tests.reliability.damage import damaged
from tests.reliability.playing import sized
from tests.reliability.process import holdings, holds_no_more, in_new_process, needs_proc
from tests.timing import SOON_S

FILES = ("schema.json", "dialogues_001.json", "dialogues_002.json")


def compiled(corpus: Path, split: str, store: Path) -> Split:
    with open_source(corpus) as source:
        compile_split(SGDReader(source), split, store)
    return Split(Store(store))


def play_all(split: Split) -> int:
    """Play every dialogue as it was recorded; gives the number of turns."""
    world = ReplaySettings(split, GroundTruthReward())
    turns = 0
    for index in split.select():
        replay = Replay(world, split.task(index))
        replay.begin()
        while not replay.over:
            recorded = recorded_action(replay.recorded_turn())
            if recorded.tool_calls:
                replay.step(parse_action(Action(tool_calls=recorded.tool_calls)))
            observation, reward, _, info = replay.step(parse_action(recorded.text))
            assert reward == 1.0
            json.loads(observation["messages"])
            json.dumps(info, allow_nan=False)
            turns += 1
    return turns


def attack(corpus: Path, split: str, files: list[Path], store: Path, attempts: int) -> Counter[str]:
    """Damage one file at a time; counts what came of it."""
    random_ = random.Random(attempts)
    whole = {file: file.read_bytes() for file in files}
    outcomes: Counter[str] = Counter()
    for _ in range(attempts):
        file = random_.choice(files)
        file.write_bytes(damaged(whole[file], random_))
        refused = refusal(corpus, split, store)
        file.write_bytes(whole[file])
        if refused is None:
            outcomes["played"] += 1
            continue
        assert refused.file is not None
        assert refused.file.startswith(str(corpus))
        outcomes["refused"] += 1
        outcomes["with its dialogue"] += refused.dialogue_id is not None
        outcomes["with its turn"] += refused.turn is not None
        outcomes["with its pointer"] += refused.pointer is not None
    return outcomes


def refusal(corpus: Path, split: str, store: Path) -> DataError | None:
    """Compile and play a split; gives the error with which it was refused, if it was."""
    try:
        opened = compiled(corpus, split, store)
    except DataError as error:
        return error
    assert play_all(opened) > 0
    return None


@needs_proc
def test_a_damaged_file_is_refused_with_its_place_or_played(tmp_path: Path) -> None:
    in_new_process(attack_tiny, tmp_path)


def attack_tiny(folder: Path) -> None:
    corpus = write_tiny_corpus(folder / "corpus")
    files = [corpus / "train" / name for name in FILES]
    attack(corpus, "train", files, folder / "store", sized(100, 500))
    before = holdings()
    attempts = sized(700, 10_000)
    outcomes = attack(corpus, "train", files, folder / "store", attempts)
    after = holdings()
    print(f"{dict(outcomes)}, memory {after.memory_mb - before.memory_mb:+.1f} MB")
    assert outcomes["played"] + outcomes["refused"] == attempts
    assert outcomes["played"] > attempts / 20
    assert outcomes["with its turn"] > attempts / 20
    assert after.memory_mb - before.memory_mb < 10
    assert holds_no_more(after, before)


def test_a_damaged_file_of_sgd_is_refused_with_its_place_or_played(
    sgd_path: Path, tmp_path: Path
) -> None:
    with open_source(sgd_path) as source:
        names = ("dev/schema.json", source.shards("dev")[0])
        for name in names:
            (tmp_path / "corpus" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "corpus" / name).write_bytes(source.read(name))
    files = [tmp_path / "corpus" / name for name in names]
    attempts = sized(5, 300)
    outcomes = attack(tmp_path / "corpus", "dev", files, tmp_path / "store", attempts)
    print(dict(outcomes))
    assert outcomes["played"] + outcomes["refused"] == attempts


# Paths that are not regular files


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_tiny_corpus(tmp_path / "corpus")


def put_fifo(path: Path) -> None:
    os.mkfifo(path)


def put_folder(path: Path) -> None:
    path.mkdir()


def put_loop(path: Path) -> None:
    path.symlink_to(path.name)


def put_dangling(path: Path) -> None:
    path.symlink_to("nowhere")


def put_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def put_gigabyte(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**30)


PUTS = (put_fifo, put_folder, put_loop, put_dangling, put_device, put_gigabyte)


@pytest.mark.skipif(os.name != "posix", reason="makes what only POSIX has")
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("put", PUTS)
def test_what_is_no_file_is_refused_at_once(corpus: Path, name: str, put: object) -> None:
    path = corpus / "train" / name
    path.unlink()
    assert callable(put)
    put(path)
    began = time.perf_counter()
    with pytest.raises(DataError) as caught:
        open_corpus(corpus).split("train")
    assert caught.value.file is not None
    assert time.perf_counter() - began < SOON_S


@pytest.mark.skipif(os.name != "posix", reason="makes what only POSIX has")
@pytest.mark.parametrize("put", PUTS)
def test_what_is_no_corpus_is_refused_at_once(tmp_path: Path, put: object) -> None:
    assert callable(put)
    put(tmp_path / "corpus")
    began = time.perf_counter()
    with pytest.raises(DataError):
        open_corpus(tmp_path / "corpus").split("train")
    assert time.perf_counter() - began < SOON_S


@pytest.mark.parametrize(
    "path", ["", "\0", "x" * 5000, "https://example.org/corpus", "file:///etc"]
)
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(DataError):
        open_corpus(path)


def test_a_file_that_cannot_be_read_is_refused(corpus: Path) -> None:
    path = corpus / "train" / FILES[1]
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(DataError, match="cannot read"):
        open_corpus(corpus).split("train")
