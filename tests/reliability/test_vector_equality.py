"""Every way to play many dialogues at once gives what single environments give."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium as gym
import msgspec
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv

from agent_gym_env.envs.vector import SGDVectorEnv
from agent_gym_env.policies.uniform import UniformPolicy
from tests.reliability.playing import sized
from tests.timing import SOON_S

ENVS = sized(4, 16)
STEPS = sized(40, 200)
MAX_EPISODE_STEPS = 7
SEED = 11
ARGUMENTS: dict[str, Any] = {"reward": "balanced", "max_episode_steps": MAX_EPISODE_STEPS}
MODES = (AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED)


class Given(NamedTuple):
    """Values that one dialogue returns in one step."""

    observation: dict[str, Any]
    reward: float
    terminated: bool
    truncated: bool
    info: dict[str, Any]


def make_single() -> gym.Env[Any, Any]:
    return gym.make("agent_gym_env:SGD-v0", **ARGUMENTS)


# The reference: single environments, and Gymnasium's three modes of autoreset told in full


class Singles:
    """Single environments that are reset as an autoreset mode prescribes."""

    def __init__(self, mode: AutoresetMode) -> None:
        self.envs = [make_single() for _ in range(ENVS)]
        self.mode = mode
        self.ended = [False] * ENVS

    def reset(self, seed: int) -> list[Given]:
        begun = [env.reset(seed=seed + place) for place, env in enumerate(self.envs)]
        return [Given(observation, 0.0, False, False, info) for observation, info in begun]

    def step(self, actions: list[Any]) -> list[Given]:
        return [self._step(place, action) for place, action in enumerate(actions)]

    def _step(self, place: int, action: Any) -> Given:
        env = self.envs[place]
        if self.ended[place]:
            self.ended[place] = False
            observation, info = env.reset()
            return Given(observation, 0.0, False, False, info)
        observation, reward, terminated, truncated, info = env.step(action)
        if terminated or truncated:
            if self.mode is AutoresetMode.SAME_STEP:
                final = {"final_obs": observation, "final_info": info}
                observation, info = env.reset()
                info = {**info, **final}
            else:
                self.ended[place] = self.mode is AutoresetMode.NEXT_STEP
        return Given(observation, float(reward), terminated, truncated, info)

    def close(self) -> None:
        for env in self.envs:
            env.close()


# What a batch says of one dialogue


def one_of(batch: Any, place: int) -> dict[str, Any]:
    return {leaf: texts[place] for leaf, texts in batch.items()}


def info_of(infos: dict[str, Any], place: int) -> dict[str, Any]:
    """Undo the merging of infos: an array and a mask for each key."""
    return {
        key: info_of(value, place) if isinstance(value, dict) else plain(value[place])
        for key, value in infos.items()
        if not key.startswith("_") and infos[f"_{key}"][place]
    }


def plain(value: Any) -> Any:
    """Convert to a Python value, and NaN to ``None``: Gymnasium writes it so among numbers."""
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and np.isnan(value) else value


class Batched:
    """A vector environment that gives dialogue by dialogue."""

    def __init__(self, envs: VectorEnv[Any, Any, Any]) -> None:
        self.envs = envs

    def reset(self, seed: int) -> list[Given]:
        observations, infos = self.envs.reset(seed=seed)
        return [
            Given(one_of(observations, place), 0.0, False, False, info_of(infos, place))
            for place in range(ENVS)
        ]

    def step(self, actions: list[Any]) -> list[Given]:
        batch = {leaf: tuple(action[leaf] for action in actions) for leaf in actions[0]}
        observations, rewards, terminated, truncated, infos = self.envs.step(batch)
        return [
            Given(
                one_of(observations, place),
                float(rewards[place]),
                bool(terminated[place]),
                bool(truncated[place]),
                info_of(infos, place),
            )
            for place in range(ENVS)
        ]

    def reset_ended(self, ended: list[bool]) -> dict[int, tuple[Any, Any]]:
        observations, infos = self.envs.reset(options={"reset_mask": np.array(ended)})
        return {
            place: (one_of(observations, place), info_of(infos, place))
            for place in np.flatnonzero(ended).tolist()
        }

    def close(self) -> None:
        self.envs.close()


def our_own(mode: AutoresetMode) -> VectorEnv[Any, Any, Any]:
    envs: VectorEnv[Any, Any, Any] = gym.make_vec(
        "SGD-v0", num_envs=ENVS, autoreset_mode=mode.value, **ARGUMENTS
    )
    assert isinstance(envs.unwrapped, SGDVectorEnv)
    return envs


def sync(mode: AutoresetMode) -> VectorEnv[Any, Any, Any]:
    return SyncVectorEnv([make_single] * ENVS, autoreset_mode=mode)


def in_processes(mode: AutoresetMode) -> VectorEnv[Any, Any, Any]:
    # Children of a fork server import what they need once, and no thread of ours is forked.
    multiprocessing.set_forkserver_preload(["agent_gym_env.envs.dialogue"])
    return AsyncVectorEnv(
        [make_single] * ENVS, shared_memory=False, context="forkserver", autoreset_mode=mode
    )


MAKERS: list[Callable[[AutoresetMode], VectorEnv[Any, Any, Any]]] = [our_own, sync, in_processes]


def actions_for(observations: list[dict[str, Any]], policies: list[UniformPolicy]) -> list[Any]:
    """Return the action of each dialogue's policy, as a member of the action space."""
    chosen = [policy.act(seen) for seen, policy in zip(observations, policies, strict=True)]
    return [
        {
            "text": action.text,
            "tool_calls": msgspec.json.encode(action.tool_calls).decode() * bool(action.tool_calls),
        }
        for action in chosen
    ]


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
@pytest.mark.parametrize("make", MAKERS)
def test_a_batch_gives_what_single_environments_give(
    make: Callable[[AutoresetMode], VectorEnv[Any, Any, Any]], mode: AutoresetMode
) -> None:
    singles, batched = Singles(mode), Batched(make(mode))
    policies = [UniformPolicy(seed=place) for place in range(ENVS)]
    expected = singles.reset(SEED)
    assert batched.reset(SEED) == expected
    ends = 0
    for _ in range(STEPS):
        actions = actions_for([given.observation for given in expected], policies)
        expected = singles.step(actions)
        assert batched.step(actions) == expected
        ended = [given.terminated or given.truncated for given in expected]
        ends += sum(ended)
        if mode is AutoresetMode.DISABLED and any(ended):
            begun = {place: singles.envs[place].reset() for place in np.flatnonzero(ended).tolist()}
            assert batched.reset_ended(ended) == begun
            for place, (observation, info) in begun.items():
                expected[place] = Given(observation, 0.0, False, False, info)
    assert ends > ENVS
    singles.close()
    batched.close()


def test_shared_memory_is_refused_with_the_way_out() -> None:
    before = multiprocessing.active_children()
    began = time.perf_counter()
    with pytest.raises(ValueError, match="shared_memory=False"):
        AsyncVectorEnv([make_single] * 2, context="forkserver")
    assert time.perf_counter() - began < SOON_S
    assert multiprocessing.active_children() == before


# Gymnasium warns of a call that was left pending, which is what this is about.
@pytest.mark.filterwarnings("ignore:.*Calling `close` while waiting:UserWarning")
def test_a_killed_worker_is_an_error_soon_and_the_rest_can_be_closed() -> None:
    envs = in_processes(AutoresetMode.SAME_STEP)
    assert isinstance(envs, AsyncVectorEnv)
    envs.reset(seed=SEED)
    victim = envs.processes[1]
    victim.kill()
    victim.join()
    began = time.perf_counter()
    with pytest.raises((EOFError, OSError, multiprocessing.TimeoutError)):
        wait_for_step(envs, timeout_s=5)
    assert time.perf_counter() - began < SOON_S
    envs.close(terminate=True)
    assert not any(process.is_alive() for process in envs.processes)


def wait_for_step(envs: AsyncVectorEnv, timeout_s: float) -> None:
    envs.step_async({"text": ("Hi.",) * ENVS, "tool_calls": ("",) * ENVS})
    envs.step_wait(timeout=timeout_s)
