"""Episodes come back from a table as they went into it."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip("pyarrow", reason="pyarrow is not installed: extra data")

import pyarrow as pa
import pyarrow.parquet as pq

from agent_gym_env.assembly import play_episodes
from agent_gym_env.corpus.task import RecordedCall, SpokenValue, Turn
from agent_gym_env.errors import AgentGymError, DataError, StorageError
from agent_gym_env.export.parquet import SCHEMA, read_parquet, write_parquet
from agent_gym_env.export.rows import Tally
from agent_gym_env.rollout.episode import EPISODE_FORMAT, Episode, StepRecord, TurnRecord
from agent_gym_env.rollout.journal.reading import read_episodes, write_episodes
from agent_gym_env.types import Action, Completion, DialogueAct, ToolCall, Usage
from tests.evaluation.episode_factory import call, due, episode, turn

EVERYTHING = Episode(
    "1_00000",
    "train",
    "f" * 64,
    ("Teas_1", "Cakes_1"),
    "2019-03-01",
    "agent",
    "judge",
    (
        TurnRecord(
            "Hi",
            (
                StepRecord(
                    Action(
                        "",
                        (ToolCall("Teas_1-FindTea", {"n": None, "deep": [1, {"a": True}]}),),
                        Completion("raw", "model", Usage(3, 4), 0.25, 1.5, (1, 2)),
                    ),
                    "[{}]",
                    "unknown_tool",
                ),
                StepRecord(
                    Action(
                        "Grüße \U0001f375\n\0",
                        (),
                        Completion("raw"),
                        (DialogueAct("GOODBYE"), DialogueAct("INFORM", "city", "Köln")),
                    )
                ),
            ),
            Turn(
                "Hi",
                "Hello",
                "Teas_1",
                RecordedCall("Teas_1-FindTea", {"a": "b"}, "failure", "[]", {"a": ("b", "c")}),
                (SpokenValue("a", "b", ("c",)), SpokenValue("d", "e")),
            ),
            0.5,
            {"judge": None, "half": 0.5},
            "because",
        ),
        turn(None),
    ),
    schema_variant="v2",
    seen_services=(),
    seed=2**40,
    tools="[]",
    terminated=True,
    truncated=True,
    duration_s=0.25,
)


def written(folder: Path, *episodes: Episode) -> tuple[Path, Tally]:
    path, tally = folder / "episodes.parquet", Tally()
    write_parquet(path, episodes, tally)
    return path, tally


def test_every_field_comes_back(tmp_path: Path) -> None:
    failed = episode(terminated=False, error="LMError: no")
    path, tally = written(tmp_path, EVERYTHING, failed, EVERYTHING)
    assert list(read_parquet(path)) == [EVERYTHING, failed, EVERYTHING]
    assert tally.written == 5


def test_a_row_is_a_turn_with_the_columns_of_its_episode(tmp_path: Path) -> None:
    played = episode(
        turn(0.25, user="Hi", made=[call(city="Köln")], says="One.", due=due(city="Köln")),
        turn(None, reason="no answer"),
        policy="teacher",
    )
    first, second = pq.read_table(written(tmp_path, played)[0]).to_pylist()
    assert [first["turn"], second["turn"]] == [0, 1]
    assert first["policy"] == second["policy"] == "teacher"
    assert (first["reward_name"], first["reward"]) == ("ground_truth", 0.25)
    assert (second["reward"], second["reason"]) == (None, "no answer")
    assert first["steps"][0]["tool_calls"] == [
        {"name": "Hotels_1-FindHotel", "arguments": '{"city":"Köln"}'}
    ]
    assert first["target"]["call"]["arguments"] == '{"city":"Köln"}'


def _without_logs(table: pa.Table) -> pa.Table:
    """Return a table as it was when every episode had a date, and every turn one call at most."""
    older = table.drop_columns(["system", "more_calls"])
    place = older.schema.get_field_index("date")
    return older.cast(older.schema.set(place, pa.field("date", pa.string(), nullable=False)))


def _without_simulations(table: pa.Table) -> pa.Table:
    return _without_logs(table).drop_columns(["simulated_user", "simulated"])


def test_a_table_from_before_there_were_logs_is_read(tmp_path: Path) -> None:
    played = episode(turn(0.25, user="Hi", made=[call(city="Köln")], says="One."))
    path, _ = written(tmp_path, played)
    pq.write_table(_without_logs(pq.read_table(path)), path)
    assert list(read_parquet(path)) == [played]


def test_an_episode_of_a_log_comes_back_as_it_was(tmp_path: Path) -> None:
    calls = tuple(
        RecordedCall("find", {"near": ["Köln", 2.5]}, "error", '"down"', round=number)
        for number in range(3)
    )
    target = Turn("Hi", "It is down.", "find", calls[0], (), calls[1:])
    record = msgspec.structs.replace(turn(0.25, user="Hi", says="One."), target=target)
    played = msgspec.structs.replace(episode(record), date=None, system="Be brief.")
    path, _ = written(tmp_path, played)
    assert list(read_parquet(path)) == [played]


def test_a_table_from_before_there_were_simulations_is_read(tmp_path: Path) -> None:
    played = episode(turn(0.25, user="Hi", made=[call(city="Köln")], says="One."))
    path, _ = written(tmp_path, played)
    pq.write_table(_without_simulations(pq.read_table(path)), path)
    assert list(read_parquet(path)) == [played]


def test_simulated_dialogues_come_back_as_they_were(tmp_path: Path) -> None:
    policy = {"name": "acts-oracle"}
    arguments: dict[str, Any] = {"env": "SGDSim-v0", "understanding": "acts", "split": "dev"}
    played = list(play_episodes(policy, episodes=3, **arguments))
    path, tally = written(tmp_path, *played)
    assert list(read_parquet(path)) == played
    assert tally.written == sum(len(each.turns) for each in played)


def test_a_table_from_before_actions_had_acts_is_read(tmp_path: Path) -> None:
    played = episode(turn(0.25, user="Hi", made=[call(city="Köln")], says="One."))
    path, _ = written(tmp_path, played)
    rows = pq.read_table(path).to_pylist()
    for step in rows[0]["steps"]:
        assert step.pop("acts") == []
    names = [field.name for field in SCHEMA.field("steps").type.value_type]
    assert names == ["text", "tool_calls", "tool_result", "action_error", "completion", "acts"]
    steps = pa.list_(pa.struct([*SCHEMA.field("steps").type.value_type][:-1]))
    before = SCHEMA.set(SCHEMA.get_field_index("steps"), pa.field("steps", steps))
    pq.write_table(_without_simulations(pa.Table.from_pylist(rows, schema=before)), path)
    assert list(read_parquet(path)) == [played]


def test_2000_texts_of_all_of_unicode_come_back_byte_for_byte(tmp_path: Path) -> None:
    draw = random.Random(24)
    points = [*range(0xD800), *range(0xE000, sys.maxunicode + 1)]
    texts = ["".join(map(chr, draw.choices(points, k=draw.randrange(40)))) for _ in range(2000)]
    played = [
        episode(
            turn(user=text, says=text[::-1], made=[call(**{text or "a": text})]),
            duration_s=0.5,
            tools='[{"function":{"name":"T"}}]',
        )
        for text in texts
    ]
    lines, again = tmp_path / "episodes.jsonl", tmp_path / "again.jsonl"
    list(write_episodes(lines, played))
    path, _ = written(tmp_path, *read_episodes(lines))
    list(write_episodes(again, read_parquet(path)))
    assert again.read_bytes() == lines.read_bytes()


def test_a_long_file_has_row_groups_that_an_episode_may_cross(tmp_path: Path) -> None:
    played = [episode(*[turn()] * 7, dialogue_id=f"1_{number:05d}") for number in range(400)]
    path, _ = written(tmp_path, *played)
    assert pq.ParquetFile(path).num_row_groups == 3
    assert list(read_parquet(path)) == played


def test_no_episodes_make_no_table(tmp_path: Path) -> None:
    with pytest.raises(AgentGymError, match="nothing was left to write"):
        written(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_seed_beyond_64_bits_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot hold"):
        written(tmp_path, episode(turn(), seed=2**70))
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        written(tmp_path / "file", EVERYTHING)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PAR1" * 9])
def test_a_damaged_table_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "episodes.parquet"
    path.write_bytes(content)
    with pytest.raises(DataError, match="damaged Parquet file"):
        list(read_parquet(path))


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read episodes"):
        list(read_parquet(tmp_path / "nothing.parquet"))


def test_a_table_with_other_columns_is_refused_with_their_names(tmp_path: Path) -> None:
    path = tmp_path / "other.parquet"
    pq.write_table(pa.table({"x": [1]}), path)
    with pytest.raises(DataError, match=r"found \['x'\]"):
        list(read_parquet(path))


def test_an_episode_of_another_version_is_refused(tmp_path: Path) -> None:
    path, _ = written(tmp_path, msgspec.structs.replace(EVERYTHING, format=EPISODE_FORMAT + 1))
    with pytest.raises(DataError, match=f"this version reads {EPISODE_FORMAT}"):
        list(read_parquet(path))


def test_rows_that_were_tampered_with_are_refused(tmp_path: Path) -> None:
    path, _ = written(tmp_path, EVERYTHING)
    rows = pq.read_table(path).to_pylist()
    rows[0]["components"] = "no JSON"
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), path)
    with pytest.raises(DataError, match=r"invalid episode.*episode 0"):
        list(read_parquet(path))
