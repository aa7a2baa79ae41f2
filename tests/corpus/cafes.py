"""Two services of our own and what they answered, for tests of tools and entities."""

from __future__ import annotations

from agent_gym_env.corpus.entities import EntityTable, EntityTableBuilder
from agent_gym_env.corpus.sgd import Intent, Service, Slot
from agent_gym_env.corpus.tool_specs import tool_specs

FIND = "Cafes_1-FindCafe"
BOOK = "Cafes_1-BookTable"
Row = dict[str, str]


def slot(name: str, *values: str) -> Slot:
    return Slot(name, f"The {name}", bool(values), list(values))


CAFES = Service(
    "Cafes_1",
    "Cafes and their tables",
    [
        slot("city"),
        slot("name"),
        slot("price", "cheap", "mid-range", "dear"),
        slot("outdoors", "True", "False"),
        slot("size", "2", "4"),
        slot("phone"),
        slot("day"),
        slot("time"),
    ],
    [
        Intent(
            "FindCafe",
            "Look for a cafe",
            False,
            ["city"],
            {"price": "dontcare", "outdoors": "dontcare", "size": "2"},
            ["name", "city", "price", "outdoors", "size", "phone"],
        ),
        Intent(
            "BookTable",
            "Book a table",
            True,
            ["name", "city", "time"],
            {"day": "2019-03-01", "size": "2"},
            ["name", "city", "time", "day", "size", "price", "phone"],
        ),
    ],
)
PUBS = Service(
    "Pubs_1",
    "Pubs",
    [slot("city"), slot("name"), slot("time")],
    [
        Intent("FindCafe", "Look for a pub with coffee", False, ["city"], {}, ["name", "city"]),
        Intent("FindQuiz", "Look for a quiz", False, ["time"], {}, ["name", "time"]),
    ],
)
TOOLS = tool_specs([CAFES, PUBS])


def cafe(name: str, city: str = "Lund", **other: str) -> Row:
    row = {"price": "cheap", "outdoors": "True", "size": "2", "phone": f"040-{len(name)}", **other}
    return {"name": name, "city": city, **row}


def entities(*answers: tuple[str, list[Row]]) -> EntityTable:
    """Make a table of what tools answered, in the order in which they did."""
    builder = EntityTableBuilder()
    for tool, rows in answers:
        builder.add(tool, rows)
    return EntityTable(builder.encode(TOOLS))
