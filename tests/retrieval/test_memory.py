from pathlib import Path

import numpy as np
import pytest

from agent_gym_env.corpus.corpus import Split, open_corpus
from agent_gym_env.errors import DataError
from agent_gym_env.retrieval.learning import held_out, learn, recall
from agent_gym_env.retrieval.memory import Memory


@pytest.fixture(scope="module")
def train() -> Split:
    return open_corpus("sample").split("train")


@pytest.fixture(scope="module")
def memory(train: Split) -> Memory:
    return learn(train, lessons=15, indexed=15)


def test_what_was_saved_is_loaded(memory: Memory, tmp_path: Path) -> None:
    path = tmp_path / "memory.npz"
    memory.save(path)
    loaded = Memory.load(path)
    assert loaded.vocabulary == memory.vocabulary
    assert np.array_equal(loaded.chooser.weights, memory.chooser.weights)
    for one, other in zip(loaded.index, memory.index, strict=True):
        assert np.asarray(one).tolist() == np.asarray(other).tolist()
    last = len(memory.index.norms) - 1
    assert loaded.template(last) == memory.template(last)


def test_learning_twice_gives_the_same_bytes(train: Split, memory: Memory, tmp_path: Path) -> None:
    memory.save(tmp_path / "one.npz")
    learn(train, lessons=15, indexed=15).save(tmp_path / "other.npz")
    one, other = Memory.load(tmp_path / "one.npz"), Memory.load(tmp_path / "other.npz")
    assert np.array_equal(one.chooser.weights, other.chooser.weights)
    for a, b in zip(one.index, other.index, strict=True):
        assert np.asarray(a).tolist() == np.asarray(b).tolist()


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 not a zip", b"\x00" * 100])
def test_a_damaged_file_is_told(damage: bytes, tmp_path: Path) -> None:
    path = tmp_path / "memory.npz"
    path.write_bytes(damage)
    with pytest.raises(DataError, match="this is not a memory"):
        Memory.load(path)


def test_a_file_cut_short_is_learned_anew(train: Split, agent_gym_home: Path) -> None:
    first = recall(train, lessons=3, indexed=3)
    (path,) = (agent_gym_home / "retrieval").glob(f"{train.fingerprint[:8]}*-3-3-*.npz")
    path.write_bytes(path.read_bytes()[:-1000])
    again = recall(train, lessons=3, indexed=3)
    assert np.array_equal(first.chooser.weights, again.chooser.weights)
    assert Memory.load(path).vocabulary == first.vocabulary


def test_held_out_dialogues_are_neither_learned_from_nor_indexed(train: Split) -> None:
    held = held_out(train, lessons=20, indexed=30)
    assert len(held) == len(train) - 50
    assert held == sorted(set(held))
    assert held_out(train, lessons=len(train), indexed=10) == []
