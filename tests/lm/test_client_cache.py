from __future__ import annotations

import logging
from pathlib import Path

import pytest

from agent_gym_env.lm.base import Request, Response
from agent_gym_env.lm.client import ResponseCache, cache_key
from agent_gym_env.types import ToolCall, Usage

RESPONSE = Response("Hei", (ToolCall("F", {"a": "é"}),), ("id",), usage=Usage(3, 4), cost_usd=0.1)
KEY = cache_key("model", Request([{"role": "user", "content": "Hi"}]))


def test_what_was_kept_is_given_back_whole(tmp_path: Path) -> None:
    cache = ResponseCache(tmp_path / "new" / "folder")
    assert cache.read(KEY) is None
    cache.write(KEY, RESPONSE)
    assert cache.read(KEY) == RESPONSE


def test_every_damaged_byte_makes_an_entry_not_there(tmp_path: Path) -> None:
    cache = ResponseCache(tmp_path)
    cache.write(KEY, RESPONSE)
    (path,) = tmp_path.rglob("*.json")
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert cache.read(KEY) is None
        path.write_bytes(whole[:place])
        assert cache.read(KEY) is None
    path.write_bytes(whole)
    assert cache.read(KEY) == RESPONSE


def test_a_disk_that_takes_nothing_costs_the_cache_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "a file"
    folder.write_text("in the way")
    with caplog.at_level(logging.WARNING):
        ResponseCache(folder).write(KEY, RESPONSE)
    assert "cannot cache an answer" in caplog.text


def test_the_key_is_the_same_in_every_order_of_names() -> None:
    one = Request([{"role": "user", "content": "Hi"}], extra={"a": 1, "b": {"c": 1, "d": 2}})
    other = Request([{"content": "Hi", "role": "user"}], extra={"b": {"d": 2, "c": 1}, "a": 1})
    assert cache_key("m", one) == cache_key("m", other)


def test_the_key_holds_the_order_of_messages_apart() -> None:
    first = [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]
    assert cache_key("m", Request(first)) != cache_key("m", Request(first[::-1]))
    assert cache_key("m", Request(first)) != cache_key("n", Request(first))


def test_what_a_killed_writer_left_is_removed_with_the_next_write(tmp_path: Path) -> None:
    cache = ResponseCache(tmp_path)
    cache.write(KEY, RESPONSE)
    (path,) = tmp_path.rglob("*.json")
    path.unlink()
    (path.parent / f".{path.name}.{'0a' * 8}.unfinished").write_bytes(b"half")
    cache.write(KEY, RESPONSE)
    assert list(path.parent.iterdir()) == [path]


def test_an_answer_that_is_removed_is_not_there_any_more(tmp_path: Path) -> None:
    cache = ResponseCache(tmp_path)
    cache.write(KEY, RESPONSE)
    cache.remove(KEY)
    cache.remove(KEY)
    assert cache.read(KEY) is None
