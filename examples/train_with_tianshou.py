"""Tianshou's PPO on candidate actions. Needs: pip install tianshou."""

from importlib.util import find_spec
from typing import Any

if find_spec("tianshou") is None:
    raise SystemExit("tianshou is not installed. It comes with: pip install tianshou")

import torch
from tianshou.algorithm import PPO
from tianshou.algorithm.modelfree.reinforce import ProbabilisticActorPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Collector, VectorReplayBuffer
from tianshou.env import DummyVectorEnv
from tianshou.trainer import OnPolicyTrainerParams
from tianshou.utils.net.common import Net
from tianshou.utils.net.discrete import DiscreteActor, DiscreteCritic

from agent_gym_env import CandidateEnvs, CandidateEnvsConfig, Shape
from agent_gym_env.wrappers import SelectInfo

factory = CandidateEnvs(CandidateEnvsConfig(), Shape(k=8))  # the sample corpus


def make_env() -> Any:
    """Make an environment of numbers, whose episodes are turns, each played four times."""
    return SelectInfo(factory.make_env(factory.source(), tries=4), [])


torch.manual_seed(0)
env = make_env()
body = Net(state_shape=env.observation_space.shape, hidden_sizes=[64])
actor = DiscreteActor(preprocess_net=body, action_shape=env.action_space.n, softmax_output=False)
policy = ProbabilisticActorPolicy(
    actor=actor,
    dist_fn=lambda logits: torch.distributions.Categorical(logits=logits),
    action_space=env.action_space,
    action_scaling=False,
)
algorithm = PPO(
    policy=policy,
    critic=DiscreteCritic(preprocess_net=body),
    optim=AdamOptimizerFactory(lr=1e-3),
    gamma=1.0,
)
collector = Collector(algorithm, DummyVectorEnv([make_env] * 8), VectorReplayBuffer(512, 8))
parameters = OnPolicyTrainerParams(
    training_collector=collector,
    max_epochs=1,
    epoch_num_steps=8 * 512,
    collection_step_num_env_steps=512,
    update_step_num_repetitions=8,
    batch_size=128,
    show_progress=False,
)
before = collector.collect(n_episode=400, reset_before_collect=True)
algorithm.run_training(parameters)
after = collector.collect(n_episode=400, reset_before_collect=True)
print(f"reward of a turn: {before.returns.mean():.3f}, then {after.returns.mean():.3f}")
