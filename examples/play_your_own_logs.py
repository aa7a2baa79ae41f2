"""A log of four small formats becomes an environment, and the oracle plays it."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gymnasium as gym

from agent_gym_env import OraclePolicy, import_logs

LOGS = Path(__file__).parent / "logs"  # chat, Responses, ShareGPT and ConvLab's unified format

with TemporaryDirectory() as folder:
    corpus = Path(folder) / "shop"
    report = import_logs(LOGS, corpus, infer_tools=True, shares=(1, 0, 0))
    print(f"{report.conversations} conversations, {report.turns} turns, {report.calls} calls")
    print("schemas were inferred of:", ", ".join(report.without_schema))

    env: Any = gym.make("agent_gym_env:Traces-v0", corpus=str(corpus), reward="balanced")
    for dialogue_id in env.unwrapped.split.dialogue_ids():
        observation, info = env.reset(options={"dialogue_id": dialogue_id})
        oracle, earned, terminated = OraclePolicy(env), [], False
        while not terminated:
            observation, reward, terminated, _, info = env.step(oracle.act(observation))
            earned += [reward] if info["target"] is not None else []
        print(dialogue_id, info["date"], earned)
