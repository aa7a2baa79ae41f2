"""The course of a PPO run: it begins, updates, measures, and goes on from a checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Generic, Protocol, TypedDict, TypeVar

import gymnasium as gym
import msgspec
import numpy as np

from agent_gym_env.errors import AgentGymError, ResumeMismatchError, StorageError
from agent_gym_env.evaluation.evaluate import summarize
from agent_gym_env.extras import require
from agent_gym_env.lm.credentials import without_credentials
from agent_gym_env.policies.base import Policy
from agent_gym_env.rollout.journal.format import differences
from agent_gym_env.rollout.play import play_all
from agent_gym_env.storage.files import written_whole
from agent_gym_env.training.checkpoint import load_checkpoint, save_checkpoint
from agent_gym_env.training.config import OnMeasured, OnProgress
from agent_gym_env.training.curve import CurvePoint, write_curve
from agent_gym_env.training.ppo_config import PPOSettings
from agent_gym_env.training.trackers import Tracker, guarded

require("stable_baselines3", extra="sb3")
require("sb3_contrib", extra="sb3")

from sb3_contrib import MaskablePPO  # noqa: E402
from stable_baselines3.common.logger import Logger, configure  # noqa: E402
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm  # noqa: E402
from stable_baselines3.common.utils import set_random_seed  # noqa: E402
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor  # noqa: E402

from agent_gym_env.training.sb3_parts import (  # noqa: E402
    NoteUnscoredSteps,
    ScoredMaskableRolloutBuffer,
    ScoredRolloutBuffer,
)

CHECKPOINT = "checkpoint.npz"
"""Name of the checkpoint in the folder of a run."""

_NAMES = {"initial": "untrained", "cloned": "cloned", "policy": "ppo"}
"""Names of the policies by stage of a run."""

OnPoint = Callable[[CurvePoint], None]


class PPOOptions(TypedDict, total=False):
    """Keyword arguments that every PPO run takes beside its settings.

    Attributes:
        out: folder for ``policy.npz`` (and ``initial.npz``, ``cloned.npz``), ``config.json``,
            ``curve.jsonl``, ``checkpoint.npz`` and ``tensorboard/``; by default nothing is written.
        resume: continue from the folder's checkpoint, or begin if it has none. The result equals
            that of an uninterrupted run.
        tensorboard: also write TensorBoard's event files.
        on_progress: called with a phase, such as ``cloning`` and numbers of dialogues, or ``ppo``
            and numbers of steps.
        on_measured: called after each update with its ``loss``, and with the mean ``reward`` of
            the last hundred episodes.
        on_point: called with each point of the learning curve.
        tracker: receives the figures of each update and of the learning curve, at the number of
            steps; its errors become a warning.
    """

    out: Path | None
    resume: bool
    tensorboard: bool
    on_progress: OnProgress | None
    on_measured: OnMeasured | None
    on_point: OnPoint | None
    tracker: Tracker | None


class SavedPolicy(Policy, Protocol):
    """A policy that can be written to a file."""

    def save(self, path: str | PathLike[str]) -> None:
        """Write the policy."""


_Trained = TypeVar("_Trained", bound=SavedPolicy, covariant=True)
_Learned = TypeVar("_Learned", bound=SavedPolicy)


class PPOTask(Protocol[_Trained]):
    """The part in which runs differ: environments, model and demonstrations.

    Attributes:
        config: settings of the run.
        keeps_dialogues: whether a checkpoint holds the dialogues under way.
    """

    keeps_dialogues: bool

    @property
    def config(self) -> PPOSettings:
        """Settings of the run."""

    def make_model(self, learning_rate: Callable[[float], float]) -> OnPolicyAlgorithm:
        """Make the model and its environments.

        Args:
            learning_rate: as stable-baselines3 takes it; the run itself makes it fall.
        """

    def clone(self, model: OnPolicyAlgorithm) -> None:
        """Let the model imitate demonstrations."""

    def before_update(self, model: OnPolicyAlgorithm) -> None:
        """Prepare an update; ``model.num_timesteps`` says how many steps were taken."""

    def policy(self, model: OnPolicyAlgorithm, name: str) -> _Trained:
        """Return the policy with the model's present weights."""

    def evaluation(self) -> tuple[gym.Env[Any, Any], Iterable[str]]:
        """Return the environment and the dialogues of the learning curve."""


def make_algorithm(
    algorithm: type[Any],
    policy: type[Any] | str,
    make_envs: Sequence[Callable[[], gym.Env[Any, Any]]],
    config: PPOSettings,
    learning_rate: Callable[[float], float],
    policy_kwargs: dict[str, Any],
) -> OnPolicyAlgorithm:
    """Make PPO or MaskablePPO with the settings of a run.

    Args:
        algorithm: ``PPO`` or ``MaskablePPO``.
        policy: class of the networks, or stable-baselines3's name of it.
        make_envs: a function for each environment that makes it.
        config: settings of the run.
        learning_rate: as stable-baselines3 takes it.
        policy_kwargs: arguments of the class of the networks.
    """
    masked = algorithm is MaskablePPO
    model: OnPolicyAlgorithm = algorithm(
        policy,
        VecMonitor(DummyVecEnv(list(make_envs))),
        n_steps=config.n_steps,
        batch_size=config.batch_size,
        n_epochs=config.n_epochs,
        learning_rate=learning_rate,
        gamma=config.gamma,
        gae_lambda=config.gae_lambda,
        clip_range=config.clip_range,
        ent_coef=config.ent_coef,
        rollout_buffer_class=ScoredMaskableRolloutBuffer if masked else ScoredRolloutBuffer,
        policy_kwargs=policy_kwargs,
        seed=config.seed,
        device="cpu",
    )
    return model


def run_ppo(
    make_task: Callable[[OnProgress], PPOTask[_Trained]],
    config: PPOSettings,
    *,
    out: Path | None = None,
    resume: bool = False,
    tensorboard: bool = False,
    on_progress: OnProgress | None = None,
    on_measured: OnMeasured | None = None,
    on_point: OnPoint | None = None,
    tracker: Tracker | None = None,
) -> _Trained:
    """Train a policy.

    Args:
        make_task: makes the task, from a function that progress is reported to.
        config: settings of the run.
        out: as in `PPOOptions`, like the rest.
        resume: as there.
        tensorboard: as there.
        on_progress: as there.
        on_measured: as there.
        on_point: as there.
        tracker: as there.

    Raises:
        ValueError: ``resume`` or ``tensorboard`` is set without ``out``.
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
            file.write(msgspec.json.format(msgspec.json.encode(as_written(config))))
    on_progress = on_progress or _quiet
    run = _Run(
        make_task(on_progress),
        out,
        tensorboard=tensorboard,
        on_point=on_point,
        on_progress=on_progress,
        on_measured=on_measured,
        tracker=guarded(tracker),
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


class _Run(Generic[_Learned]):
    """A PPO run; its state between two updates is a checkpoint."""

    def __init__(
        self,
        task: PPOTask[_Learned],
        out: Path | None,
        *,
        tensorboard: bool,
        on_point: OnPoint | None,
        on_progress: OnProgress,
        on_measured: OnMeasured | None,
        tracker: Tracker,
    ) -> None:
        self._tracker = tracker
        self._task, self._config = task, task.config
        self._out = out
        self._on_point = on_point
        self._on_progress = on_progress
        self._on_measured = on_measured
        self._curve: list[CurvePoint] = []
        self._cpu_s = 0.0
        self._remaining = 1.0
        # It falls to 0 over the run; stable-baselines3 sees one rollout at a time.
        self._model = task.make_model(lambda _: self._config.learning_rate * self._remaining)
        if out is not None and tensorboard:
            self._model.set_logger(configure(str(out / "tensorboard"), ["tensorboard"]))
        else:
            self._model.set_logger(Logger(None, []))

    @property
    def steps(self) -> int:
        """Steps taken so far."""
        return self._model.num_timesteps

    def policy(self, name: str = "ppo") -> _Learned:
        """Return the policy with the present weights."""
        return self._task.policy(self._model, name)

    def begin(self) -> None:
        """Start a new run: evaluate, clone demonstrations, evaluate again."""
        self._evaluate("initial")
        if self._config.cloning.dialogues:
            begin = time.process_time()
            self._task.clone(self._model)
            self._cpu_s += time.process_time() - begin
            self._evaluate("cloned")

    def resume(self, path: Path) -> None:
        """Continue from a checkpoint.

        Raises:
            DataError: it cannot be read.
            ResumeMismatchError: it has other settings.
        """
        notes = load_checkpoint(path, self._model, _Notes, dialogues=self._task.keeps_dialogues)
        config = as_written(self._config)
        if notes.config != config:
            found = "; ".join(differences(notes.config, config))
            raise ResumeMismatchError(f"{path} was made with other settings: {found}")
        self._curve, self._cpu_s = notes.curve, notes.cpu_s

    def update(self) -> None:
        """Play a rollout and learn from it."""
        config, before, begin = self._config, self.steps, time.process_time()
        self._remaining = 1.0 - before / config.total_timesteps
        # Each update has its seed, so that a checkpoint needs no state of random generators.
        set_random_seed(seed_of(config.seed, before))
        self._task.before_update(self._model)
        self._learn()
        self._cpu_s += time.process_time() - begin
        if self._on_measured is not None:
            self._on_measured(self._measured())
        self._tracker.log(self.steps, self._model.logger.name_to_value | self._measured())
        is_last = self.steps >= config.total_timesteps
        if is_last or passed(before, self.steps, config.evaluation.every):
            self._evaluate("policy")
        if self._out is not None and (
            is_last or passed(before, self.steps, config.checkpoint_every)
        ):
            notes = _Notes(as_written(config), self._curve, self._cpu_s)
            keeps = self._task.keeps_dialogues
            save_checkpoint(self._out / CHECKPOINT, self._model, notes, dialogues=keeps)
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
        policy = self.policy(_NAMES[stage])
        env, dialogue_ids = self._task.evaluation()
        summary = summarize(play_all(env, policy, dialogue_ids))
        simulated = summary.simulated
        strict = None if simulated is None else simulated.strict
        point = CurvePoint(stage, self.steps, self._cpu_s, summary.reward, strict)
        self._curve.append(point)
        if self._out is not None:
            policy.save(self._out / f"{stage}.npz")
            write_curve(self._out / "curve.jsonl", self._curve)
        if self._on_point is not None:
            self._on_point(point)
        measured = {f"{stage}/reward": summary.reward.mean}
        if strict is not None:
            measured[f"{stage}/strict_success"] = strict.mean
        known = {name: value for name, value in measured.items() if value is not None}
        self._tracker.log(self.steps, known)


class _Notes(msgspec.Struct, frozen=True):
    """The part of a checkpoint that is not the state of the model."""

    config: Any
    curve: list[CurvePoint]
    cpu_s: float


def as_written(config: PPOSettings) -> dict[str, Any]:
    """Return the settings as files hold them: without the credentials of a judge's address."""
    written: dict[str, Any] = without_credentials(msgspec.to_builtins(config))
    return written


def passed(before: int, now: int, every: int) -> bool:
    """Return whether a count has passed a multiple of a number."""
    return now // every > before // every


def seed_of(seed: int, steps: int) -> int:
    """Return the seed of all that is random after so many steps of a run."""
    return int(np.random.SeedSequence((seed, steps)).generate_state(1)[0])
