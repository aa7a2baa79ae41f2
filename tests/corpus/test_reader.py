"""A corpus in another format is played through a reader."""

from __future__ import annotations

import doctest
import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent_gym_env.assembly import make_env, make_policy
from agent_gym_env.corpus import reader as module
from agent_gym_env.corpus import sgd
from agent_gym_env.corpus.corpus import open_corpus
from agent_gym_env.corpus.sgd import (
    Dialogue,
    Intent,
    Service,
    ServiceCall,
    Slot,
    SystemFrame,
    SystemTurn,
    UserTurn,
)
from agent_gym_env.errors import ChecksumError, DataError
from agent_gym_env.testing import check_corpus

Turns = list[UserTurn | SystemTurn]

TABLES = Service(
    "Tables",
    "A restaurant's tables",
    [Slot(name, f"The {name}", False, []) for name in ("day", "people", "table")],
    [
        Intent("Find", "Find a free table", False, ["day"], {"people": "2"}, ["day", "table"]),
        Intent("Book", "Book a table", True, ["day", "table"], {}, ["day", "table"]),
    ],
)
TAXIS = Service(
    "Taxis",
    "A taxi company",
    [Slot("day", "The day", False, [])],
    [Intent("Order", "Order a taxi", True, ["day"], {}, ["day"])],
)

CALLS = [
    {
        "id": "MUL0001",
        "day": "2021-06-14",
        "talk": [
            ["A table tomorrow?", ["Find", {"day": "2021-06-15"}, [{"table": "4"}]], "Table 4."],
            ["Fine.", ["Book", {"day": "2021-06-15", "table": "4"}, [{"table": "4"}]], "Done."],
            ["Thank you.", None, "Goodbye."],
        ],
    },
    {"id": "SNG/2", "day": None, "talk": [["Are you open?", None, "We are."]]},
]  # fmt: skip


class HotlineReader:
    """Reads the recorded calls of a hotline: a JSON file with a list of calls."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)

    def splits(self) -> list[str]:
        return ["train"]

    def fingerprint(self) -> str:
        status = Path(self.name).stat()
        return f"{status.st_size} {status.st_mtime_ns}"

    def tools(self, split: str) -> list[Service]:
        return [TABLES]

    def dialogues(self, split: str) -> Iterator[Dialogue]:
        for call in json.loads(Path(self.name).read_text("utf-8")):
            turns: Turns = []
            for question, tool, answer in call["talk"]:
                frame = SystemFrame("Tables", [], [])
                if tool is not None:
                    intent, arguments, rows = tool
                    frame = SystemFrame("Tables", [], [], ServiceCall(intent, arguments), rows)
                turns += [UserTurn(question, []), SystemTurn(answer, [frame])]
            yield Dialogue(call["id"], ["Tables"], turns, call["day"])


class OneDialogue:
    """Reads a single dialogue that it was made with."""

    name = "one dialogue"

    def __init__(self, *turns: Any, services: Any = (TABLES, TAXIS), **changes: Any) -> None:
        names = [service.service_name for service in services]
        self.services = list(services)
        self.dialogue = Dialogue("1", names, [UserTurn("Hello.", []), *turns], **changes)

    def splits(self) -> list[str]:
        return ["train"]

    def fingerprint(self) -> str:
        return repr((self.dialogue, self.services))

    def tools(self, split: str) -> list[Service]:
        return self.services

    def dialogues(self, split: str) -> Iterator[Dialogue]:
        yield self.dialogue


@pytest.fixture
def hotline(tmp_path: Path) -> HotlineReader:
    path = tmp_path / "hotline.json"
    path.write_text(json.dumps(CALLS))
    return HotlineReader(path)


def frame(service: str, intent: str = "", rows: Any = (), **arguments: Any) -> SystemFrame:
    call = ServiceCall(intent, arguments) if intent else None
    return SystemFrame(service, [], [], call, list(rows) if intent else None)


@pytest.mark.parametrize("reward", ["ground_truth", "balanced"])
def test_the_oracle_earns_all_of_a_corpus_in_a_format_of_its_own(
    hotline: HotlineReader, reward: str
) -> None:
    env = make_env(corpus=hotline, reward=reward)
    oracle = make_policy("oracle", env)
    for dialogue_id, turns in (("MUL0001", 3), ("SNG/2", 1)):
        observation, _ = env.reset(options={"dialogue_id": dialogue_id})
        oracle.reset()
        rewards, ended = [], False
        while not ended:
            observation, reward_of_step, ended, _, info = env.step(oracle.act(observation))
            if info["target"] is not None:
                rewards.append(reward_of_step)
        assert rewards == [1.0] * turns


def test_a_dialogue_has_the_date_that_its_reader_gives(hotline: HotlineReader) -> None:
    env = make_env(corpus=hotline)
    _, info = env.reset(options={"dialogue_id": "MUL0001"})
    assert info["date"] == "2021-06-14"
    call = {"name": "Tables-Find", "arguments": {"day": "tomorrow"}}
    observation, *_ = env.step({"text": "", "tool_calls": json.dumps([call])})
    assert json.loads(observation["tool_result"])[0]["results"] == [{"table": "4"}]
    _, info = env.reset(options={"dialogue_id": "SNG/2"})
    assert info["date"] == "2019-03-01"


def test_a_corpus_with_a_reader_passes_the_checks(hotline: HotlineReader) -> None:
    check_corpus(hotline)


def test_a_changed_file_is_compiled_again(hotline: HotlineReader) -> None:
    before = open_corpus(hotline).split("train")
    Path(hotline.name).write_text(json.dumps(CALLS[:1]))
    after = open_corpus(hotline).split("train")
    assert (len(before), len(after)) == (2, 1)
    assert before.fingerprint != after.fingerprint


def test_a_reader_with_other_code_has_another_store(hotline: HotlineReader) -> None:
    class OtherReader(HotlineReader):
        pass

    other = OtherReader(Path(hotline.name))
    assert open_corpus(other).store_path("train") != open_corpus(hotline).store_path("train")


def test_verify_notices_other_dialogues_under_the_same_fingerprint() -> None:
    reader = OneDialogue(SystemTurn("Hello.", [frame("Tables")]))
    fingerprint = reader.fingerprint()
    corpus = open_corpus(reader)
    corpus.verify("train")
    reader.dialogue = Dialogue("2", reader.dialogue.services, reader.dialogue.turns)
    assert fingerprint != reader.fingerprint()
    with pytest.raises(ChecksumError, match="have changed"):
        corpus.verify("train")


def test_a_corpus_with_a_reader_is_pickled_with_it(hotline: HotlineReader) -> None:
    copied = pickle.loads(pickle.dumps(open_corpus(hotline)))
    assert copied.split("train").dialogue_ids() == ["MUL0001", "SNG/2"]


def test_a_split_may_have_any_name(hotline: HotlineReader) -> None:
    class Spring(HotlineReader):
        def splits(self) -> list[str]:
            return ["spring"]

    corpus = open_corpus(Spring(Path(hotline.name)))
    assert corpus.splits() == ("spring",)
    assert corpus.split("spring").seen_services is None
    with pytest.raises(DataError, match=r"no split 'train'; it has \['spring'\]"):
        corpus.split("train")
    with pytest.raises(ValueError, match="did you mean 'spring'"):
        corpus.split("sprong")


def test_a_turn_may_be_about_several_services_and_call_one() -> None:
    reply = SystemTurn("Both.", [frame("Taxis"), frame("Tables", "Find", day="2019-03-02")])
    turn = open_corpus(OneDialogue(reply)).split("train").task(0).turns[0]
    assert turn.service == "Tables"
    assert turn.call is not None
    assert turn.call.name == "Tables-Find"


def test_a_second_call_in_a_turn_is_refused() -> None:
    calls = [frame("Taxis", "Order", day="1"), frame("Tables", "Find", day="1")]
    with pytest.raises(DataError, match="one call at most; this one makes 2") as caught:
        open_corpus(OneDialogue(SystemTurn("Both.", calls))).split("train")
    error = caught.value
    assert (error.file, error.dialogue_id, error.turn) == ("one dialogue", "1", 1)


@pytest.mark.parametrize(
    ("reader", "problem"),
    [
        (OneDialogue(SystemTurn(7, [frame("Tables")])), "expected a string, found a whole number"),  # type: ignore[arg-type]
        (OneDialogue(7), "expected an object, found a whole number"),
        (OneDialogue(SystemTurn("Yes.", [])), "must have a frame"),
        (OneDialogue(SystemTurn("Yes.", [frame("Pubs")])), "'Pubs' is not one of the dialogue's"),
        (OneDialogue(SystemTurn("Yes.", [frame("Taxis")]), date="June"), "YYYY-MM-DD, found 'Ju"),
        (OneDialogue(services=[TABLES, TABLES]), "more than one service is named 'Tables'"),
    ],
)
def test_what_a_reader_gives_is_checked(reader: OneDialogue, problem: str) -> None:
    with pytest.raises(DataError, match=problem) as caught:
        open_corpus(reader).split("train")
    assert caught.value.file == "one dialogue"


def test_a_reader_has_all_of_its_methods() -> None:
    class HalfAReader:
        name = "half"

        def splits(self) -> list[str]:
            return []

    with pytest.raises(ValueError, match="HalfAReader lacks fingerprint, tools, dialogues"):
        open_corpus(HalfAReader())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="a name, a path or a reader, not 7"):
        open_corpus(7)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="must be an object, not the class OneDialogue"):
        open_corpus(OneDialogue)  # type: ignore[arg-type]


def test_a_fingerprint_is_a_string(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OneDialogue, "fingerprint", lambda self: None)
    with pytest.raises(ValueError, match="of the corpus reader OneDialogue must return a string"):
        open_corpus(OneDialogue())


def test_a_reader_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: OneDialogue, split: str) -> Iterator[Dialogue]:
        raise KeyError("turns")
        yield

    monkeypatch.setattr(OneDialogue, "dialogues", fail)
    monkeypatch.setattr(OneDialogue, "fingerprint", lambda self: "fails")
    with pytest.raises(
        DataError, match="OneDialogue failed to read the split 'train': KeyError: 'turns'"
    ) as caught:
        open_corpus(OneDialogue()).split("train")
    assert isinstance(caught.value.__cause__, KeyError)


def test_schema_variants_are_for_corpora_in_sgds_format(hotline: HotlineReader) -> None:
    with pytest.raises(ValueError, match="'v1' is for corpora in SGD's format"):
        open_corpus(hotline, schema_variant="v1")


def test_the_example_of_the_reference_runs() -> None:
    names = {**vars(sgd), "open_corpus": open_corpus}
    found = doctest.DocTestFinder().find(module.CorpusReader, "CorpusReader", globs=names)
    assert sum(len(each.examples) for each in found) == 2
    assert all(doctest.DocTestRunner().run(each).failed == 0 for each in found)
