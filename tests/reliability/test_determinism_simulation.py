"""The same seed gives the same simulated dialogues, in every process and with every hash seed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.reliability.playing import sized
from tests.reliability.simulated import NOISY, digest

EPISODES = sized(20, 300)
REPOSITORY = Path(__file__).resolve().parents[2]
ARGUMENTS: dict[str, dict[str, Any]] = {
    "clean": {},
    "noisy": NOISY,
    "text": {"understanding": "text", **NOISY},
}
expected = cache(lambda name: digest(ARGUMENTS[name], EPISODES))


def in_fresh_process(arguments: dict[str, Any], **environment: str) -> str:
    result = subprocess.run(
        [sys.executable, "-m", "tests.reliability.simulated", json.dumps(arguments), str(EPISODES)],
        cwd=REPOSITORY,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout.strip()


@pytest.mark.parametrize("name", ARGUMENTS)
@pytest.mark.parametrize("hash_seed", ["0", "4000000000"])
def test_a_fresh_process_gives_the_same(name: str, hash_seed: str) -> None:
    assert in_fresh_process(ARGUMENTS[name], PYTHONHASHSEED=hash_seed) == expected(name)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_threads_give_the_same(name: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        played = pool.map(lambda _: digest(ARGUMENTS[name], EPISODES), range(4))
        assert set(played) == {expected(name)}


def test_noise_gives_other_dialogues() -> None:
    assert expected("noisy") != expected("clean")
