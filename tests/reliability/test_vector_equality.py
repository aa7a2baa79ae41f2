"""Every way to play many dialogues at once gives what single environments give."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import gymnasium as gym
import msgspec
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv

from agent_gym_env.envs.vector import DialogueVectorEnv, SGDSimVectorEnv
from agent_gym_env.policies.acts_oracle import ActsOraclePolicy
from agent_gym_env.policies.uniform import UniformPolicy
from tests.reliability.playing import sized
from tests.timing import SOON_S

ENVS = sized(4, 16)
STEPS = sized(40, 200)
MAX_EPISODE_STEPS = 7
SEED = 11
ARGUMENTS: dict[str, dict[str, Any]] = {
    "SGD-v0": {"reward": "balanced", "max_episode_steps": MAX_EPISODE_STEPS},
    "SGDSim-v0": {"max_episode_steps": MAX_EPISODE_STEPS},
}
MODES = (AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED)


class Given(NamedTuple):
    """Values that one dialogue returns in one step."""

    observation: dict[str, Any]
    reward: float
    terminated: bool
    truncated: bool
    info: dict[str, Any]


def make_single(env_id: str) -> gym.Env[Any, Any]:
    return gym.make(f"agent_gym_env:{env_id}", **ARGUMENTS[env_id])


# The reference: single environments, and Gymnasium's three modes of autoreset told in full


class Singles:
    """Single environments that are reset as an autoreset mode prescribes."""

    def __init__(self, env_id: str, mode: AutoresetMode) -> None:
        self.envs = [make_single(env_id) for _ in range(ENVS)]
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


def as_merged(given: list[Given]) -> list[Given]:
    """Put ``False`` for ``None`` where Gymnasium's vector environments do: beside booleans."""
    return [each._replace(info=_without_none(each.info)) for each in given]


def _without_none(info: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _without_none(value)
        if isinstance(value, dict)
        else value or False
        if key in ("user_understood", "success", "strict")
        else value
        for key, value in info.items()
    }


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


def our_own(env_id: str, mode: AutoresetMode) -> VectorEnv[Any, Any, Any]:
    envs: VectorEnv[Any, Any, Any] = gym.make_vec(
        env_id, num_envs=ENVS, autoreset_mode=mode.value, **ARGUMENTS[env_id]
    )
    assert isinstance(envs.unwrapped, DialogueVectorEnv)
    return envs


def sync(env_id: str, mode: AutoresetMode) -> VectorEnv[Any, Any, Any]:
    return SyncVectorEnv([partial(make_single, env_id)] * ENVS, autoreset_mode=mode)


def in_processes(env_id: str, mode: AutoresetMode) -> VectorEnv[Any, Any, Any]:
    # Children of a fork server import what they need once, and no thread of ours is forked.
    multiprocessing.set_forkserver_preload(["agent_gym_env.envs.dialogue"])
    return AsyncVectorEnv(
        [partial(make_single, env_id)] * ENVS,
        shared_memory=False,
        context="forkserver",
        autoreset_mode=mode,
    )


Maker = Callable[[str, AutoresetMode], VectorEnv[Any, Any, Any]]
MAKERS: list[Maker] = [our_own, sync, in_processes]


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
@pytest.mark.parametrize("env_id", ARGUMENTS)
def test_a_batch_gives_what_single_environments_give(
    env_id: str, make: Maker, mode: AutoresetMode
) -> None:
    singles, batched = Singles(env_id, mode), Batched(make(env_id, mode))
    policies = [UniformPolicy(seed=place) for place in range(ENVS)]
    expected = singles.reset(SEED)
    assert batched.reset(SEED) == expected
    ends = 0
    for _ in range(STEPS):
        actions = actions_for([given.observation for given in expected], policies)
        expected = singles.step(actions)
        stepped = batched.step(actions)
        if make is our_own:
            assert stepped == expected
        else:
            assert as_merged(stepped) == as_merged(expected)
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


def test_simulated_dialogues_end_as_single_ones_do() -> None:
    """The acts oracle plays each dialogue of the batch to its end, and on in the next one."""
    envs = SGDSimVectorEnv(ENVS, split="dev")
    singles = [gym.make("SGDSim-v0", split="dev") for _ in range(ENVS)]
    policies = [ActsOraclePolicy(env) for env in envs.envs]
    batched = Batched(envs)
    expected = [env.reset(seed=SEED + place) for place, env in enumerate(singles)]
    assert [(given.observation, given.info) for given in batched.reset(SEED)] == expected
    solved = 0
    while solved < 2 * ENVS:
        actions = [
            policy.act(observation)
            for policy, (observation, _) in zip(policies, expected, strict=True)
        ]
        observations, rewards, terminated, _, infos = envs.step(actions)
        for place, env in enumerate(singles):
            observation, reward, over, _, info = env.step(actions[place])
            assert (rewards[place], terminated[place]) == (reward, over)
            if over:
                solved += info["task"]["strict"]
                final = {"final_obs": observation, "final_info": info}
                observation, begun = env.reset()
                info = {**begun, **final}
                policies[place].reset()
            assert one_of(observations, place) == observation
            assert info_of(infos, place) == info
            expected[place] = observation, info


def test_a_batch_of_acts_is_read_as_single_ones_are() -> None:
    """A column of acts, beside those of texts and calls."""
    envs = SGDSimVectorEnv(2, split="dev", understanding="acts")
    single = gym.make("SGDSim-v0", split="dev", understanding="acts")
    envs.reset(seed=[3, 4])
    asked = single.reset(seed=3)[1]
    acts: list[list[list[str]]] = [[["REQ_MORE"]], [["GOODBYE"]]]
    observations, _, terminated, _, infos = envs.step(
        {"text": ("And?", "Bye."), "tool_calls": ("", ""), "acts": acts}
    )
    observation, *_, info = single.step({"text": "And?", "tool_calls": "", "acts": acts[0]})
    assert one_of(observations, 0) == observation
    assert (terminated.tolist(), asked["turn"], info["turn"]) == ([False, True], 0, 1)
    assert infos["user_understood"][0] is True


def test_shared_memory_is_refused_with_the_way_out() -> None:
    before = multiprocessing.active_children()
    began = time.perf_counter()
    with pytest.raises(ValueError, match="shared_memory=False"):
        AsyncVectorEnv([partial(make_single, "SGD-v0")] * 2, context="forkserver")
    assert time.perf_counter() - began < SOON_S
    assert multiprocessing.active_children() == before


# Gymnasium warns of a call that was left pending, which is what this is about.
@pytest.mark.filterwarnings("ignore:.*Calling `close` while waiting:UserWarning")
def test_a_killed_worker_is_an_error_soon_and_the_rest_can_be_closed() -> None:
    envs = in_processes("SGD-v0", AutoresetMode.SAME_STEP)
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
