"""Rows to train on, learning curves, results and answers that were kept, however damaged."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from agent_gym_env.errors import AgentGymError
from agent_gym_env.lm.base import Response
from agent_gym_env.lm.client import ResponseCache
from agent_gym_env.synthesis.sources import read_entities, read_schema
from agent_gym_env.types import ToolCall
from tests.reliability.damage import damaged, damaged_lines
from tests.reliability.playing import sized

SOURCES = Path(__file__).parents[2] / "data" / "sources"


def outcomes_of(
    content: bytes,
    path: Path,
    use: Callable[[], object],
    damage: Callable[[bytes, random.Random], bytes] = damaged,
    quick: int = 100,
) -> Counter[str]:
    """Use a file that is damaged in many ways; counts what came of it."""
    random_ = random.Random(0)
    outcomes: Counter[str] = Counter()
    for _ in range(sized(quick, 2_000)):
        path.write_bytes(damage(content, random_))
        outcomes[attempt(use)] += 1
    print(path.name, dict(outcomes))
    return outcomes


def attempt(use: Callable[[], object]) -> str:
    try:
        use()
    except AgentGymError:
        return "refused"
    return "used"


@pytest.mark.parametrize("kind", ["sft", "dpo", "kto", "grpo"])
def test_damaged_rows_are_refused_or_read(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("datasets", reason="needs the extra 'train'")
    from agent_gym_env.cli.main import main
    from agent_gym_env.training.chat_dataset import read_rows

    command = ["rollout", "--policy", "oracle", "--policy", "silent", "--branches", "1"]
    if kind in ("sft", "grpo"):
        command = ["rollout", "--policy", "oracle"]
    run, rows = str(tmp_path / "run"), tmp_path / "rows.jsonl"
    assert main([*command, "--episodes", "2", "--out", run]) == 0
    assert main(["export", "--format", kind, "--out", str(rows), run]) == 0

    def use() -> None:
        list(read_rows([rows], kind))  # type: ignore[arg-type]

    outcomes = outcomes_of(rows.read_bytes(), rows, use, damaged_lines)
    assert min(outcomes["refused"], outcomes["used"]) > 0


def test_a_damaged_curve_is_refused_or_read(tmp_path: Path) -> None:
    from agent_gym_env.training.curve import read_curve, write_curve
    from tests.training.test_curve import CURVE

    path = tmp_path / "curve.jsonl"
    write_curve(path, CURVE)
    outcomes = outcomes_of(path.read_bytes(), path, lambda: read_curve(path), damaged_lines)
    assert min(outcomes["refused"], outcomes["used"]) > 0


def test_a_damaged_result_of_an_optimisation_is_refused_or_read(tmp_path: Path) -> None:
    from agent_gym_env.optimization.result import OptimizationResult
    from tests.optimization.test_result import a_result

    path = tmp_path / "result.json"
    a_result().save(path)
    outcomes = outcomes_of(path.read_bytes(), path, lambda: OptimizationResult.load(path))
    assert min(outcomes["refused"], outcomes["used"]) > 0


def test_a_damaged_answer_counts_as_not_kept(tmp_path: Path) -> None:
    cache = ResponseCache(tmp_path)
    response = Response("Sencha", (ToolCall("Teas_1-FindTea", {"kind": "green"}),))
    cache.write("0" * 64, response)
    (path,) = (each for each in tmp_path.rglob("*") if each.is_file())

    def use() -> None:
        assert cache.read("0" * 64) in (None, response)

    assert outcomes_of(path.read_bytes(), path, use, damaged_answer)["refused"] == 0


def damaged_answer(content: bytes, random_: random.Random) -> bytes:
    """Damage the checksum or the answer behind it."""
    checksum, _, body = content.partition(b"\n")
    if random_.random() < 0.5:
        return checksum + b"\n" + damaged(body, random_)
    return content[: random_.randrange(len(content))]


def test_damaged_sources_of_a_corpus_are_refused_or_read(tmp_path: Path) -> None:
    services = read_schema(SOURCES / "schema.json")
    path = tmp_path / "entities.json"
    content = (SOURCES / "entities.json").read_bytes()
    outcomes = outcomes_of(content, path, lambda: read_entities(path, services), quick=25)
    assert min(outcomes["refused"], outcomes["used"]) > 0
