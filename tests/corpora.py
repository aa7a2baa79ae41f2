"""A tiny corpus of our own in SGD's format, small enough to work its numbers by hand.

``train`` has two tea dialogues and one about teas and cakes, ``dev`` and ``test`` a tram that train
does not know. Ids repeat across splits, as they do in SGD.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import get_args

import msgspec

from agent_gym_env.corpus.sgd import (
    Act,
    Dialogue,
    DialogueAction,
    DialogueState,
    Intent,
    Service,
    ServiceCall,
    Slot,
    SlotSpan,
    SystemFrame,
    SystemTurn,
    UserFrame,
    UserTurn,
)

Row = dict[str, str]
Turns = list[UserTurn | SystemTurn]

FIND_TEA = "Teas_1-FindTea"
ORDER_TEA = "Teas_1-Order"
ORDER_CAKE = "Cakes_1-Order"
FIND_TRAM = "Trams_1-FindTram"

ACTS = get_args(Act)


def slot(name: str, *values: str) -> Slot:
    """Make a slot; with values it is categorical."""
    return Slot(name, f"The {name}", bool(values), list(values))


TEAS = Service(
    "Teas_1",
    "A shop for tea",
    [
        slot("kind", "green", "black"),
        slot("origin"),
        slot("name"),
        slot("price"),
        slot("grams"),
        slot("wrapped", "True", "False"),
    ],
    [
        Intent(
            "FindTea", "Look for a tea", False, ["kind"], {"origin": "dontcare"},
            ["name", "kind", "origin", "price"],
        ),
        Intent(
            "Order", "Order a tea", True, ["name", "grams"], {"wrapped": "False"},
            ["name", "grams", "wrapped", "price"],
        ),
    ],
)  # fmt: skip
CAKES = Service(
    "Cakes_1",
    "A shop for cake",
    [slot("cake"), slot("day")],
    [Intent("Order", "Order a cake", True, ["cake", "day"], {}, ["cake", "day"])],
)
TRAMS = Service(
    "Trams_1",
    "Departures of trams",
    [slot("stop"), slot("time")],
    [Intent("FindTram", "Look for a tram", False, ["stop"], {}, ["stop", "time"])],
)

SENCHA: Row = {"name": "Sencha", "kind": "green", "origin": "Uji", "price": "9"}
GYOKURO: Row = {"name": "Gyokuro", "kind": "green", "origin": "Yame", "price": "30"}
ASSAM: Row = {"name": "Assam", "kind": "black", "origin": "Assam", "price": "6"}


def user(service: str, utterance: str, **state: str) -> UserTurn:
    """Make a user's turn with one frame."""
    values = {name: [value] for name, value in state.items()}
    frame = UserFrame(service, [DialogueAction("INFORM")], [], DialogueState("NONE", [], values))
    return UserTurn(utterance, [frame])


def system(
    service: str,
    utterance: str,
    call: tuple[str, Row, list[Row]] | None = None,
    *,
    act: str = "INFORM",
    **values: str,
) -> SystemTurn:
    """Make a system's turn.

    Args:
        service: service of its frame.
        utterance: the words.
        call: intent, parameters and results.
        act: name of its only dialogue act.
        **values: values by slot, as the utterance says them; they are marked as spans.
    """
    spans = [
        SlotSpan(name, utterance.index(value), utterance.index(value) + len(value))
        for name, value in values.items()
    ]
    actions = [msgspec.convert({"act": act}, DialogueAction)]
    if call is None:
        return SystemTurn(utterance, [SystemFrame(service, actions, spans)])
    intent, parameters, results = call
    made = ServiceCall(intent, parameters)
    return SystemTurn(utterance, [SystemFrame(service, actions, spans, made, results)])


def tea_dialogue(dialogue_id: str) -> Dialogue:
    """Make a dialogue of four turns: a search, an order that fails, one that succeeds, goodbye."""
    order = {"name": "Sencha", "grams": "50"}
    turns: Turns = [
        user("Teas_1", "I want a green tea.", kind="green"),
        system(
            "Teas_1", "There is Sencha from Uji.",
            ("FindTea", {"kind": "green"}, [SENCHA, GYOKURO]),
            act="OFFER", name="Sencha", origin="Uji",
        ),
        user("Teas_1", "Send me 50 grams.", kind="green", grams="50"),
        system("Teas_1", "We are out of Sencha.", ("Order", order, []), act="NOTIFY_FAILURE"),
        user("Teas_1", "Try once more.", grams="50"),
        system(
            "Teas_1", "It is on its way.",
            ("Order", order, [{**order, "wrapped": "False", "price": "9"}]), act="NOTIFY_SUCCESS",
        ),
        user("Teas_1", "Thanks!"),
        system("Teas_1", "Goodbye.", act="GOODBYE"),
    ]  # fmt: skip
    return Dialogue(dialogue_id, ["Teas_1"], turns)


def black_tea_dialogue(dialogue_id: str) -> Dialogue:
    """Make a dialogue of two turns whose search gives the only black tea."""
    turns: Turns = [
        user("Teas_1", "Any black tea?", kind="black"),
        system("Teas_1", "Assam, at 6.", ("FindTea", {"kind": "black"}, [ASSAM]), price="6"),
        user("Teas_1", "Bye."),
        system("Teas_1", "Bye.", act="GOODBYE"),
    ]
    return Dialogue(dialogue_id, ["Teas_1"], turns)


def mixed_dialogue(dialogue_id: str) -> Dialogue:
    """Make a dialogue about two services that both have an intent ``Order``."""
    cake = {"cake": "Plum", "day": "2019-03-02"}
    turns: Turns = [
        user("Teas_1", "Do you sell black tea?"),
        system("Teas_1", "We do, for your cake too.", act="OFFER_INTENT"),
        user("Cakes_1", "A plum cake for tomorrow, then.", cake="Plum", day="tomorrow"),
        system("Cakes_1", "Your Plum cake is booked.", ("Order", cake, [cake]), cake="Plum"),
    ]
    return Dialogue(dialogue_id, ["Teas_1", "Cakes_1"], turns)


def tram_dialogue(dialogue_id: str, stop: str) -> Dialogue:
    """Make a dialogue of two turns about the next tram."""
    tram = {"stop": stop, "time": "17:30"}
    turns: Turns = [
        user("Trams_1", f"When does the tram leave {stop}?", stop=stop),
        system("Trams_1", "At 17:30.", ("FindTram", {"stop": stop}, [tram]), time="17:30"),
        user("Trams_1", "Thanks."),
        system("Trams_1", "You are welcome.", act="REQ_MORE"),
    ]
    return Dialogue(dialogue_id, ["Trams_1"], turns)


TRAIN = [tea_dialogue("1_00000"), black_tea_dialogue("1_00001"), mixed_dialogue("1_00002")]
DEV = [tram_dialogue("1_00000", "Mill"), black_tea_dialogue("1_00001")]
TEST = [tram_dialogue("1_00000", "Quay")]


def write_split(
    folder: Path, services: Iterable[Service], shards: Mapping[str, Iterable[Dialogue]]
) -> Path:
    """Write a split's schema, and shards by file name."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "schema.json").write_bytes(msgspec.json.encode(list(services)))
    for name, dialogues in shards.items():
        (folder / name).write_bytes(msgspec.json.encode(list(dialogues)))
    return folder


def write_tiny_corpus(folder: Path) -> Path:
    """Write the whole corpus; train has two shards."""
    shards = {"dialogues_001.json": TRAIN[:2], "dialogues_002.json": TRAIN[2:]}
    write_split(folder / "train", [TEAS, CAKES], shards)
    write_split(folder / "dev", [TEAS, TRAMS], {"dialogues_001.json": DEV})
    write_split(folder / "test", [TRAMS], {"dialogues_001.json": TEST})
    return folder
