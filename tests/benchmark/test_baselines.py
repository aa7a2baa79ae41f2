"""Our own results: each is right in itself, the page shows them, and playing again gives them."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent_gym_env.benchmark import (
    manifest_names,
    read_leaderboard,
    read_manifest,
    read_result,
    run_benchmark,
)
from agent_gym_env.benchmark.leaderboard import as_markdown

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs/results/benchmarks"


def test_the_page_has_the_tables_of_the_files() -> None:
    found = read_leaderboard(FOLDER)
    assert found.left_out == ()
    page = (ROOT / "docs/results/benchmarks.md").read_text("utf-8")
    for line in as_markdown(found).splitlines():
        assert line in page, line


def test_every_manifest_of_the_package_has_five_baselines() -> None:
    boards = {board.manifest_hash: board for board in read_leaderboard(FOLDER).boards}
    for name in manifest_names():
        board = boards[read_manifest(name).hash]
        assert len(board.entries) == 5, name
        assert board.entries[0].policy.name in ("oracle", "acts-oracle"), name


@pytest.mark.parametrize("policy", ["constant", "oracle"])
def test_playing_again_gives_the_same_outcomes(policy: str, tmp_path: Path) -> None:
    kept = read_result(FOLDER / f"sgd-sample-{policy}.json")
    again = run_benchmark("sgd-sample", policy, tmp_path)
    assert again.episodes == kept.episodes
    assert again.figures == kept.figures
