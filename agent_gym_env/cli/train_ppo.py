"""``agent-gym train ppo`` and ``agent-gym train ppo-acts``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from msgspec import structs

from agent_gym_env.cli.console import phases, print_json, print_table
from agent_gym_env.cli.exit_codes import ExitCode, stopped
from agent_gym_env.cli.settings import CorpusName, Folder, Model, Variant
from agent_gym_env.cli.settings_parser import Named
from agent_gym_env.evaluation.table import interval, number
from agent_gym_env.policies.act_policy import Hears
from agent_gym_env.training.curve import CurvePoint, read_curve
from agent_gym_env.training.ppo_config import ActPPOConfig, PPOConfig
from agent_gym_env.training.trackers import open_trackers


class PPO(PPOConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Train a policy by PPO over candidate actions, with stable-baselines3.

    Attributes:
        out: folder for the policy, checkpoints and the learning curve.
        resume: continue from the checkpoint in the folder, or begin where there is none.
        tensorboard: write TensorBoard events to the folder.
        track: trackers of the measurements: tensorboard, wandb, mlflow, trackio or one of your own;
            for each a name, or a JSON object with a name and options.
        corpus: corpus, in place of the one in --world: 'sample', 'sgd', a path, or a JSON object
            with a name and options.
        schema_variant: variant of SGD-X, in place of the one in --world.
        reward: reward, in place of the one in --world: a name, or a JSON object with options.
        model: language model of a judge that names none: a name, or a JSON object with options.
        json: print the learning curve as JSON.
        events: print each event of the run as one line of JSON.
        world: object with the environment, the reward and the source of the candidates.
        shape: object with the size of the network and of what it reads.
        cloning: object with the settings of the warm start.
        evaluation: object with the split, the dialogues and the distance of measurements.
    """

    out: Folder = Path("out/ppo")
    resume: bool = False
    tensorboard: bool = False
    track: tuple[Named, ...] = ()
    corpus: CorpusName | None = None
    schema_variant: Variant | None = None
    reward: Named | None = None
    model: Model | None = None
    json: bool = False
    events: bool = False

    def config(self) -> PPOConfig:
        """Return the configuration of the training run."""
        given = {name: getattr(self, name) for name in ("corpus", "schema_variant")}
        env = {**self.world.env, **{name: value for name, value in given.items() if value}}
        changed: dict[str, Any] = {"env": env}
        if self.reward is not None:
            changed["reward"] = dict(self.reward)
        fields = {name: getattr(self, name) for name in PPOConfig.__struct_fields__}
        return PPOConfig(**fields | {"world": structs.replace(self.world, **changed)})


class PPOActs(ActPPOConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Train a policy by PPO over dialogue acts in SGDSim-v0, with stable-baselines3.

    Attributes:
        out: folder for the policy, checkpoints and the learning curve.
        resume: continue from the checkpoint in the folder, or begin where there is none.
        tensorboard: write TensorBoard events to the folder.
        track: trackers of the measurements: tensorboard, wandb, mlflow, trackio or one of your own;
            for each a name, or a JSON object with a name and options.
        corpus: corpus, in place of the one in --world: 'sample', 'sgd', a path, or a JSON object
            with a name and options.
        understanding: what the user reads of the agent, in place of the one in --world: its acts
            or its text.
        hears: what the agent hears of the user, in place of the one in --world: words, or the
            user's acts, which the environment tells it.
        noise: what the agent mishears, in place of the one in --world, as a JSON object with the
            shares of lost acts and of wrong values.
        json: print the learning curve as JSON.
        events: print each event of the run as one line of JSON.
        world: object with the environment, the reward, and what the agent hears.
        cloning: object with the settings of the warm start.
        teacher: who is imitated in the warm start: the recorded agent, or the rule-based agent, in
            the run's own environment and with its noise.
        evaluation: object with the split, the dialogues and the distance of measurements.
    """

    out: Folder = Path("out/ppo-acts")
    resume: bool = False
    tensorboard: bool = False
    track: tuple[Named, ...] = ()
    corpus: CorpusName | None = None
    understanding: Literal["acts", "text"] | None = None
    hears: Hears | None = None
    noise: dict[str, float] | None = None
    json: bool = False
    events: bool = False

    def config(self) -> ActPPOConfig:
        """Return the configuration of the training run."""
        names = ("corpus", "understanding", "noise")
        given = {name: getattr(self, name) for name in names}
        changed: dict[str, Any] = {
            "env": {**self.world.env, **{k: v for k, v in given.items() if v is not None}}
        }
        if self.hears is not None:
            changed["hears"] = self.hears
        fields = {name: getattr(self, name) for name in ActPPOConfig.__struct_fields__}
        return ActPPOConfig(**fields | {"world": structs.replace(self.world, **changed)})


def ppo(settings: PPO) -> ExitCode:
    """Train, and print the learning curve."""
    # Only here: these libraries are slow to import, and come with an extra.
    from agent_gym_env.training.ppo import train_ppo
    from agent_gym_env.training.ppo_report import write_ppo_report

    return _train(settings, settings.config(), train_ppo, write_ppo_report)


def ppo_acts(settings: PPOActs) -> ExitCode:
    """Train, and print the learning curve."""
    from agent_gym_env.training.act_ppo import train_act_ppo
    from agent_gym_env.training.ppo_report import write_act_ppo_report

    return _train(settings, settings.config(), train_act_ppo, write_act_ppo_report)


def _train(
    settings: PPO | PPOActs,
    config: Any,
    train: Callable[..., object],
    write_report: Callable[[Path, Any], Path],
) -> ExitCode:
    from agent_gym_env.training.ppo_run import CHECKPOINT

    try:
        with (
            open_trackers(settings.track, out=settings.out, settings=config) as tracker,
            phases() as shown,
        ):
            train(
                config,
                out=settings.out,
                resume=settings.resume,
                tensorboard=settings.tensorboard,
                on_progress=shown.advance,
                on_measured=shown.measured,
                tracker=tracker,
            )
        report = write_report(settings.out, config)
    except KeyboardInterrupt:
        if not (settings.out / CHECKPOINT).exists():
            raise
        return stopped("the same command with --resume")
    curve = read_curve(settings.out / "curve.jsonl")
    if settings.json:
        print_json(curve)
    elif not settings.events:
        _print_curve(curve, config.evaluation.split)
        print(f"policy: {settings.out / f'{curve[-1].stage}.npz'}; report: {report}")
    return ExitCode.DONE


def _print_curve(curve: Sequence[CurvePoint], split: str) -> None:
    measured = [each.strict or each.reward for each in curve]
    rows = [
        (each.stage, f"{each.steps:,}", f"{each.cpu_s:.0f}", number(value.mean), interval(value))
        for each, value in zip(curve, measured, strict=True)
    ]
    is_simulated = curve[-1].strict is not None
    what, unit = ("strict success", "dialogues") if is_simulated else ("reward per turn", "turns")
    title = f"{measured[-1].count:,} {unit} of {split}"
    print_table(("policy", "steps", "CPU s", what, "95 % interval"), rows, title)
