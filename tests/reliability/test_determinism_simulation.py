"""The same seed gives the same simulated dialogues, in every process and with every hash seed."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import pytest

from tests.reliability.playing import in_fresh_process, sized
from tests.reliability.simulated import NOISY, digest

EPISODES = sized(20, 300)
ARGUMENTS: dict[str, dict[str, Any]] = {
    "clean": {},
    "noisy": NOISY,
    "text": {"understanding": "text", **NOISY},
}
expected = cache(lambda name: digest(ARGUMENTS[name], EPISODES))


def of_fresh_process(arguments: dict[str, Any], **environment: str) -> str:
    module = "tests.reliability.simulated"
    return in_fresh_process(module, json.dumps(arguments), EPISODES, **environment)


@pytest.mark.parametrize("name", ARGUMENTS)
@pytest.mark.parametrize("hash_seed", ["0", "4000000000"])
def test_a_fresh_process_gives_the_same(name: str, hash_seed: str) -> None:
    assert of_fresh_process(ARGUMENTS[name], PYTHONHASHSEED=hash_seed) == expected(name)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_threads_give_the_same(name: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        played = pool.map(lambda _: digest(ARGUMENTS[name], EPISODES), range(4))
        assert set(played) == {expected(name)}


def test_noise_gives_other_dialogues() -> None:
    assert expected("noisy") != expected("clean")
