from __future__ import annotations

from pathlib import Path

import pytest

from agent_gym_env.corpus.sgd import (
    Dialogue,
    DialogueAction,
    DialogueState,
    ServiceCall,
    SystemFrame,
    SystemTurn,
    UserFrame,
    UserTurn,
)
from agent_gym_env.corpus.sgd_reader import open_source
from agent_gym_env.synthesis.shape import EVENTS, STRAIGHT, Shape, measure, read_dialogues, table

SAMPLE = Path(__file__).parents[2] / "data" / "sample"


def _user(text: str, *acts: DialogueAction, services: tuple[str, ...] = ("A_1",)) -> UserTurn:
    state = DialogueState("Find", [], {})
    return UserTurn(text, [UserFrame(service, list(acts), [], state) for service in services])


def _system(text: str, *acts: DialogueAction, rows: int | None = None) -> SystemTurn:
    call = None if rows is None else ServiceCall("Find", {})
    results = None if rows is None else [{"x": str(row)} for row in range(rows)]
    return SystemTurn(text, [SystemFrame("A_1", list(acts), [], call, results)])


def _wish(value: str) -> DialogueAction:
    return DialogueAction("INFORM", "x", [value], [value])


STRAIGHT_ONE = Dialogue(
    "1_00000",
    ["A_1"],
    [
        _user("one two", DialogueAction("INFORM_INTENT", "intent", ["Find"], ["Find"]), _wish("1")),
        _system("one two three", DialogueAction("OFFER", "x", ["1"], ["1"]), rows=1),
        _user("bye", DialogueAction("GOODBYE")),
        _system("bye", DialogueAction("GOODBYE")),
    ],
)
CROOKED_ONE = Dialogue(
    "1_00001",
    ["A_1", "B_1"],
    [
        _user("one two", _wish("1")),
        _system("none", DialogueAction("NOTIFY_FAILURE"), rows=0),
        _user("other", _wish("2"), DialogueAction("REQUEST_ALTS"), services=("A_1", "B_1")),
        _system("ten", DialogueAction("OFFER", "x", ["0"], ["0"]), rows=10),
    ],
)


def test_a_shape_counts_what_can_be_counted_by_hand() -> None:
    shape = measure([STRAIGHT_ONE, CROOKED_ONE], ["A_1"])
    assert shape == Shape(
        dialogues=2,
        turns=4.0,
        call_share=3 / 4,
        calls=1.5,
        services=(0.5, 0.5, 0.0),
        rows=(1 / 3, 1 / 3, 0.0, 1 / 3),
        two_frame_share=1 / 4,
        words=12 / 8,
        distinct_share=6 / 8,
        odd_turns=1,
        events={
            **dict.fromkeys(EVENTS, 0.0),
            "asks for another row": 0.5,
            "changes a wish": 0.5,
            "has a failure": 0.5,
            STRAIGHT: 0.5,
        },
        seen=(0.5, 0.5, 0.0),
    )


def test_a_corrected_confirmation_is_not_a_changed_wish() -> None:
    corrected = Dialogue(
        "1_00002",
        ["A_1"],
        [
            _user("one", _wish("1")),
            _system("1?", DialogueAction("CONFIRM", "x", ["1"], ["1"])),
            _user("no, 2", DialogueAction("NEGATE"), _wish("2")),
            _system("bye", DialogueAction("GOODBYE")),
            _user("fine", DialogueAction("AFFIRM")),
            _system("done", DialogueAction("NOTIFY_SUCCESS"), rows=1),
        ],
    )
    events = measure([corrected]).events
    assert events["corrects a confirmation"] == 1.0
    assert events["changes a wish"] == 0.0


def test_the_table_has_a_column_for_each_shape() -> None:
    lines = table({"a": measure([STRAIGHT_ONE]), "b": measure([CROOKED_ONE])}).splitlines()
    assert lines[0] == "|  | a | b |"
    assert "| calls per dialogue, mean | 1.00 | 2.00 |" in lines


def _sample_shapes() -> dict[str, Shape]:
    with open_source(SAMPLE) as source:
        dialogues = {split: list(read_dialogues(source, split)) for split in source.splits()}
    seen = {service for dialogue in dialogues["train"] for service in dialogue.services}
    return {split: measure(them, seen) for split, them in dialogues.items()}


SAMPLE_SHAPES = _sample_shapes()


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_the_sample_has_the_shape_of_sgd(split: str) -> None:
    shape = SAMPLE_SHAPES[split]
    assert 14 <= shape.turns <= 22
    assert 0.25 <= shape.call_share <= 0.36
    assert 2 <= shape.calls <= 3.5
    none, one, some, ten = shape.rows
    assert 0.01 <= none <= 0.05
    assert one == max(shape.rows)
    assert 0.2 <= some <= 0.42
    assert 0.05 <= ten <= 0.25
    assert 0.02 <= shape.two_frame_share <= 0.1
    assert shape.odd_turns == 0
    assert shape.distinct_share >= 0.75


@pytest.mark.parametrize("split", ["train", "dev", "test"])
@pytest.mark.parametrize(
    ("event", "least", "most"),
    [
        ("asks for an attribute", 0.55, 0.85),
        ("is proposed an intent", 0.35, 0.62),
        ("asks for another row", 0.25, 0.5),
        ("changes a wish", 0.15, 0.4),
        ("corrects a confirmation", 0.12, 0.3),
        ("has a failure", 0.06, 0.18),
        ("gets a counter-offer", 0.02, 0.1),
        (STRAIGHT, 0.33, 0.55),
    ],
)
def test_as_much_happens_in_the_sample_as_in_sgd(
    split: str, event: str, least: float, most: float
) -> None:
    assert least <= SAMPLE_SHAPES[split].events[event] <= most


@pytest.mark.parametrize(
    ("split", "seen"), [("dev", (0.33, 0.45, 0.22)), ("test", (0.18, 0.29, 0.54))]
)
def test_seen_and_unseen_services_meet_as_in_sgd(
    split: str, seen: tuple[float, float, float]
) -> None:
    for share, expected in zip(SAMPLE_SHAPES[split].seen, seen, strict=True):
        assert abs(share - expected) <= 0.2


def test_sgd_itself_is_measured_as_it_was_described(sgd_path: Path) -> None:
    with open_source(sgd_path) as source:
        shape = measure(list(read_dialogues(source, "train")))
    assert shape.odd_turns == 0
    assert shape.turns == pytest.approx(18.4, abs=0.2)
    assert shape.call_share == pytest.approx(0.304, abs=0.01)
    assert shape.events[STRAIGHT] == pytest.approx(0.38, abs=0.01)
    assert shape.events["asks for another row"] == pytest.approx(0.429, abs=0.01)
    assert shape.events["corrects a confirmation"] == pytest.approx(0.197, abs=0.01)
