"""The report of a PPO run: its learning curve, and the rewards of its policies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from agent_gym_env.evaluation.evaluate import summarize
from agent_gym_env.evaluation.plots import Interval, Point, as_file, curve_plot
from agent_gym_env.evaluation.report import write_report
from agent_gym_env.policies.base import Policy
from agent_gym_env.policies.constant import ConstantPolicy
from agent_gym_env.policies.sb3_model import SB3Policy
from agent_gym_env.rollout.play import play_all
from agent_gym_env.storage.files import written_whole
from agent_gym_env.training.candidate_envs import CandidateEnvs
from agent_gym_env.training.curve import CurvePoint, read_curve
from agent_gym_env.training.ppo_config import PPOConfig

_STAGES = ("initial", "cloned", "policy")
_CURVE_NAME = "Reward per turn during the training"


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
    with written_whole(out / "curve.svg") as file:
        file.write(as_file(draw_curve(curve)).encode())
    envs = CandidateEnvs(config.world, config.shape)
    split, dialogues = config.evaluation.split, config.evaluation.dialogues
    policies: list[Policy] = [ConstantPolicy()]
    stages = [stage for stage in _STAGES if any(point.stage == stage for point in curve)]
    policies += [SB3Policy.load(out / f"{stage}.npz", envs.source()) for stage in stages]
    evaluated = []
    for policy in policies:
        episodes = list(play_all(envs.make_sgd_env(split), policy, envs.spread(split, dialogues)))
        evaluated.append((summarize(episodes), episodes))
    return write_report(out / "report.html", evaluated, plots=[(_CURVE_NAME, draw_curve(curve))])


def draw_curve(curve: Sequence[CurvePoint]) -> str:
    """Draw a learning curve as SVG."""
    points = [
        Point(point.steps, Interval(point.reward.mean, point.reward.low, point.reward.high))
        for point in curve
    ]
    return curve_plot(points, x_label="steps", name=_CURVE_NAME)
