"""Sixty-four dialogues in one process, through Gymnasium's vector interface."""

import time

import gymnasium as gym

import agent_gym_env  # noqa: F401  (registers SGD-v0)

envs = gym.make_vec("SGD-v0", num_envs=64, split="train", reward="balanced")
observations, infos = envs.reset(seed=0)

actions = {"text": ("Anything else?",) * 64, "tool_calls": ("",) * 64}
begin, steps, ended = time.perf_counter(), 200, 0
for _ in range(steps):
    observations, rewards, terminated, truncated, infos = envs.step(actions)
    ended += int(terminated.sum())  # those have started again: see infos["final_obs"]

seconds = time.perf_counter() - begin
print(f"{ended} dialogues, {64 * steps / seconds:,.0f} steps a second")
print("the first user says:", observations["user"][0])
