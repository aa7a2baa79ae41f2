from __future__ import annotations

import re
import typing
from pathlib import Path

import msgspec
import pytest

from agent_gym_env.optimization.monitor import (
    Event,
    EventLog,
    Finished,
    Meter,
    PhaseBegan,
    RunAborted,
    TurnScored,
)

_PAGE = Path(__file__).parents[2] / "docs" / "reference" / "events.md"
SECTION = _PAGE.read_text("utf-8").partition("## Events of an optimization")[2]


def test_the_page_has_every_event_with_every_field_in_order() -> None:
    documented: dict[str, list[str]] = {}
    kind = ""
    for named, field in re.findall(r"^\| (?:`(\w+)`)? ?\| `(\w+)` \|", SECTION, re.M):
        kind = named or kind
        documented.setdefault(kind, []).append(field)
    events = typing.get_args(Event)
    assert documented == {
        event.__struct_config__.tag: [
            name for name in event.__struct_fields__ if name != "elapsed_s"
        ]
        for event in events
    }


def test_the_example_on_the_page_is_an_event() -> None:
    found = re.search(r"```json\n(.*?)\n```", SECTION, re.S)
    assert found is not None
    msgspec.json.decode(found[1], type=Event)


def test_an_event_says_when_and_the_log_keeps_all_but_turns() -> None:
    told: list[Event] = []
    log = EventLog(told.append, Meter(0))
    log.record(PhaseBegan, phase="search")
    log.record(TurnScored, phase="search", turn="1#0", reward=None, calls=1, cost_usd=0.0)
    assert [type(event) for event in told] == [PhaseBegan, TurnScored]
    assert [type(event) for event in log.events] == [PhaseBegan]
    assert 0 <= told[0].elapsed_s <= told[1].elapsed_s <= log.elapsed_s


def test_a_callback_that_raises_ends_the_run_and_is_not_called_again() -> None:
    told: list[Event] = []

    def callback(event: Event) -> None:
        told.append(event)
        raise ValueError("stop, please")

    meter = Meter(0)
    log = EventLog(callback, meter)
    with pytest.raises(RunAborted) as end:
        log.record(PhaseBegan, phase="search")
    assert isinstance(end.value.__cause__, ValueError)
    log.record(PhaseBegan, phase="optimized")
    assert len(told) == 1
    with pytest.raises(RunAborted):
        meter.check()


def test_without_a_callback_events_are_kept() -> None:
    log = EventLog(None, Meter(0))
    log.record(
        Finished, baseline=0.1, optimized=0.2, improvement_pct=100.0, program_path="a",
        result_path="b",
    )  # fmt: skip
    assert len(log.events) == 1
