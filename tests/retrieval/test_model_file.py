from pathlib import Path

import numpy as np
import pytest

from agent_gym_env.corpus.corpus import Split, open_corpus
from agent_gym_env.errors import DataError
from agent_gym_env.retrieval.model_file import RetrievalModel
from agent_gym_env.retrieval.training import held_out, load_or_train, train_model


@pytest.fixture(scope="module")
def train() -> Split:
    return open_corpus("sample").split("train")


@pytest.fixture(scope="module")
def model(train: Split) -> RetrievalModel:
    return train_model(train, training_dialogues=15, indexed=15)


def test_what_was_saved_is_loaded(model: RetrievalModel, tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    model.save(path)
    loaded = RetrievalModel.load(path)
    assert loaded.vocabulary == model.vocabulary
    assert np.array_equal(loaded.classifier.weights, model.classifier.weights)
    for one, other in zip(loaded.index, model.index, strict=True):
        assert np.asarray(one).tolist() == np.asarray(other).tolist()
    last = len(model.index.norms) - 1
    assert loaded.template(last) == model.template(last)


def test_training_twice_gives_the_same_bytes(
    train: Split, model: RetrievalModel, tmp_path: Path
) -> None:
    model.save(tmp_path / "one.npz")
    train_model(train, training_dialogues=15, indexed=15).save(tmp_path / "other.npz")
    one, other = (
        RetrievalModel.load(tmp_path / "one.npz"),
        RetrievalModel.load(tmp_path / "other.npz"),
    )
    assert np.array_equal(one.classifier.weights, other.classifier.weights)
    for a, b in zip(one.index, other.index, strict=True):
        assert np.asarray(a).tolist() == np.asarray(b).tolist()


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 not a zip", b"\x00" * 100])
def test_a_damaged_file_is_told(damage: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    path.write_bytes(damage)
    with pytest.raises(DataError, match="this is not a retrieval model"):
        RetrievalModel.load(path)


def test_a_file_cut_short_is_trained_again(train: Split, agent_gym_home: Path) -> None:
    first = load_or_train(train, training_dialogues=3, indexed=3)
    (path,) = (agent_gym_home / "retrieval").glob(f"{train.fingerprint[:8]}*-3-3-*.npz")
    path.write_bytes(path.read_bytes()[:-1000])
    again = load_or_train(train, training_dialogues=3, indexed=3)
    assert np.array_equal(first.classifier.weights, again.classifier.weights)
    assert RetrievalModel.load(path).vocabulary == first.vocabulary


def test_held_out_dialogues_are_neither_trained_on_nor_indexed(train: Split) -> None:
    held = held_out(train, training_dialogues=20, indexed=30)
    assert len(held) == len(train) - 50
    assert held == sorted(set(held))
    assert held_out(train, training_dialogues=len(train), indexed=10) == []
