"""MaskablePPO on the wrappers alone. Needs: pip install -e '.[sb3]'."""

from typing import Any

from agent_gym_env import require_or_exit

require_or_exit("sb3_contrib", extra="sb3")

import gymnasium as gym
from sb3_contrib import MaskablePPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

from agent_gym_env import make_candidates, unused_dialogues
from agent_gym_env.wrappers import CandidateAction, DialogueSubset, EncodeObservation, TurnEpisodes

LEARNED = {"training_dialogues": 90, "indexed": 70}  # PPO learns from the rest


def make_env(split: str) -> Any:
    """Make ``SGD-v0`` over the sample corpus."""
    return gym.make("agent_gym_env:SGD-v0", split=split, reward="balanced")


def numbers(env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
    """Encode observations as numbers; an action is one of 8 candidates."""
    return EncodeObservation(CandidateAction(env, source, k=8))


def training_env() -> gym.Env[Any, Any]:
    """Make an environment whose episodes are turns, each played four times."""
    env = make_env("train")
    unused = unused_dialogues(env, **LEARNED)
    return numbers(TurnEpisodes(DialogueSubset(env, unused), tries=4))


def reward_per_turn(model: MaskablePPO) -> float:
    """Play all of dev, always with the choice that looks best."""
    env, earned, turns = numbers(make_env("dev")), 0.0, 0
    for dialogue_id in env.unwrapped.split.dialogue_ids():  # type: ignore[attr-defined]
        (vector, info), over = env.reset(options={"dialogue_id": dialogue_id}), False
        while not over:
            mask = info["action_mask"].astype(bool)
            action, _ = model.predict(vector, deterministic=True, action_masks=mask)
            vector, reward, over, _, info = env.step(action)
            earned += float(reward)
        turns += info["turn"]
    return earned / turns


source = make_candidates(make_env("train"), **LEARNED)
envs = VecMonitor(DummyVecEnv([training_env] * 8))
model = MaskablePPO("MlpPolicy", envs, n_steps=64, batch_size=128, gamma=1.0, seed=0, device="cpu")
print(f"dev before: {reward_per_turn(model):.3f}")
model.learn(8 * 64 * 8)
print(f"dev after:  {reward_per_turn(model):.3f}")
