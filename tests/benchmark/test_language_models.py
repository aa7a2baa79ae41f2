"""Benchmarks of policies that ask a language model: its name, tokens and failures are recorded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

pytest.importorskip("aiohttp", reason="aiohttp comes with the extra 'local'")

from agent_gym_env.benchmark import check_result, new_manifest, read_result, write_manifest
from agent_gym_env.benchmark.result import write_result
from agent_gym_env.benchmark.run import JOURNAL, RESULT
from agent_gym_env.cli.main import main
from tests.lm.server import LMServer
from tests.reliability.commands import llm

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def server() -> Iterator[LMServer]:
    with LMServer(lambda request: "Nice.") as running:
        yield running


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "m.json"
    write_manifest(new_manifest("m", split="dev", episodes=2), path)
    return path


def run(manifest: Path, server: LMServer, *more: str) -> int:
    out = str(manifest.parent / "out")
    command = ["benchmark", "run", str(manifest), "--policy", llm(server), "--out", out]
    return main([*command, "--runner", "threads", *more])


def test_tokens_and_models_are_in_the_result(
    server: LMServer, manifest: Path, capsys: Capture
) -> None:
    assert run(manifest, server) == 0
    assert " completions, " in capsys.readouterr().out
    folder = manifest.parent / "out"
    result = read_result(folder / RESULT)
    spending = result.figures.spending
    assert spending is not None
    assert spending.completions == sum(each.turns for each in result.episodes)
    assert len(result.policy.models) == 1
    assert check_result(folder / RESULT, journal=folder / JOURNAL).is_right
    policy = msgspec.structs.replace(result.policy, models=("gpt",))
    forged = msgspec.structs.replace(result, policy=policy).with_hash()
    write_result(forged, folder / RESULT)
    (problem,) = check_result(folder / RESULT, journal=folder / JOURNAL).problems
    assert problem.startswith('policy.models[0]: "gpt", expected')


def test_an_episode_that_a_provider_failed_counts_until_it_is_played_again(
    server: LMServer, manifest: Path, capsys: Capture
) -> None:
    server.plan("404")
    assert run(manifest, server) == 1
    assert "1 episodes broke off, and count as failures" in capsys.readouterr().out
    folder = manifest.parent / "out"
    first = read_result(folder / RESULT)
    assert sorted(each.error is not None for each in first.episodes) == [False, True]
    assert check_result(folder / RESULT, journal=folder / JOURNAL).is_right
    assert run(manifest, server, "--retry-failed") == 0
    second = read_result(folder / RESULT)
    assert second.figures.failed == 0
    assert second.journal_hash != first.journal_hash
    assert check_result(folder / RESULT, journal=folder / JOURNAL).is_right
