"""The page about a run shows its curve, and each of its policies beside a constant one."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

pytest.importorskip("stable_baselines3", reason="the extra sb3 is not installed")
pytest.importorskip("sb3_contrib", reason="the extra sb3 is not installed")

from agent_gym_env.errors import DataError
from agent_gym_env.training.ppo import train_ppo
from agent_gym_env.training.ppo_report import draw_curve, write_ppo_report
from tests.training.small_run import small
from tests.training.test_curve import CURVE


def test_the_page_shows_the_curve_and_the_policies(tmp_path: Path) -> None:
    config = small(total_timesteps=64)
    train_ppo(config, out=tmp_path)
    page = write_ppo_report(tmp_path, config).read_text()
    assert "Reward per turn during the training" in page
    assert all(name in page for name in ("constant", "untrained", "cloned", "ppo"))
    assert "<circle" in (tmp_path / "curve.svg").read_text()


def test_a_run_without_cloning_has_no_cloned_policy(tmp_path: Path) -> None:
    config = small(total_timesteps=64, cloning={"dialogues": 0})
    train_ppo(config, out=tmp_path)
    assert "cloned" not in write_ppo_report(tmp_path, config).read_text()


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read: No such file .*curve\.jsonl"):
        write_ppo_report(tmp_path, small())


def test_the_curve_has_a_dot_for_each_point() -> None:
    svg = ElementTree.fromstring(draw_curve(CURVE))
    hints = [hint.text for hint in svg.iter("title")]
    assert hints == ["0: 0.125 (0.100 to 0.150)", "4,096: 0.375 (0.300 to 0.450)"]
