"""Writing episodes to a Parquet table, one row per turn, and reading them back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import msgspec

from agent_gym_env.corpus.task import RecordedCall, Turn
from agent_gym_env.errors import DataError
from agent_gym_env.export.rows import Tally
from agent_gym_env.extras import require
from agent_gym_env.rollout.episode import EPISODE_FORMAT, Episode, StepRecord, TurnRecord
from agent_gym_env.storage.files import written_whole
from agent_gym_env.types import Completion

require("pyarrow", extra="data")

import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402

_ROWS_AT_ONCE = 1024
"""Number of turns in a row group, which is held in memory."""

Row = dict[str, Any]

_TEXT = pa.string()
_TEXTS = pa.list_(pa.string())


def _required(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


# Mappings without fixed keys are stored as JSON: `datasets` cannot read maps, and in a struct each
# row would have the keys of all others, as nulls.
_TOOL_CALL = pa.struct([_required("name", _TEXT), _required("arguments", _TEXT)])
_COMPLETION = pa.struct(
    [
        _required("text", _TEXT),
        _required("model", _TEXT),
        pa.field(
            "usage",
            pa.struct(
                [
                    _required("prompt_tokens", pa.int64()),
                    _required("completion_tokens", pa.int64()),
                ]
            ),
        ),
        pa.field("cost_usd", pa.float64()),
        pa.field("latency_s", pa.float64()),
        pa.field("token_ids", pa.list_(pa.int64())),
    ]
)
_DIALOGUE_ACT = pa.struct(
    [_required("act", _TEXT), _required("slot", _TEXT), _required("value", _TEXT)]
)
_STEP_WITHOUT_ACTS = pa.struct(
    [
        _required("text", _TEXT),
        _required("tool_calls", pa.list_(_TOOL_CALL)),
        _required("tool_result", _TEXT),
        pa.field("action_error", _TEXT),
        pa.field("completion", _COMPLETION),
    ]
)
_STEP = pa.struct([*_STEP_WITHOUT_ACTS, _required("acts", pa.list_(_DIALOGUE_ACT))])
_RECORDED_CALL = pa.struct(
    [
        _required("name", _TEXT),
        _required("arguments", _TEXT),
        _required("status", _TEXT),
        _required("results", _TEXT),
        _required("forms", _TEXT),
    ]
)
_SPOKEN_VALUE = pa.struct(
    [_required("slot", _TEXT), _required("text", _TEXT), _required("forms", _TEXTS)]
)
_TARGET = pa.struct(
    [
        _required("user", _TEXT),
        _required("text", _TEXT),
        _required("service", _TEXT),
        pa.field("call", _RECORDED_CALL),
        _required("values", pa.list_(_SPOKEN_VALUE)),
    ]
)
OF_EPISODE = [
    _required("episode", pa.int64()),
    _required("dialogue_id", _TEXT),
    _required("split", _TEXT),
    _required("corpus", _TEXT),
    pa.field("schema_variant", _TEXT),
    _required("services", _TEXTS),
    pa.field("seen_services", _TEXTS),
    pa.field("date", _TEXT),
    _required("policy", _TEXT),
    _required("reward_name", _TEXT),
    pa.field("seed", pa.int64()),
    _required("tools", _TEXT),
    _required("terminated", pa.bool_()),
    _required("truncated", pa.bool_()),
    pa.field("error", _TEXT),
    _required("duration_s", pa.float64()),
    _required("format", pa.int64()),
]
OF_TURN = [
    pa.field("turn", pa.int64()),
    pa.field("user", _TEXT),
    pa.field("steps", pa.list_(_STEP)),
    pa.field("target", _TARGET),
    pa.field("reward", pa.float64()),
    pa.field("components", _TEXT),
    pa.field("reason", _TEXT),
]
OF_SIMULATION = [
    pa.field("simulated_user", _TEXT),
    pa.field("simulated", _TEXT),
]
"""Columns for simulated dialogues, of the episode and of the turn, each as JSON."""
OF_LOGS = [
    pa.field("system", _TEXT),
    pa.field("more_calls", _TEXT),
]
"""Columns for logs: system prompt of the episode; calls of the turn after its first, as JSON."""
SCHEMA = pa.schema([*OF_EPISODE, *OF_TURN, *OF_SIMULATION, *OF_LOGS])
"""Columns. The columns of a turn are null in the single row of an episode without turns."""

_DATE, _STEPS = (SCHEMA.get_field_index(name) for name in ("date", "steps"))
_WITHOUT_LOGS = pa.schema([*OF_EPISODE, *OF_TURN, *OF_SIMULATION]).set(
    _DATE, _required("date", _TEXT)
)
_WITHOUT_SIMULATION = pa.schema(list(_WITHOUT_LOGS)[: -len(OF_SIMULATION)])
_WITHOUT_ACTS = _WITHOUT_SIMULATION.set(_STEPS, pa.field("steps", pa.list_(_STEP_WITHOUT_ACTS)))
_OLDER_SCHEMAS = (_WITHOUT_LOGS, _WITHOUT_SIMULATION, _WITHOUT_ACTS)
"""Columns of tables that were written before there were logs, simulated dialogues, or acts."""


def write_parquet(path: Path, episodes: Iterable[Episode], tally: Tally) -> None:
    """Write episodes; the file appears when the last one is written.

    Args:
        path: path of the file.
        episodes: episodes, failed ones included.
        tally: counts the rows.

    Raises:
        StorageError: the disk is full or read-only.
        AgentGymError: no row was written.
        DataError: a seed has more than 64 bits.
    """
    rows = (row for number, episode in enumerate(episodes) for row in _rows(number, episode))
    with written_whole(path) as file, pq.ParquetWriter(file, SCHEMA, compression="zstd") as writer:
        while batch := list(islice(rows, _ROWS_AT_ONCE)):
            writer.write_batch(_record_batch(batch))
            tally.written += len(batch)
        tally.require_rows()


def _record_batch(rows: list[Row]) -> pa.RecordBatch:
    try:
        return pa.RecordBatch.from_pylist(rows, schema=SCHEMA)
    except (OverflowError, pa.ArrowInvalid) as error:
        raise DataError(f"a table cannot hold these episodes: {error}") from error


def _rows(number: int, episode: Episode) -> Iterator[Row]:
    shared: Row = {name: getattr(episode, name) for name in _PLAIN_OF_EPISODE}
    shared |= {"episode": number, "reward_name": episode.reward, "system": episode.system}
    if episode.simulated_user is not None:
        shared["simulated_user"] = _json(episode.simulated_user)
    if not episode.turns:
        yield shared
    for index, turn in enumerate(episode.turns):
        yield {**shared, "turn": index, **_turn_columns(turn)}


_PLAIN_OF_EPISODE = [
    field.name for field in OF_EPISODE if field.name not in ("episode", "reward_name")
]
"""Columns that equal the fields of an episode."""


def _turn_columns(turn: TurnRecord) -> Row:
    return {
        "user": turn.user,
        "steps": [_step_columns(step) for step in turn.steps],
        "target": None if turn.target is None else _target_columns(turn.target),
        "reward": turn.reward,
        "components": _json(turn.components),
        "reason": turn.reason,
        "simulated": None if turn.simulated is None else _json(turn.simulated),
        "more_calls": _json(turn.target.more_calls)
        if turn.target and turn.target.more_calls
        else None,
    }


def _has_more_calls(turn: TurnRecord) -> bool:
    return turn.target is not None and bool(turn.target.more_calls)


def _step_columns(step: StepRecord) -> Row:
    action = step.action
    completion = action.completion
    return {
        "text": action.text,
        "tool_calls": [
            {"name": call.name, "arguments": _json(call.arguments)} for call in action.tool_calls
        ],
        "tool_result": step.tool_result,
        "action_error": step.action_error,
        "completion": None if completion is None else _completion_columns(completion),
        "acts": [{"act": each.act, "slot": each.slot, "value": each.value} for each in action.acts],
    }


def _completion_columns(completion: Completion) -> Row:
    usage = completion.usage
    return {
        **msgspec.structs.asdict(completion),
        "usage": None if usage is None else msgspec.structs.asdict(usage),
    }


def _target_columns(target: Turn) -> Row:
    call = target.call
    return {
        **msgspec.structs.asdict(target),
        "call": None if call is None else _call_columns(call),
        "values": [msgspec.structs.asdict(value) for value in target.values],
    }


def _call_columns(call: RecordedCall) -> Row:
    columns = msgspec.structs.asdict(call)
    return {**columns, "arguments": _json(call.arguments), "forms": _json(call.forms)}


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def read_parquet(path: Path) -> Iterator[Episode]:
    """Read episodes one at a time, exactly as they were written.

    Raises:
        DataError: the file was not written by `write_parquet`, or is damaged.
    """
    try:
        with pq.ParquetFile(path) as file:
            if not any(map(file.schema_arrow.equals, (SCHEMA, *_OLDER_SCHEMAS))):
                raise DataError(
                    f"not a table of episodes: expected the columns {SCHEMA.names}, found "
                    f"{file.schema_arrow.names}, or other types",
                    file=str(path),
                )
            batches = file.iter_batches(batch_size=_ROWS_AT_ONCE)
            rows = (row for batch in batches for row in batch.to_pylist())
            for number, group in groupby(rows, key=lambda row: row["episode"]):
                yield _episode(list(group), f"{path}, episode {number}")
    except OSError as error:
        raise DataError(f"cannot read episodes: {error}", file=str(path)) from error
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise DataError(f"damaged Parquet file: {error}", file=str(path)) from error


def _episode(rows: list[Row], place: str) -> Episode:
    first = rows[0]
    if first["format"] != EPISODE_FORMAT:
        raise DataError(
            f"the episode's format is {first['format']}; this version reads {EPISODE_FORMAT}",
            file=place,
        )
    columns = {name: first[name] for name in _PLAIN_OF_EPISODE}
    columns["reward"] = first["reward_name"]
    try:
        columns["simulated_user"] = _from_json(first.get("simulated_user"))
        columns["system"] = first.get("system")
        turns = [_turn(row) for row in rows if row["turn"] is not None]
        return msgspec.convert({**columns, "turns": turns}, Episode)
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
        raise DataError(f"invalid episode: {error}", file=place) from error


def _turn(row: Mapping[str, Any]) -> Row:
    return {
        "user": row["user"],
        "steps": [_step(step) for step in row["steps"]],
        "target": None if row["target"] is None else _target(row["target"], row.get("more_calls")),
        "reward": row["reward"],
        "components": msgspec.json.decode(row["components"]),
        "reason": row["reason"],
        "simulated": _from_json(row.get("simulated")),
    }


def _from_json(text: str | None) -> Any:
    return None if text is None else msgspec.json.decode(text)


def _step(columns: Row) -> Row:
    calls = [
        {"name": call["name"], "arguments": msgspec.json.decode(call["arguments"])}
        for call in columns["tool_calls"]
    ]
    acts = [[act["act"], act["slot"], act["value"]] for act in columns.get("acts", ())]
    return {
        "action": {
            "text": columns["text"],
            "tool_calls": calls,
            "completion": columns["completion"],
            "acts": acts,
        },
        "tool_result": columns["tool_result"],
        "action_error": columns["action_error"],
    }


def _target(columns: Row, more_calls: str | None) -> list[Any]:
    """Return a recorded turn in the form in which `Turn` is encoded: an array."""
    call = columns["call"]
    return [
        columns["user"],
        columns["text"],
        columns["service"],
        None if call is None else _recorded_call(call),
        [[value["slot"], value["text"], value["forms"]] for value in columns["values"]],
        _from_json(more_calls) or [],
    ]


def _recorded_call(columns: Row) -> list[Any]:
    return [
        columns["name"],
        msgspec.json.decode(columns["arguments"]),
        columns["status"],
        columns["results"],
        msgspec.json.decode(columns["forms"]),
    ]
