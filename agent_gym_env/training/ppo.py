"""PPO over candidate actions, with stable-baselines3."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np

from agent_gym_env.errors import AgentGymError, ResumeMismatchError, StorageError
from agent_gym_env.evaluation.evaluate import summarize
from agent_gym_env.extras import require
from agent_gym_env.lm.credentials import without_credentials
from agent_gym_env.policies.candidate_network import CandidateNetwork
from agent_gym_env.policies.sb3_model import SB3Policy
from agent_gym_env.process_wide import random_state_kept
from agent_gym_env.rollout.play import play_all
from agent_gym_env.storage.files import written_whole
from agent_gym_env.training.candidate_envs import CandidateEnvs
from agent_gym_env.training.checkpoint import load_checkpoint, save_checkpoint
from agent_gym_env.training.cloning import clone, demonstrate
from agent_gym_env.training.config import OnMeasured, OnProgress
from agent_gym_env.training.curve import CurvePoint, write_curve
from agent_gym_env.training.ppo_config import PPOConfig
from agent_gym_env.wrappers.select_info import SelectInfo

require("stable_baselines3", extra="sb3")
require("sb3_contrib", extra="sb3")

from sb3_contrib import MaskablePPO  # noqa: E402
from stable_baselines3 import PPO  # noqa: E402
from stable_baselines3.common.logger import Logger, configure  # noqa: E402
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm  # noqa: E402
from stable_baselines3.common.utils import set_random_seed  # noqa: E402
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor  # noqa: E402

from agent_gym_env.training.sb3_parts import (  # noqa: E402  # noqa: E402
    CandidateActorCritic,
    MaskableCandidateActorCritic,
    NoteUnscoredSteps,
    ScoredMaskableRolloutBuffer,
    ScoredRolloutBuffer,
)

CHECKPOINT = "checkpoint.npz"
"""Name of the checkpoint in the folder of a run."""

_NAMES = {"initial": "untrained", "cloned": "cloned", "policy": "ppo"}
"""Names of the policies by stage of a run."""

OnPoint = Callable[[CurvePoint], None]


@random_state_kept()
def train_ppo(
    config: PPOConfig,
    *,
    out: Path | None = None,
    resume: bool = False,
    tensorboard: bool = False,
    on_progress: OnProgress | None = None,
    on_measured: OnMeasured | None = None,
    on_point: OnPoint | None = None,
) -> SB3Policy:
    """Train a policy to choose among candidates.

    Args:
        config: settings of the run.
        out: folder for ``policy.npz`` (and ``initial.npz``, ``cloned.npz``), ``config.json``,
            ``curve.jsonl``, ``checkpoint.npz`` and ``tensorboard/``; ``None`` to write nothing.
        resume: continue from the folder's checkpoint, or begin if it has none. The result equals
            that of an uninterrupted run.
        tensorboard: also write TensorBoard's event files.
        on_progress: called with ``candidates`` or ``cloning`` and numbers of dialogues, then with
            ``ppo`` and numbers of steps.
        on_measured: called after each update with its ``loss``, and with the mean ``reward`` of
            the last hundred episodes.
        on_point: called with each point of the learning curve.

    Returns:
        The trained policy.

    Raises:
        ValueError: ``resume`` or ``tensorboard`` is set without ``out``, or no dialogue is left to
            train on.
        DataError: the checkpoint cannot be read.
        ResumeMismatchError: the checkpoint has other settings.
        StorageError: the folder holds a run already, or cannot be written.
        AgentGymError: the weights contain NaN or infinity, or hardly any step has a reward.
    """
    if out is None and (resume or tensorboard):
        raise ValueError("resume and tensorboard need a folder: out=…")
    if tensorboard:
        require("tensorboard", extra="sb3")  # before hours of work
    checkpoint = out / CHECKPOINT if out is not None and (out / CHECKPOINT).exists() else None
    if out is not None and not (checkpoint and resume):
        if checkpoint:
            raise StorageError(f"{out} holds a run already: resume it, or name another folder")
        with written_whole(out / "config.json") as file:  # before hours of work
            file.write(msgspec.json.format(msgspec.json.encode(_as_written(config))))
    run = _Run(
        config,
        out,
        tensorboard=tensorboard,
        on_point=on_point,
        on_progress=on_progress or _quiet,
        on_measured=on_measured,
    )
    if checkpoint is None:
        run.begin()
    else:
        run.resume(checkpoint)
    while run.steps < config.total_timesteps:
        run.update()
    return run.policy()


def _quiet(phase: str, done: int, total: int) -> None:
    """Ignore the progress."""


class _Run:
    """A PPO run; its state between two updates is a checkpoint."""

    def __init__(
        self,
        config: PPOConfig,
        out: Path | None,
        *,
        tensorboard: bool,
        on_point: OnPoint | None,
        on_progress: OnProgress,
        on_measured: OnMeasured | None,
    ) -> None:
        self._config = config
        self._out = out
        self._on_point = on_point
        self._on_progress = on_progress
        self._on_measured = on_measured
        self._envs = CandidateEnvs(config.world, config.shape, on_progress=on_progress)
        self._curve: list[CurvePoint] = []
        self._cpu_s = 0.0
        self._remaining = 1.0
        self._model = self._make_model()
        if out is not None and tensorboard:
            self._model.set_logger(configure(str(out / "tensorboard"), ["tensorboard"]))
        else:
            self._model.set_logger(Logger(None, []))

    def _make_model(self) -> OnPolicyAlgorithm:
        config = self._config
        algorithm: type[Any] = MaskablePPO if config.masked else PPO
        source = self._envs.source()
        envs = DummyVecEnv(
            [lambda: SelectInfo(self._envs.make_env(source, tries=config.tries), ["reward_valid"])]
            * config.n_envs
        )
        model: OnPolicyAlgorithm = algorithm(
            MaskableCandidateActorCritic if config.masked else CandidateActorCritic,
            VecMonitor(envs),
            n_steps=config.n_steps,
            batch_size=config.batch_size,
            n_epochs=config.n_epochs,
            # It falls to 0 over the run; stable-baselines3 sees one rollout at a time.
            learning_rate=lambda _: config.learning_rate * self._remaining,
            gamma=config.gamma,
            gae_lambda=config.gae_lambda,
            clip_range=config.clip_range,
            ent_coef=config.ent_coef,
            rollout_buffer_class=(
                ScoredMaskableRolloutBuffer if config.masked else ScoredRolloutBuffer
            ),
            policy_kwargs={"shape": config.shape},
            seed=config.seed,
            device="cpu",
        )
        return model

    @property
    def steps(self) -> int:
        """Steps taken so far."""
        return self._model.num_timesteps

    @property
    def _network(self) -> CandidateNetwork:
        return cast(CandidateNetwork, self._model.policy.mlp_extractor)

    def policy(self, name: str = "ppo") -> SB3Policy:
        """Return the policy with the current network."""
        return SB3Policy(
            self._network,
            self._envs.source(),
            self._config.shape,
            name=name,
            candidates=self._envs.candidates,
            masked=self._config.masked,
        )

    def begin(self) -> None:
        """Start a new run: evaluate, clone demonstrations, evaluate again."""
        self._evaluate("initial")
        if self._config.cloning.dialogues:
            begin = time.process_time()
            self._clone()
            self._cpu_s += time.process_time() - begin
            self._evaluate("cloned")

    def _clone(self) -> None:
        cloning = self._config.cloning
        source = self._envs.source()
        env = self._envs.make_env(source)
        random = np.random.default_rng(self._config.seed)
        dialogues = random.permutation(self._envs.dialogues)[: cloning.dialogues].tolist()
        advance = partial(self._on_progress, "cloning")
        shown = demonstrate(env, source, dialogues, on_progress=advance)
        if not self._config.masked:
            shown = shown._replace(masks=np.ones_like(shown.masks))
        clone(
            self._network,
            shown,
            epochs=cloning.epochs,
            learning_rate=cloning.learning_rate,
            seed=self._config.seed,
        )

    def resume(self, path: Path) -> None:
        """Continue from a checkpoint.

        Raises:
            DataError: it cannot be read.
            ResumeMismatchError: it has other settings.
        """
        notes = load_checkpoint(path, self._model, _Notes)
        if notes.config != _as_written(self._config):
            raise ResumeMismatchError(
                f"{path} was made with other settings: {msgspec.json.encode(notes.config).decode()}"
            )
        self._curve, self._cpu_s = notes.curve, notes.cpu_s

    def update(self) -> None:
        """Play a rollout and learn from it."""
        config, before, begin = self._config, self.steps, time.process_time()
        self._remaining = 1.0 - before / config.total_timesteps
        # Each update has its seed, so that a checkpoint needs no state of random generators.
        set_random_seed(_seed_of(config.seed, before))
        self._learn()
        self._cpu_s += time.process_time() - begin
        if self._on_measured is not None:
            self._on_measured(self._measured())
        is_last = self.steps >= config.total_timesteps
        if is_last or _passed(before, self.steps, config.evaluation.every):
            self._evaluate("policy")
        if self._out is not None and (
            is_last or _passed(before, self.steps, config.checkpoint_every)
        ):
            notes = _Notes(_as_written(config), self._curve, self._cpu_s)
            save_checkpoint(self._out / CHECKPOINT, self._model, notes)
        total = config.total_timesteps
        self._on_progress("ppo", min(self.steps, total), total)

    def _measured(self) -> dict[str, float]:
        """Return the loss of the last update, and the mean reward of the last episodes."""
        found = {"loss": float(self._model.logger.name_to_value["train/loss"])}
        ended = [episode["r"] for episode in self._model.ep_info_buffer or ()]
        return found | {"reward": sum(ended) / len(ended)} if ended else found

    def _learn(self) -> None:
        steps = self._config.n_envs * self._config.n_steps
        try:
            self._model.learn(steps, NoteUnscoredSteps(), reset_num_timesteps=False)
        except ValueError:  # torch refuses scores that are NaN
            self._require_finite()
            raise
        self._require_finite()

    def _require_finite(self) -> None:
        if not all(weights.isfinite().all() for weights in self._model.policy.parameters()):
            raise AgentGymError(
                f"the weights contain NaN or infinity after {self.steps} steps; try a smaller "
                "learning_rate or ent_coef"
            )

    def _evaluate(self, stage: str) -> None:
        evaluation, policy = self._config.evaluation, self.policy(_NAMES[stage])
        played = play_all(
            self._envs.make_sgd_env(evaluation.split),
            policy,
            self._envs.spread(evaluation.split, evaluation.dialogues),
        )
        point = CurvePoint(stage, self.steps, self._cpu_s, summarize(played).reward)
        self._curve.append(point)
        if self._out is not None:
            policy.save(self._out / f"{stage}.npz")
            write_curve(self._out / "curve.jsonl", self._curve)
        if self._on_point is not None:
            self._on_point(point)


class _Notes(msgspec.Struct, frozen=True):
    """The part of a checkpoint that is not the state of the model."""

    config: PPOConfig
    curve: list[CurvePoint]
    cpu_s: float


def _as_written(config: PPOConfig) -> PPOConfig:
    """Return the settings as files hold them: without the credentials of a judge's address."""
    return msgspec.convert(without_credentials(msgspec.to_builtins(config)), PPOConfig)


def _passed(before: int, now: int, every: int) -> bool:
    return now // every > before // every


def _seed_of(seed: int, steps: int) -> int:
    return int(np.random.SeedSequence((seed, steps)).generate_state(1)[0])
