"""Two small services of our own: a bakery with cakes to order, and a courier."""

from __future__ import annotations

from agent_gym_env.corpus.sgd import Intent, Service, Slot
from agent_gym_env.synthesis.entities import IntentEntry, ServiceEntry, SlotEntry


def slot(name: str, *values: str) -> Slot:
    """Make a slot; with values it is categorical."""
    return Slot(name, f"The {name}", bool(values), list(values))


BAKERY = Service(
    "Bakery_1",
    "Cakes to order",
    [
        slot("flavor", "plum", "lemon"),
        slot("has_nuts", "True", "False"),
        slot("size", "small", "large"),
        slot("cake_name"),
        slot("price"),
        slot("town"),
        slot("pickup_date"),
        slot("pickup_time"),
        slot("pieces", "1", "2", "3"),
    ],
    [
        Intent(
            "FindCakes",
            "Find cakes of a flavor",
            False,
            ["flavor"],
            {"has_nuts": "dontcare", "size": "small", "town": "dontcare"},
            ["cake_name", "flavor", "has_nuts", "size", "price", "town"],
        ),
        Intent(
            "OrderCake",
            "Order a cake",
            True,
            ["cake_name", "pickup_time"],
            {"pickup_date": "2019-03-01", "pieces": "1"},
            ["cake_name", "pickup_date", "pickup_time", "pieces", "price"],
        ),
    ],
)

COURIER = Service(
    "Courier_1",
    "Sends things across a town",
    [slot("town"), slot("parcel_weight"), slot("tracking_code")],
    [
        Intent(
            "SendParcel",
            "Send a parcel",
            True,
            ["town", "parcel_weight"],
            {},
            ["town", "parcel_weight", "tracking_code"],
        )
    ],
)

SERVICES = [BAKERY, COURIER]


def cake(
    name: str, flavor: str, size: str, nuts: str = "False", town: str = "Aville"
) -> dict[str, str]:
    """One row of the bakery."""
    return {
        **{"cake_name": name, "flavor": flavor, "size": size, "has_nuts": nuts},
        **{"price": str(len(name)), "town": town},
    }


CAKES = [
    cake("Plum Pie", "plum", "small"),
    cake("Plum Crown", "plum", "large", nuts="True"),
    cake("Plum Star", "plum", "small", nuts="True"),
    cake("Lemon Ring", "lemon", "small", town="Bville"),
]

BAKERY_ENTRY = ServiceEntry(
    name_slot="cake_name",
    noun="cake",
    rows=CAKES,
    slots={
        "flavor": SlotEntry(inform=["with {} in it"]),
        "town": SlotEntry(spoken={"Aville": ["the old town"]}),
        "has_nuts": SlotEntry(
            tell={"True": ["there are nuts in it"], "False": ["it is free of nuts"]}
        ),
    },
    intents={"FindCakes": IntentEntry(offer=["the {cake_name} costs {price}"])},
)
COURIER_ENTRY = ServiceEntry(
    slots={
        "parcel_weight": SlotEntry(values=["2 kg", "5 kg"]),
        "town": SlotEntry(values=["Aville", "Bville"]),
        "tracking_code": SlotEntry(values=["A-17", "B-29", "C-31"]),
    }
)
ENTITIES = {"Bakery_1": BAKERY_ENTRY, "Courier_1": COURIER_ENTRY}
