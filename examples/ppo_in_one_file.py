"""PPO in one file, in CleanRL style: torch and Gymnasium's vector environment only."""

from agent_gym_env import require_or_exit

require_or_exit("torch", extra="sb3")

import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from torch import Tensor, nn
from torch.distributions import Categorical

from agent_gym_env import CandidateEnvs, CandidateEnvsConfig, Shape

ENVS, STEPS, UPDATES, EPOCHS, BATCH, CLIP, ENTROPY = 8, 64, 8, 6, 128, 0.2, 0.005

factory = CandidateEnvs(CandidateEnvsConfig(), shape := Shape(k=8))  # the sample corpus
envs = SyncVectorEnv(
    [lambda: factory.make_env(factory.source(), tries=4)] * ENVS,  # turn by turn
    autoreset_mode=AutoresetMode.SAME_STEP,
)
torch.manual_seed(0)
actor = shape.network()  # any network will do that gives 8 logits for a vector
critic = nn.Sequential(nn.LazyLinear(64), nn.Tanh(), nn.Linear(64, 1))


def choice(vectors: Tensor, masks: Tensor) -> Categorical:
    """Return the distribution over candidates."""
    return Categorical(logits=actor.forward_actor(vectors).masked_fill(~masks, -1e9))


seen, info = envs.reset(seed=0)
critic(torch.tensor(seen))  # a lazy layer learns its size
optimizer = torch.optim.Adam([*actor.actor_parameters(), *critic.parameters()], lr=1e-3)
for update in range(UPDATES):
    rows = []
    for _ in range(STEPS):
        vector, mask = torch.tensor(seen), torch.tensor(info["action_mask"].astype(bool))
        with torch.no_grad():
            drawn, value = choice(vector, mask).sample(), critic(vector)[:, 0]
            chance = choice(vector, mask).log_prob(drawn)
        seen, reward, over, _cut, info = envs.step(drawn.numpy())
        rows.append((vector, mask, drawn, chance, value, torch.tensor(reward), torch.tensor(over)))
    stacked = map(torch.stack, zip(*rows, strict=True))
    vectors, masks, actions, chances, values, rewards, ended = stacked
    returns, after = torch.zeros_like(values), critic(torch.tensor(seen))[:, 0].detach()
    for step in reversed(range(STEPS)):
        after = returns[step] = rewards[step] + ~ended[step] * after
    data = [each.flatten(0, 1) for each in (vectors, masks, actions, chances, values, returns)]
    for _ in range(EPOCHS):
        for batch in torch.split(torch.randperm(ENVS * STEPS), BATCH):
            vector, mask, action, before, value, earned = (each[batch] for each in data)
            now, surprise = choice(vector, mask), earned - value
            advantage = (surprise - surprise.mean()) / (surprise.std() + 1e-8)
            ratio = (now.log_prob(action) - before).exp()
            gain = torch.min(ratio * advantage, ratio.clamp(1 - CLIP, 1 + CLIP) * advantage).mean()
            miss = (critic(vector)[:, 0] - earned).pow(2).mean()
            optimizer.zero_grad()
            (0.5 * miss - gain - ENTROPY * now.entropy().mean()).backward()
            optimizer.step()
    print(f"update {update}: reward of a turn {rewards.sum() / ended.sum():.3f}")
