"""The benchmark of learning tells the shares of environments and network."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("sb3_contrib", reason="the extra sb3 is not installed")

from benchmarks.rl import Shares, main


def test_the_ratio_is_of_environments_to_network() -> None:
    assert Shares(env=1.0, network=2.0, rest=0.5).ratio == 0.5


def test_the_shares_are_measured_while_it_learns(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["--rollouts", "1", "--steps", "8", "--json"])
    shares = json.loads(capsys.readouterr().out)
    assert all(shares[part] > 0 for part in ("env", "network", "rest"))
    assert code == (0 if shares["ratio"] <= 1 else 1)
