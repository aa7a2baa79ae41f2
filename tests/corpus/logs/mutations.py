"""Changes log files at random: their values, their bytes, their names and their compression."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from tests.corpus.logs.odd_conversations import FIND_TOOL, ODD, REFUSED

RECORDS = [*(odd.record for odd in ODD.values()), *(refused.record for refused in REFUSED)]

_NAMES = ("log.jsonl", "log.json", "log.ndjson", "log.jsonl.gz", "log.json.gz")
_SPLITS = ("train.jsonl", "dev.json", "test.jsonl.gz", "validation.jsonl", "more.jsonl")
_ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 7, 2**63, 2**64, -(2**70), 0.5, -0.0, 1e300, "", " ", "{", "[]",
    "null",
    '{"a": 1}', "<tool_call>", "<tools>[</tools>", "\0", "\u2028", "\U0001f375", "x" * 300, [], {},
    [[]], [None], {"": ""}, {"a": {"b": [1, "two"]}}, {"type": "text", "text": "Hi"},
    {"role": "user", "content": "Hi"}, {"$ref": "#"}, {"type": ["string", "null"]},
)  # fmt: skip
_ODD_BYTES = (
    b"\0", b"\xff", b"\xef\xbb\xbf", b"\r", b"\n", b"\r\n", b"{", b"}", b"[", b"]", b",", b":",
    b"\\", b"\\ud800", b"\\u0000", b"1e999", b"NaN", b"-", b"[" * 2000, b'{"a":' * 1200,
    b"\x1f\x8b",
)  # fmt: skip


def write_mutated_log(folder: Path, seed: int) -> Path:
    """Write a log with up to four of the odd conversations, changed; return its path."""
    random = Random(seed)
    records = [_copied(random.choice(RECORDS)) for _ in range(random.randint(1, 4))]
    for number, record in enumerate(records):
        if isinstance(record, dict) and random.random() < 0.8:
            record["id"] = f"{number}"
    for _ in range(random.choice((0, 1, 1, 1, 2, 3, 6))):
        _change_value(records, random)
    if random.random() < 0.2:
        return _write_folder(folder, records, random)
    path = folder / random.choice(_NAMES)
    path.write_bytes(_content(path.name, records, random))
    return path


def _write_folder(folder: Path, records: list[Any], random: Random) -> Path:
    log = folder / "log"
    log.mkdir()
    for name in random.sample(_SPLITS, random.randint(1, 3)):
        (log / name).write_bytes(_content(name, records, random))
    if random.random() < 0.5:
        tools: list[Any] = [{"key": "find", **FIND_TOOL}]
        for record in records:
            if isinstance(record, dict):
                record["tool_keys"] = ["find"]
        if random.random() < 0.5:
            _change_value(tools, random)
        (log / "tools.json").write_bytes(json.dumps(tools).encode())
        (log / "train.jsonl").write_bytes(_content("train.jsonl", records, random))
    return log


def _content(name: str, records: list[Any], random: Random) -> bytes:
    if ".jsonl" in name or ".ndjson" in name or random.random() < 0.3:
        end = random.choice(("\n", "\n", "\r\n", "\n\n"))
        content = "".join(f"{_written(record, random)}{end}" for record in records).encode()
    else:
        content = json.dumps(records, indent=random.choice((None, 1))).encode()
    for _ in range(random.choice((0, 0, 0, 0, 0, 0, 1, 2))):
        content = _changed_bytes(content, random)
    if name.endswith(".gz") and random.random() < 0.95:
        content = gzip.compress(content, mtime=0)
        if random.random() < 0.15:
            content = _changed_bytes(content, random)
    elif random.random() < 0.02:
        content = gzip.compress(content, mtime=0)
    return content


def _written(record: Any, random: Random) -> str:
    return json.dumps(record, ensure_ascii=random.random() < 0.5)


def _change_value(records: list[Any], random: Random) -> None:
    """Change one place of the records, wherever it is."""
    places = _places(records)
    if not places:
        return
    holder, key = random.choice(places)
    change = random.choice((_replace, _replace, _remove, _repeat, _exchange, _rename, _nest))
    change(holder, key, random, places)


def _places(value: Any) -> list[tuple[Any, Any]]:
    found = []
    keys = value if isinstance(value, dict) else range(len(value))
    for key in keys:
        found.append((value, key))
        if isinstance(value[key], (dict, list)):
            found += _places(value[key])
    return found


def _copied(value: Any) -> Any:
    """Copy a value, however deep it is."""
    return json.loads(json.dumps(value))


_Places = list[tuple[Any, Any]]
_Change = Callable[[Any, Any, Random, _Places], None]


def _replace(holder: Any, key: Any, random: Random, places: _Places) -> None:
    holder[key] = _copied(random.choice(_ODD_VALUES))


def _remove(holder: Any, key: Any, random: Random, places: _Places) -> None:
    del holder[key]


def _repeat(holder: Any, key: Any, random: Random, places: _Places) -> None:
    if isinstance(holder, list):
        holder.insert(key, _copied(holder[key]))
    else:
        holder[f"{key}_"] = _copied(holder[key])


def _exchange(holder: Any, key: Any, random: Random, places: _Places) -> None:
    other, place = random.choice(places)
    value = _copied(other[place])
    other[place] = _copied(holder[key])
    holder[key] = value


def _rename(holder: Any, key: Any, random: Random, places: _Places) -> None:
    names = [place for _, place in places if isinstance(place, str)]
    if isinstance(holder, dict) and names:
        holder[random.choice(names)] = holder.pop(key)


def _nest(holder: Any, key: Any, random: Random, places: _Places) -> None:
    value = holder[key]
    for _ in range(random.choice((1, 2, 40, 70, 100))):
        value = [value] if random.random() < 0.5 else {"a": value}
    holder[key] = value


def _changed_bytes(content: bytes, random: Random) -> bytes:
    start = random.randint(0, len(content))
    end = random.randint(start, min(len(content), start + random.choice((0, 1, 1, 40))))
    kind = random.randrange(5)
    if kind == 0:
        return content[:start] + random.choice(_ODD_BYTES) + content[end:]
    if kind == 1:
        return content[:start] + bytes([random.randrange(256)]) + content[end:]
    if kind == 2:
        return content[:start] + content[end:]
    if kind == 3:
        return content[:end] + content[start:]
    return content[:start]
