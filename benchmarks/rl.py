"""Command: where the CPU time of learning with PPO goes, to the environments or to the network."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import gymnasium as gym
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3.common.vec_env import DummyVecEnv

from agent_gym_env.policies.sb3_file import Shape
from agent_gym_env.training.candidate_envs import CandidateEnvs, CandidateEnvsConfig
from agent_gym_env.training.sb3_parts import MaskableCandidateActorCritic
from agent_gym_env.wrappers import SelectInfo

N_ENVS, BATCH_SIZE, N_EPOCHS = 16, 64, 10
"""As in `train_ppo`."""

HOLD = 1.0
"""CPU time of environments and wrappers, for one of the network's forward passes and updates."""


class Shares(NamedTuple):
    """CPU milliseconds of a step.

    Attributes:
        env: environments and wrappers.
        network: forward passes while playing, and updates.
        rest: what else stable-baselines3 does.
    """

    env: float
    network: float
    rest: float

    @property
    def ratio(self) -> float:
        """Of environments and wrappers to the network."""
        return self.env / self.network


class _Clock:
    """CPU time of this thread between the begin and the end of some work, added up."""

    def __init__(self) -> None:
        self.seconds = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        begin = time.thread_time()
        yield
        self.seconds += time.thread_time() - begin


class _TimedEnv(gym.Wrapper[Any, Any, Any, Any]):
    def __init__(self, env: gym.Env[Any, Any], clock: _Clock) -> None:
        super().__init__(env)
        self._clock = clock

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        with self._clock.running():
            return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> Any:
        with self._clock.running():
            return self.env.step(action)


class _TimedNetwork(MaskableCandidateActorCritic):
    clock = _Clock()

    def forward(self, *args: Any, **options: Any) -> Any:
        with self.clock.running():
            return super().forward(*args, **options)


class _TimedPPO(MaskablePPO):
    def train(self) -> None:
        with _TimedNetwork.clock.running():
            super().train()


def measure(corpus: str, *, tries: int | None, n_steps: int, rollouts: int) -> Shares:
    """Learn for some rollouts, after one that is not counted.

    Args:
        corpus: as in ``SGD-v0``.
        tries: as in `PPOConfig`; ``None`` for dialogues as episodes.
        n_steps: number of steps of each environment in a rollout.
        rollouts: number of rollouts.
    """
    shape, clock = Shape(), _Clock()
    factory = CandidateEnvs(CandidateEnvsConfig(env={"corpus": corpus}), shape)
    source = factory.source()

    def make() -> gym.Env[Any, Any]:
        env = factory.make_env(source, tries=tries)
        return _TimedEnv(SelectInfo(env, ["reward_valid"]), clock)

    model = _TimedPPO(
        _TimedNetwork,
        DummyVecEnv([make] * N_ENVS),
        n_steps=n_steps,
        batch_size=BATCH_SIZE,
        n_epochs=N_EPOCHS,
        policy_kwargs={"shape": shape},
        seed=0,
        device="cpu",
    )
    steps = N_ENVS * n_steps
    model.learn(steps)
    clock.seconds = _TimedNetwork.clock.seconds = 0.0
    begin = time.thread_time()
    model.learn(rollouts * steps, reset_num_timesteps=False)
    whole = time.thread_time() - begin
    env, network = clock.seconds, _TimedNetwork.clock.seconds
    return Shares(
        *(1000 * each / (rollouts * steps) for each in (env, network, whole - env - network))
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 if the promise is broken."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rl", description=__doc__)
    parser.add_argument("--corpus", default="sample")
    parser.add_argument("--rollouts", type=int, default=3)
    parser.add_argument("--steps", type=int, default=128, help="of each environment in a rollout")
    parser.add_argument("--tries", type=int, default=8, help="of each turn; 0: whole dialogues")
    parser.add_argument("--json", action="store_true", help="print JSON")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    shares = measure(
        chosen.corpus,
        tries=chosen.tries or None,
        n_steps=chosen.steps,
        rollouts=chosen.rollouts,
    )
    if chosen.json:
        print(json.dumps({**shares._asdict(), "ratio": shares.ratio}))
    else:
        print(
            f"CPU ms a step: environment and wrappers {shares.env:.3f}, forward and update "
            f"{shares.network:.3f}, the rest {shares.rest:.3f}; ratio {shares.ratio:.2f} "
            f"(at most {HOLD:g})"
        )
    return 0 if shares.ratio <= HOLD else 1


if __name__ == "__main__":
    sys.exit(main())
