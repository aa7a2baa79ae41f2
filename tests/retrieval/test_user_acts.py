"""The reader of a user's acts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agent_gym_env.corpus.corpus import open_corpus
from agent_gym_env.corpus.goals import UserAct
from agent_gym_env.errors import DataError
from agent_gym_env.retrieval.linear_classifier import LinearClassifier
from agent_gym_env.retrieval.user_acts import (
    UserActReader,
    Utterance,
    load_or_train_user_acts,
    train_user_acts,
    utterances_of,
)
from agent_gym_env.values.equality import DONTCARE

CORPUS = open_corpus("sample")


@pytest.fixture(scope="module")
def reader() -> UserActReader:
    return load_or_train_user_acts(CORPUS.split("train"), training_dialogues=8000)


def _kinds(utterance: Utterance) -> set[str]:
    kinds = {act.act for act in utterance.acts}
    indifferent = any((a.act, a.value) == ("INFORM", DONTCARE) for a in utterance.acts)
    return kinds | ({"ANY_VALUE"} if indifferent else set())


def test_most_turns_of_another_split_are_read_exactly(reader: UserActReader) -> None:
    utterances = list(utterances_of(CORPUS.split("dev"), 200))
    exact = [reader.kinds(each.text, each.after) == _kinds(each) for each in utterances]
    print(f"acts exact in {sum(exact) / len(exact):.3f} of {len(exact)} turns")
    assert sum(exact) / len(exact) >= 0.85


def test_most_wanted_tools_of_another_split_are_found(reader: UserActReader) -> None:
    split = CORPUS.split("dev")
    right = []
    for each in utterances_of(split, 200):
        wanted = [f"{act.service}-{act.value}" for act in each.acts if act.act == "INFORM_INTENT"]
        tools = {n: t.description for n, t in split.tools.items() if t.service in each.services}
        if wanted:
            right.append(reader.tool(each.text, tools, each.tool) == wanted[0])
    print(f"tool right in {sum(right) / len(right):.3f} of {len(right)} turns")
    assert sum(right) / len(right) >= 0.85


def test_the_same_words_mean_something_else_after_another_turn(reader: UserActReader) -> None:
    assert reader.kinds("That works for me.", "confirm") == {"AFFIRM"}
    assert "AFFIRM" not in reader.kinds("That works for me.", "offer")


@pytest.mark.parametrize("text", ["Sorry, I don't follow.", "I did not understand that."])
def test_a_user_who_does_not_follow_does_nothing_else(reader: UserActReader, text: str) -> None:
    assert reader.kinds(text, "offer") == {"UNCLEAR"}


@pytest.mark.parametrize("text", ["", "\ud800", "?!", "x" * 10_000])
def test_any_text_is_read_as_something(reader: UserActReader, text: str) -> None:
    assert len(reader.kinds(text, "none")) >= 1
    assert reader.questions(text, {}) == []
    assert reader.questions(text, {"city": ""}) == ["city"]


def test_a_slot_that_is_named_is_asked_about_and_not_one_whose_name_is_a_part() -> None:
    untrained = UserActReader(LinearClassifier(), LinearClassifier())
    slots = {"city": "", "departure_city": "", "price": ""}
    assert untrained.questions("What is the departure city?", slots) == ["departure_city"]


def test_a_turn_without_acts_teaches_that_there_are_none() -> None:
    turns = [Utterance("Tea?", "more", (UserAct("Cafes_1", "NEGATE"),), "", ("Cafes_1",))] * 40
    trained = train_user_acts(turns, {})
    assert trained.kinds("Tea?", "more") == {"NEGATE"}


def test_a_saved_reader_reads_the_same(reader: UserActReader, tmp_path: Path) -> None:
    reader.save(tmp_path / "reader.npz", 7)
    again = UserActReader.load(tmp_path / "reader.npz")
    for each in utterances_of(CORPUS.split("test"), 20):
        assert again.kinds(each.text, each.after) == reader.kinds(each.text, each.after)


def test_a_damaged_file_is_a_data_error(reader: UserActReader, tmp_path: Path) -> None:
    path = tmp_path / "reader.npz"
    reader.save(path, 7)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match="reader of user acts"):
        UserActReader.load(path)


def test_weights_of_another_shape_are_a_data_error(tmp_path: Path) -> None:
    small = LinearClassifier(np.zeros(8, np.float32))
    UserActReader(small, small).save(tmp_path / "reader.npz", 7)
    with pytest.raises(DataError, match="no weights of its acts"):
        UserActReader.load(tmp_path / "reader.npz")


def test_a_damaged_file_in_the_cache_is_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_GYM_HOME", str(tmp_path))
    train = CORPUS.split("train")
    first = load_or_train_user_acts(train, training_dialogues=3)
    [path] = (tmp_path / "retrieval").glob("user-acts-*.npz")
    path.write_bytes(b"nothing")
    again = load_or_train_user_acts(train, training_dialogues=3)
    for each in utterances_of(CORPUS.split("dev"), 5):
        assert again.kinds(each.text, each.after) == first.kinds(each.text, each.after)
    assert UserActReader.load(path) is not None
