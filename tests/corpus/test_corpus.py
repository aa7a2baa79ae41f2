"""A corpus is opened where it lies, compiled once, and selected from."""

from __future__ import annotations

import copy
import os
import pickle
import shutil
from pathlib import Path

import pytest

from agent_gym_env.corpus.corpus import Corpus, Split, open_corpus
from agent_gym_env.corpus.locations import sample_path
from agent_gym_env.corpus.sgd import SCHEMA_VARIANTS
from agent_gym_env.errors import ChecksumError, DataError, StorageError
from agent_gym_env.testing import ConformanceError, check_corpus
from tests.corpora import DEV, FIND_TEA, FIND_TRAM, TEAS, TRAIN, write_split, write_tiny_corpus


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Corpus:
    """A fresh corpus with an empty cache."""
    monkeypatch.setenv("AGENT_GYM_HOME", str(tmp_path / "home"))
    return open_corpus(write_tiny_corpus(tmp_path / "corpus"))


@pytest.fixture
def train(tiny_corpus: Path) -> Split:
    return open_corpus(tiny_corpus).split("train")


@pytest.fixture
def dev(tiny_corpus: Path) -> Split:
    return open_corpus(tiny_corpus).split("dev")


def stores(home: Path) -> list[Path]:
    return sorted(home.glob("compiled/*/*.store"))


# Opening


# The promises that a kit checks of any corpus


LACK_AN_ARGUMENT = [f"43_{number:05}" for number in range(66, 84)]
"""Dialogues of SGD's train split that reserve a hotel without a required argument."""


@pytest.mark.parametrize("variant", [None, *SCHEMA_VARIANTS])
def test_the_sample_corpus_keeps_its_promises(variant: str | None) -> None:
    check_corpus(open_corpus("sample", schema_variant=variant))


def test_the_tiny_corpus_keeps_its_promises(tiny_corpus: Path) -> None:
    check_corpus(tiny_corpus)


def test_sgd_keeps_its_promises_but_for_calls_that_lack_an_argument(sgd_path: Path) -> None:
    check_corpus(sgd_path, exceptions=LACK_AN_ARGUMENT)
    with pytest.raises(ConformanceError, match=f"{LACK_AN_ARGUMENT[-1]}.*missing_argument"):
        check_corpus(sgd_path, splits=["train"], exceptions=LACK_AN_ARGUMENT[:-1])


def test_a_split_has_its_dialogues_services_and_tools(dev: Split) -> None:
    assert (dev.name, len(dev), dev.turns) == ("dev", 2, 4)
    assert dev.services == ("Teas_1", "Trams_1")
    assert list(dev.tools) == [FIND_TEA, "Teas_1-Order", FIND_TRAM]
    assert dev.schema[0] == TEAS
    assert dev.schema_variant is None
    assert len(dev.fingerprint) == 64


def test_dialogues_are_found_by_index_and_id(train: Split) -> None:
    assert train.dialogue_ids() == [dialogue.dialogue_id for dialogue in TRAIN]
    assert [train.task(train.index(id_)).dialogue_id for id_ in train.dialogue_ids()] == (
        train.dialogue_ids()
    )


@pytest.mark.parametrize("index", [-1, 3])
def test_an_index_lies_within_the_split(train: Split, index: int) -> None:
    with pytest.raises(IndexError, match="of 3"):
        train.task(index)


def test_an_unknown_id_is_a_data_error_that_shows_one(train: Split) -> None:
    with pytest.raises(DataError, match="1_00000") as caught:
        train.index("9_9")
    assert caught.value.dialogue_id == "9_9"


def test_ids_that_repeat_across_splits_mean_their_own_split_s_dialogue(
    train: Split, dev: Split
) -> None:
    assert train.task(train.index("1_00000")).services == ("Teas_1",)
    assert dev.task(dev.index("1_00000")).services == ("Trams_1",)


def test_a_split_knows_the_rows_of_its_own_tools_only(train: Split, dev: Split) -> None:
    assert len(dev.entities.rows(FIND_TRAM, {})) == 1
    assert train.entities.rows(FIND_TRAM, {}) == []
    # The green teas are only in train.
    assert len(train.entities.rows(FIND_TEA, {"kind": "green"})) == 2
    assert dev.entities.rows(FIND_TEA, {"kind": "green"}) == []


def test_only_the_split_that_is_asked_for_must_be_there(tmp_path: Path) -> None:
    corpus = open_corpus(write_split(tmp_path / "c" / "dev", [TEAS], {}).parent)
    assert corpus.splits() == ()
    write_split(tmp_path / "c" / "dev", [TEAS], {"dialogues_007.json": DEV[1:]})
    corpus = open_corpus(tmp_path / "c")
    assert corpus.splits() == ("dev",)
    assert len(corpus.split("dev")) == 1
    with pytest.raises(DataError, match=r"no split 'train'.*it has \['dev'\]"):
        corpus.split("train")


@pytest.mark.parametrize("name", ["validation", "", "train/../dev"])
def test_a_split_s_name_is_one_of_three(tiny_corpus: Path, name: str) -> None:
    with pytest.raises(ValueError, match="split must be one of"):
        open_corpus(tiny_corpus).split(name)


def test_a_schema_variant_is_one_of_five(tiny_corpus: Path) -> None:
    with pytest.raises(ValueError, match="schema_variant must be one of"):
        open_corpus(tiny_corpus, schema_variant="v6")


def test_a_variant_that_the_corpus_has_not_is_a_data_error(tiny_corpus: Path) -> None:
    with pytest.raises(DataError, match=r"sgd_x/data/v1/train/schema\.json"):
        open_corpus(tiny_corpus, schema_variant="v1").split("train")


def test_the_sample_corpus_is_known_by_name() -> None:
    assert open_corpus("sample").name == str(sample_path())


def test_sgd_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_GYM_HOME", str(tmp_path))
    with pytest.raises(DataError, match="agent-gym data download"):
        open_corpus("sgd")


def test_a_path_that_is_no_corpus_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=str(tmp_path)):
        open_corpus(tmp_path)


# The cache


def test_a_split_is_compiled_when_it_is_opened_for_the_first_time(
    corpus: Corpus, tmp_path: Path
) -> None:
    assert stores(tmp_path / "home") == []
    corpus.split("train")
    assert stores(tmp_path / "home") == [corpus.store_path("train")]
    before = corpus.store_path("train").stat()
    again = open_corpus(tmp_path / "corpus")
    again.split("train")
    assert corpus.store_path("train").stat() == before


def test_a_split_that_is_open_is_shared(corpus: Corpus, tmp_path: Path) -> None:
    assert open_corpus(tmp_path / "corpus").split("train") is corpus.split("train")


def test_a_changed_source_is_compiled_anew(corpus: Corpus, tmp_path: Path) -> None:
    first = corpus.split("train")
    (tmp_path / "corpus" / "train" / "dialogues_002.json").write_bytes(b"[]")
    second = open_corpus(tmp_path / "corpus").split("train")
    assert (len(first), len(second)) == (3, 2)
    assert first.fingerprint != second.fingerprint


def test_building_compiles_again_and_reports(corpus: Corpus) -> None:
    done: list[tuple[int, int]] = []
    path = corpus.build("train")
    before = path.stat().st_ino
    assert corpus.build("train", on_progress=lambda *counts: done.append(counts)) == path
    assert path.stat().st_ino != before
    assert done == [(1, 2), (2, 2)]


def test_a_damaged_store_is_compiled_anew(corpus: Corpus) -> None:
    path = corpus.build("train")
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert len(corpus.split("train")) == 3
    assert path.read_bytes() == whole


def test_a_store_of_another_version_is_compiled_anew(corpus: Corpus) -> None:
    path = corpus.build("train")
    whole = path.read_bytes()
    path.write_bytes(b"AGYMSTR0" + whole[8:-8] + b"AGYMSTR0")
    assert len(corpus.split("train")) == 3
    assert path.read_bytes() == whole


def test_what_a_killed_writer_left_is_removed_by_the_next_build(corpus: Corpus) -> None:
    folder = corpus.store_path("train").parent
    folder.mkdir(parents=True)
    (folder / ".train.store.x1.unfinished").write_bytes(b"half")
    corpus.split("train")
    assert sorted(path.name for path in folder.iterdir()) == ["train.lock", "train.store"]


def test_a_whole_split_is_verified(corpus: Corpus) -> None:
    corpus.verify("train")


def test_verification_finds_a_changed_byte_of_the_store(corpus: Corpus) -> None:
    path = corpus.build("train")
    content = bytearray(path.read_bytes())
    content[content.index(b"Sencha")] ^= 1
    path.write_bytes(content)
    with pytest.raises(StorageError, match="'tasks' does not match"):
        corpus.verify("train")


def test_verification_finds_a_source_that_changed_in_secret(corpus: Corpus, tmp_path: Path) -> None:
    corpus.split("train")
    shard = tmp_path / "corpus" / "train" / "dialogues_001.json"
    status = shard.stat()
    shard.write_bytes(shard.read_bytes().replace(b"Sencha", b"Matcha"))
    os.utime(shard, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(ChecksumError, match="have changed since it was compiled"):
        open_corpus(tmp_path / "corpus").verify("train")


def test_a_folder_and_an_archive_of_it_have_one_fingerprint(corpus: Corpus, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "corpus")
    assert open_corpus(archive).split("dev").fingerprint == corpus.split("dev").fingerprint


def test_a_home_that_cannot_be_written_is_a_storage_error(
    tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("AGENT_GYM_HOME", str(tmp_path / "file"))
    with pytest.raises(StorageError, match="AGENT_GYM_HOME"):
        open_corpus(tiny_corpus).split("train")


def test_a_split_is_sent_to_another_process_as_its_path(train: Split) -> None:
    assert pickle.loads(pickle.dumps(train)) is train
    assert len(pickle.dumps(train)) < 1000
    assert copy.deepcopy(train) is train


# Weighing words


def test_words_are_weighed_by_train(tiny_corpus: Path) -> None:
    corpus = open_corpus(tiny_corpus)
    assert corpus.weighing_split(corpus.split("dev")).name == "train"


def test_without_train_words_are_weighed_by_the_split_itself(tmp_path: Path) -> None:
    write_split(tmp_path / "dev", [TEAS], {"dialogues_001.json": DEV[1:]})
    corpus = open_corpus(tmp_path)
    assert corpus.weighing_split(corpus.split("dev")).name == "dev"


# Selection


def test_every_dialogue_is_selected_where_nothing_is_asked(train: Split) -> None:
    assert list(train.select()) == [0, 1, 2]
    assert list(train.select(["Cakes_1", "Teas_1"])) == [0, 1, 2]


def test_a_dialogue_is_selected_if_all_its_services_are_wanted(train: Split) -> None:
    assert list(train.select(["Teas_1"])) == [0, 1]
    with pytest.raises(ValueError, match=r"no dialogue with services of \['Cakes_1'\] only"):
        train.select(["Cakes_1"])


def test_seen_and_unseen_are_relative_to_train(dev: Split) -> None:
    assert list(dev.select(seen="seen")) == [1]
    assert list(dev.select(seen="unseen")) == [0]
    assert list(dev.select(["Trams_1"], seen="unseen")) == [0]
    with pytest.raises(ValueError, match="leave no service"):
        dev.select(["Trams_1"], seen="seen")


def test_without_train_nothing_is_seen_or_unseen(tmp_path: Path) -> None:
    write_split(tmp_path / "dev", [TEAS], {"dialogues_001.json": DEV[1:]})
    with pytest.raises(DataError, match=r"no train/schema\.json"):
        open_corpus(tmp_path).split("dev").select(seen="seen")


def test_a_selection_names_services_of_the_split(train: Split) -> None:
    with pytest.raises(ValueError, match="one of Teas_1, Cakes_1, not 'Pubs_1'"):
        train.select(["Pubs_1"])
    with pytest.raises(ValueError, match="must be a list of names"):
        train.select("Teas_1")


def test_a_selection_is_made_of_plain_numbers(dev: Split) -> None:
    assert all(type(index) is int for index in dev.select(seen="seen"))
