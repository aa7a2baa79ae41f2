"""Compiled splits equal their source files; errors in the files are reported with their place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent_gym_env.corpus.compiler import (
    WordCounts,
    compile_split,
    source_fingerprint,
)
from agent_gym_env.corpus.corpus import Split
from agent_gym_env.corpus.sgd import Service
from agent_gym_env.corpus.sgd_reader import SGDReader, open_source
from agent_gym_env.corpus.store import Store
from agent_gym_env.corpus.task import RecordedCall, SpokenValue, Task, Turn
from agent_gym_env.errors import DataError
from tests.corpora import (
    CAKES,
    FIND_TEA,
    GYOKURO,
    ORDER_CAKE,
    ORDER_TEA,
    SENCHA,
    TEAS,
    TRAIN,
    write_split,
)

TEA = TRAIN[0]


def compiled(
    corpus: Path, split: str, store: Path, schema_variant: str | None = None, **options: Any
) -> Split:
    with open_source(corpus) as source:
        compile_split(SGDReader(source, schema_variant), split, store, **options)
    return Split(Store(store))


@pytest.fixture
def train(tiny_corpus: Path, tmp_path: Path) -> Split:
    return compiled(tiny_corpus, "train", tmp_path / "train.store")


def rows(*values: dict[str, str]) -> str:
    return msgspec.json.encode(values).decode()


# What is compiled


def test_a_dialogue_is_cut_into_the_agent_s_turns(train: Split) -> None:
    order = {"name": "Sencha", "grams": "50"}
    sent = {**order, "wrapped": "False", "price": "9"}
    assert train.task(0) == Task(
        dialogue_id="1_00000",
        services=("Teas_1",),
        turns=(
            Turn(
                "I want a green tea.",
                "There is Sencha from Uji.",
                "Teas_1",
                RecordedCall(FIND_TEA, {"kind": "green"}, "success", rows(SENCHA, GYOKURO)),
                (SpokenValue("name", "Sencha"), SpokenValue("origin", "Uji")),
            ),
            Turn(
                "Send me 50 grams.",
                "We are out of Sencha.",
                "Teas_1",
                RecordedCall(ORDER_TEA, order, "failure", "[]"),
            ),
            Turn(
                "Try once more.",
                "It is on its way.",
                "Teas_1",
                RecordedCall(ORDER_TEA, order, "success", rows(sent)),
            ),
            Turn("Thanks!", "Goodbye.", "Teas_1"),
        ),
        date="2019-03-01",
    )


def test_a_turn_belongs_to_the_service_of_its_frame(train: Split) -> None:
    mixed = train.task(2)
    assert mixed.services == ("Teas_1", "Cakes_1")
    assert [turn.service for turn in mixed.turns] == ["Teas_1", "Cakes_1"]


def test_what_the_user_s_state_calls_an_argument_is_one_of_its_forms(train: Split) -> None:
    call = train.task(2).turns[1].call
    assert call is not None
    assert (call.name, call.arguments["day"]) == (ORDER_CAKE, "2019-03-02")
    assert call.forms == {"day": ("tomorrow",)}


def test_what_the_acts_call_a_value_is_one_of_its_forms(tmp_path: Path) -> None:
    def say_nine(dialogue: dict[str, Any]) -> None:
        reply = dialogue["turns"][1]
        reply["utterance"] = "Nine is all it costs."
        reply["frames"][0]["slots"] = [{"slot": "price", "start": 0, "exclusive_end": 4}]
        reply["frames"][0]["actions"] = [
            {"act": "INFORM", "slot": "price", "values": ["Nine"], "canonical_values": ["9"]}
        ]
        dialogue["turns"][4]["frames"][0]["actions"] = [
            {"act": "INFORM", "slot": "price", "values": ["9.00"], "canonical_values": ["9"]}
        ]

    split = compiled(changed(tmp_path, say_nine), "train", tmp_path / "store")
    assert split.task(0).turns[0].values == (SpokenValue("price", "Nine", ("9", "9.00")),)


def test_words_are_counted_once_in_each_utterance_of_the_system(train: Split) -> None:
    counts = train.word_counts
    assert isinstance(counts, WordCounts)
    # 4 + 2 + 2 turns. Two replies say "sencha" and three "is", the one about the cake among them.
    assert counts.documents == train.turns == 8
    assert (counts.frequency["sencha"], counts.frequency["is"]) == (2, 3)
    assert (counts.frequency["bye"], counts.frequency["cake"]) == (1, 2)
    assert "grams" not in counts.frequency


def test_dialogues_of_all_shards_stand_in_the_shards_order(train: Split) -> None:
    assert train.dialogue_ids() == ["1_00000", "1_00001", "1_00002"]


def test_the_services_of_train_are_noted_in_every_split(tiny_corpus: Path, tmp_path: Path) -> None:
    for name in ("train", "dev", "test"):
        split = compiled(tiny_corpus, name, tmp_path / name)
        assert split.seen_services == frozenset({"Teas_1", "Cakes_1"})


def test_without_a_train_split_no_service_is_known_to_be_seen(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    write_split(corpus / "dev", [TEAS], {"dialogues_001.json": [TEA]})
    assert compiled(corpus, "dev", tmp_path / "store").seen_services is None


def test_each_shard_is_reported(tiny_corpus: Path, tmp_path: Path) -> None:
    done: list[tuple[int, int]] = []
    compiled(
        tiny_corpus, "train", tmp_path / "store", on_progress=lambda *counts: done.append(counts)
    )
    assert done == [(1, 2), (2, 2)]


def test_the_same_files_give_the_same_bytes(tiny_corpus: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        compiled(tiny_corpus, "train", tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_fingerprint_is_that_of_the_files(tiny_corpus: Path, train: Split) -> None:
    with open_source(tiny_corpus) as source:
        reader = SGDReader(source)
        assert source_fingerprint(reader, "train") == train.fingerprint
        assert source_fingerprint(reader, "dev") != train.fingerprint


def test_a_schema_can_be_read_alone(tiny_corpus: Path) -> None:
    with open_source(tiny_corpus) as source:
        assert SGDReader(source).tools("train") == [TEAS, CAKES]


# What the files must not say

Change = Callable[[dict[str, Any]], None]


def changed(folder: Path, change: Change) -> Path:
    """Write a corpus of one dialogue, the tea dialogue with a change."""
    dialogue = msgspec.to_builtins(TEA)
    change(dialogue)
    corpus = folder / "corpus"
    write_split(corpus / "train", [TEAS, CAKES], {"dialogues_001.json": []})
    (corpus / "train" / "dialogues_001.json").write_text(json.dumps([dialogue]))
    return corpus


def put(value: object, *path: str | int) -> Change:
    """Change what lies at a path."""

    def change(dialogue: dict[str, Any]) -> None:
        place: Any = dialogue
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value

    return change


def drop(*path: str | int) -> Change:
    """Delete what lies at a path."""

    def change(dialogue: dict[str, Any]) -> None:
        place: Any = dialogue
        for step in path[:-1]:
            place = place[step]
        del place[path[-1]]

    return change


FRAME = ("turns", 1, "frames", 0)
SPAN = {"slot": "name", "start": 9, "exclusive_end": 99}


@pytest.mark.parametrize(
    ("change", "problem", "turn", "pointer"),
    [
        (
            put(7, "turns", 0, "utterance"),
            "expected a string, found a whole",
            0,
            "/0/turns/0/utterance",
        ),
        (drop("turns", 2, "frames"), "the field 'frames' is missing", 2, "/0/turns/2"),
        (put(1, "turns", 0, "mood"), "unknown field 'mood'; expected one", 0, "/0/turns/0"),
        (put("ROBOT", "turns", 3, "speaker"), "ROBOT", 3, "/0/turns/3/speaker"),
        (put("SING", *FRAME, "actions", 0, "act"), "SING", 1, "/0/turns/1/frames/0/actions/0/act"),
        (put([], "turns"), "even number of turns, two at least, not 0", None, "/0"),
        (drop("turns", 7), "not 7", None, "/0"),
        (put([], *FRAME[:-1]), "must have a frame; this one has none", 1, "/0/turns/1"),
        (put("Cakes_1", *FRAME, "service"), "is not one of the dialogue's", 1, "/0/turns/1"),
        (put(["Teas_1", "Pubs_1"], "services"), "'Pubs_1' is not in the split's", None, "/0"),
        (put("Brew", *FRAME, "service_call", "method"), "no intent 'Brew'", 1, "/0/turns/1"),
        (put("1", *FRAME, "service_call", "parameters", "cup"), "takes no", 1, "/0/turns/1"),
        (drop(*FRAME, "service_results"), "come together", 1, "/0/turns/1"),
        (drop(*FRAME, "service_call"), "come together", 1, "/0/turns/1"),
        (put([SPAN], *FRAME, "slots"), "9 to 99, lies outside", 1, "/0/turns/1"),
        (put([SPAN | {"start": -1}], *FRAME, "slots"), "lies outside", 1, "/0/turns/1"),
    ],
)
def test_a_wrong_dialogue_is_told_with_its_place(
    tmp_path: Path, change: Change, problem: str, turn: int | None, pointer: str
) -> None:
    corpus = changed(tmp_path, change)
    with pytest.raises(DataError, match=problem) as caught:
        compiled(corpus, "train", tmp_path / "store")
    error = caught.value
    assert error.file == f"{corpus}/train/dialogues_001.json"
    assert (error.dialogue_id, error.turn, error.pointer) == ("1_00000", turn, pointer)
    assert not (tmp_path / "store").exists()


def test_user_and_system_take_turns(tmp_path: Path) -> None:
    def swap(dialogue: dict[str, Any]) -> None:
        dialogue["turns"][2:4] = dialogue["turns"][3:1:-1]

    with pytest.raises(DataError, match="must take turns") as caught:
        compiled(changed(tmp_path, swap), "train", tmp_path / "store")
    assert caught.value.turn == 2


def test_an_id_stands_once_in_a_split(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    shards = {"dialogues_001.json": [TEA], "dialogues_002.json": [TEA]}
    write_split(corpus / "train", [TEAS], shards)
    with pytest.raises(DataError, match="is in the split twice") as caught:
        compiled(corpus, "train", tmp_path / "store")
    assert caught.value.file == f"{corpus}/train/dialogues_002.json"


@pytest.mark.parametrize("content", [b"", b"[", b"\xff\xfe[\x00]\x00", b"[" * 100_000, b"[] []"])
def test_what_is_not_json_is_told_with_its_file(tmp_path: Path, content: bytes) -> None:
    corpus = tmp_path / "corpus"
    shard = write_split(corpus / "train", [TEAS], {}) / "dialogues_001.json"
    shard.write_bytes(content)
    with pytest.raises(DataError) as caught:
        compiled(corpus, "train", tmp_path / "store")
    assert caught.value.file == str(shard)


def test_shards_without_a_dialogue_are_no_split(tmp_path: Path) -> None:
    write_split(tmp_path / "corpus" / "train", [TEAS], {"dialogues_001.json": []})
    with pytest.raises(DataError, match="has no dialogues"):
        compiled(tmp_path / "corpus", "train", tmp_path / "store")


def test_a_split_without_shards_says_what_they_are_called(tmp_path: Path) -> None:
    write_split(tmp_path / "corpus" / "train", [TEAS], {})
    with pytest.raises(DataError, match=r"train/dialogues_NNN\.json"):
        compiled(tmp_path / "corpus", "train", tmp_path / "store")


def test_an_intent_takes_slots_of_its_service(tmp_path: Path) -> None:
    cakes = Service(CAKES.service_name, "", CAKES.slots[:1], CAKES.intents)
    write_split(tmp_path / "corpus" / "train", [TEAS, cakes], {"dialogues_001.json": [TEA]})
    with pytest.raises(DataError, match=r"takes \['day'\]") as caught:
        compiled(tmp_path / "corpus", "train", tmp_path / "store")
    assert caught.value.pointer == "/1/intents/0"


def test_a_service_stands_once_in_the_schema(tmp_path: Path) -> None:
    write_split(tmp_path / "corpus" / "train", [TEAS, TEAS], {"dialogues_001.json": [TEA]})
    with pytest.raises(DataError, match="more than one service is named 'Teas_1'"):
        compiled(tmp_path / "corpus", "train", tmp_path / "store")


# Schema variants


def write_variant(corpus: Path, services: list[Service]) -> None:
    write_split(corpus / "sgd_x" / "data" / "v1" / "train", services, {})


def renamed(text: bytes) -> list[Service]:
    """Rename the service, intent and slots of the tea shop's schema."""
    for old, new in ((b"Teas_1", b"Leaves_1"), (b"FindTea", b"Seek"), (b'"kind"', b'"sort"')):
        text = text.replace(old, new)
    services: list[Service] = msgspec.json.decode(text, type=list[Service])
    return services


def test_a_variant_rewrites_names_and_nothing_else(tmp_path: Path) -> None:
    corpus = changed(tmp_path, lambda _: None)
    write_variant(corpus, renamed((corpus / "train" / "schema.json").read_bytes()))
    split = compiled(corpus, "train", tmp_path / "store", schema_variant="v1")
    turn = split.task(0).turns[0]
    assert split.services == ("Leaves_1", "Cakes_1")
    assert split.seen_services == frozenset({"Leaves_1", "Cakes_1"})
    assert turn.call is not None
    assert (turn.call.name, turn.call.arguments) == ("Leaves_1-Seek", {"sort": "green"})
    assert json.loads(turn.call.results)[0] == {
        "name": "Sencha",
        "sort": "green",
        "origin": "Uji",
        "price": "9",
    }
    assert (turn.user, turn.text) == ("I want a green tea.", "There is Sencha from Uji.")
    assert "Leaves_1-Seek" in split.tools


def test_a_variant_that_changes_more_names_its_file(tmp_path: Path) -> None:
    corpus = changed(tmp_path, lambda _: None)
    write_variant(corpus, [TEAS])
    with pytest.raises(DataError, match="number of services") as caught:
        compiled(corpus, "train", tmp_path / "store", schema_variant="v1")
    assert caught.value.file == f"{corpus}/sgd_x/data/v1/train/schema.json"


def test_a_dialogue_that_a_variant_cannot_rewrite_is_told_with_its_place(tmp_path: Path) -> None:
    corpus = changed(tmp_path, put("Pubs_1", "turns", 0, "frames", 0, "service"))
    write_variant(corpus, [TEAS, CAKES])
    with pytest.raises(DataError, match="'Pubs_1' is not in the schema") as caught:
        compiled(corpus, "train", tmp_path / "store", schema_variant="v1")
    assert caught.value.file == f"{corpus}/train/dialogues_001.json"
    assert (caught.value.dialogue_id, caught.value.pointer) == ("1_00000", "/0")
