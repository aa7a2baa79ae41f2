"""The report of a PPO run: its learning curve, and the figures of its policies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym

from agent_gym_env.evaluation.evaluate import summarize
from agent_gym_env.evaluation.plots import Interval, Point, as_file, curve_plot
from agent_gym_env.evaluation.report import write_report
from agent_gym_env.policies.act_policy import ActPolicy
from agent_gym_env.policies.base import Policy
from agent_gym_env.policies.constant import ConstantPolicy
from agent_gym_env.policies.sb3_model import SB3Policy
from agent_gym_env.rollout.play import play_all
from agent_gym_env.storage.files import written_whole
from agent_gym_env.training.act_envs import ActEnvs
from agent_gym_env.training.candidate_envs import CandidateEnvs
from agent_gym_env.training.curve import CurvePoint, read_curve
from agent_gym_env.training.ppo_config import ActPPOConfig, PPOConfig

_STAGES = ("initial", "cloned", "policy")


def write_ppo_report(out: Path, config: PPOConfig) -> Path:
    """Play the policies of a run, beside a constant one, and write ``report.html``.

    The learning curve is also written as ``curve.svg``.

    Args:
        out: folder of the run.
        config: settings of the run.

    Returns:
        The path of the page.

    Raises:
        DataError: the folder has no learning curve, or a policy in it cannot be read.
        StorageError: a file cannot be written.
    """
    curve = read_curve(out / "curve.jsonl")
    envs = CandidateEnvs(config.world, config.shape)
    split = config.evaluation.split
    policies: list[Policy] = [ConstantPolicy()]
    policies += [SB3Policy.load(path, envs.source()) for path in _saved(out, curve)]
    ids = envs.spread(split, config.evaluation.dialogues)
    return _write(out, curve, envs.make_sgd_env(split), ids, policies)


def write_act_ppo_report(out: Path, config: ActPPOConfig) -> Path:
    """Play the policies of a run over dialogue acts, and write ``report.html``.

    The learning curve, of strict success, is also written as ``curve.svg``.

    Args:
        out: as in `write_ppo_report`, like the rest.
        config: settings of the run.
    """
    curve = read_curve(out / "curve.jsonl")
    envs = ActEnvs(config.world)
    split = config.evaluation.split
    env = envs.sim_env(split)
    policies = [ActPolicy.load(env, env.corpus, path=str(path)) for path in _saved(out, curve)]
    ids = envs.spread(split, config.evaluation.dialogues)
    return _write(out, curve, env, ids, policies)


def _saved(out: Path, curve: Sequence[CurvePoint]) -> list[Path]:
    """Return the policies that a run has saved."""
    measured = {point.stage for point in curve}
    return [out / f"{stage}.npz" for stage in _STAGES if stage in measured]


def _write(
    out: Path,
    curve: Sequence[CurvePoint],
    env: gym.Env[Any, Any],
    dialogue_ids: Sequence[str],
    policies: Sequence[Policy],
) -> Path:
    with written_whole(out / "curve.svg") as file:
        file.write(as_file(draw_curve(curve)).encode())
    evaluated = []
    for policy in policies:
        episodes = list(play_all(env, policy, dialogue_ids))
        evaluated.append((summarize(episodes), episodes))
    plots = [(_curve_name(curve), draw_curve(curve))]
    return write_report(out / "report.html", evaluated, plots=plots)


def _curve_name(curve: Sequence[CurvePoint]) -> str:
    is_simulated = any(point.strict is not None for point in curve)
    what = "Strict success" if is_simulated else "Reward per turn"
    return f"{what} during the training"


def draw_curve(curve: Sequence[CurvePoint]) -> str:
    """Draw a learning curve as SVG."""
    points = [
        Point(point.steps, Interval(value.mean, value.low, value.high))
        for point in curve
        for value in [point.strict or point.reward]
    ]
    return curve_plot(points, x_label="steps", name=_curve_name(curve))
