from pathlib import Path

import msgspec
import pytest

from agent_gym_env.corpus.task import RecordedCall, Turn
from agent_gym_env.rollout.episode import Episode, StepRecord, TurnRecord
from agent_gym_env.types import Action, Completion, ToolCall, Usage

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "episodes.md"


@pytest.mark.parametrize("struct", [Episode, TurnRecord, StepRecord, Action, Completion, Usage])
def test_every_field_is_on_the_page(struct: type[msgspec.Struct]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert [name for name in struct.__struct_fields__ if f"`{name}`" not in page] == []


def test_an_episode_is_written_as_the_page_says() -> None:
    due = RecordedCall("Teas_1-FindTea", {"kind": "green"}, "success", "[]")
    calls = StepRecord(Action(tool_calls=(ToolCall("Teas_1-FindTea", {"kind": "Green"}),)), "[{}]")
    reply = StepRecord(Action("Sorry."), action_error="text_too_long")
    record = TurnRecord(
        "Tea?", (calls, reply), Turn("Tea?", "No tea.", "Teas_1", due), 0.5, {"slot_values": None}
    )
    played = Episode(
        dialogue_id="1_00000",
        split="dev",
        corpus="c0ffee",
        services=("Teas_1",),
        date="2019-03-01",
        policy="agent",
        reward="balanced",
        turns=(record,),
        terminated=True,
    )
    assert msgspec.json.encode(played).decode() == (
        '{"dialogue_id":"1_00000","split":"dev","corpus":"c0ffee","services":["Teas_1"],'
        '"date":"2019-03-01","policy":"agent","reward":"balanced","turns":[{"user":"Tea?",'
        '"steps":[{"action":{"tool_calls":[{"name":"Teas_1-FindTea",'
        '"arguments":{"kind":"Green"}}]},"tool_result":"[{}]"},'
        '{"action":{"text":"Sorry."},"action_error":"text_too_long"}],'
        '"target":["Tea?","No tea.","Teas_1",'
        '["Teas_1-FindTea",{"kind":"green"},"success","[]",{},0],[],[]],'
        '"reward":0.5,"components":{"slot_values":null}}],"terminated":true}'
    )
