"""A session in SkyRL-gym, made by the library itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent_gym_env.server.session import Reply, Session
from tests.hubs.ways import Player, Step, action_of, played

pytest.importorskip("skyrl_gym", reason="it needs its own environment: make test-hub-skyrl")

import skyrl_gym

from agent_gym_env.adapters.skyrl_env import ENV_CLASS, register_env, rows

ENVS = ["SGD-v0", "SGDSim-v0"]
ARGUMENTS = {"split": "dev"}


@pytest.fixture(scope="module", autouse=True)
def registered() -> None:
    register_env()


def made(row: dict[str, Any]) -> Any:
    extras = {name: value for name, value in row.items() if name != "prompt"}
    return skyrl_gym.make(ENV_CLASS, env_config={}, extras=extras)


def reply_of(metadata: dict[str, Any], reward: float | None) -> Reply:
    return Reply(reward=reward, **metadata)


def text_of(step: Step) -> str:
    name, arguments = step
    if name == "say":
        return str(arguments["text"])
    call = json.dumps({"name": name, "arguments": arguments})
    return f"<tool_call>\n{call}\n</tool_call>"


@pytest.mark.parametrize("env_id", ENVS)
def test_an_episode_has_the_bytes_of_a_session(env_id: str) -> None:
    row = next(iter(rows(env_id, ARGUMENTS, seed=4)))
    env = made(row)

    def reset(seed: int) -> Reply:
        prompt, metadata = env.init(row["prompt"])
        assert prompt == row["prompt"]
        return reply_of(metadata, None)

    def step(step: Step) -> Reply:
        output = env.step(text_of(step))
        reply = reply_of(output["metadata"], output["reward"])
        assert output["done"] == reply.over
        return reply

    session = Session(env_id, ARGUMENTS)
    options = {"dialogue_id": row["extra_info"]["dialogue_id"]}
    inside = Player(
        lambda seed: session.reset(seed=seed, options=options),
        lambda step: session.step(action_of(step)),
    )
    expected = played(inside, 4)
    assert played(Player(reset, step), 4) == expected
    assert env.get_metrics()["steps"] == len(expected) - 1
    env.close()


def test_the_model_hears_results_and_the_user() -> None:
    row = next(iter(rows("SGD-v0", ARGUMENTS)))
    env = made(row)
    env.init(row["prompt"])
    (heard,) = env.step(text_of(("Nothing-Here", {})))["observations"]
    assert heard["role"] == "user"
    assert heard["content"].startswith("<tool_response>")
    (heard,) = env.step("Which city?")["observations"]
    assert heard["role"] == "user"
    assert heard["content"]


def test_a_row_without_a_dialogue_is_refused() -> None:
    with pytest.raises(ValueError, match="extra_info"):
        skyrl_gym.make(ENV_CLASS, env_config={}, extras={})
