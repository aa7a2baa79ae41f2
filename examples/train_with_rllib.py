"""RLlib on candidate actions (new API stack). Needs: pip install -e '.[rllib]'."""

from typing import Any

from agent_gym_env import require_or_exit

for library in ("ray", "tree"):  # RLlib comes with ray; what it needs does not
    require_or_exit(library, extra="rllib")

import gymnasium as gym
import ray
from ray.rllib.algorithms.ppo import PPOConfig
from ray.tune.registry import register_env

from agent_gym_env import make_candidates, unused_dialogues
from agent_gym_env.wrappers import CandidateAction, DialogueSubset, EncodeObservation

LEARNED = {"training_dialogues": 80, "indexed": 80}  # PPO learns from the rest


def make_env(config: dict[str, Any]) -> gym.Env[Any, Any]:
    """Make an environment of numbers; RLlib calls it in each of its workers."""
    env: Any = gym.make("agent_gym_env:SGD-v0", split="train", reward="balanced")
    env = DialogueSubset(env, unused_dialogues(env, **LEARNED))
    return EncodeObservation(CandidateAction(env, make_candidates(env, **LEARNED), k=8))


register_env("sgd-candidates", make_env)
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
config = (
    PPOConfig()
    .environment("sgd-candidates")
    .env_runners(num_env_runners=0, num_envs_per_env_runner=4)
    .training(train_batch_size=512, minibatch_size=128, num_epochs=8, lr=1e-3, gamma=0.9)
    .debugging(seed=0, log_level="ERROR")
)
algorithm = config.build_algo()
for iteration in range(3):
    result = algorithm.train()["env_runners"]
    print(iteration, f"return of a dialogue: {result['episode_return_mean']:.2f}")
algorithm.stop()
ray.shutdown()
