"""The columns of a Parquet table of episodes."""

from __future__ import annotations

from agent_gym_env.extras import require

require("pyarrow", extra="data")

import pyarrow as pa  # noqa: E402

_TEXT = pa.string()
_TEXTS = pa.list_(pa.string())


def _required(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


# What has no fixed keys is JSON: `datasets` reads no maps, and a struct would give each the keys of
# all others, as nulls.
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
_STEP = pa.struct(
    [
        _required("text", _TEXT),
        _required("tool_calls", pa.list_(_TOOL_CALL)),
        _required("tool_result", _TEXT),
        pa.field("action_error", _TEXT),
        pa.field("completion", _COMPLETION),
    ]
)
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
    _required("date", _TEXT),
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
SCHEMA = pa.schema([*OF_EPISODE, *OF_TURN])
"""The columns. Those of the turn are null in the one row of an episode without turns."""
