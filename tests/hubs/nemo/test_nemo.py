"""A session behind NeMo Gym's own web server, with cookies as its agent has them."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import MagicMock

import pytest

from agent_gym_env.server.session import Reply, Session
from tests.hubs.ways import Player, Step, action_of, played

pytest.importorskip("nemo_gym", reason="it needs its own environment: make test-hub-nemo")

from fastapi.testclient import TestClient
from nemo_gym.base_resources_server import BaseResourcesServerConfig
from nemo_gym.openai_utils import NeMoGymResponseCreateParamsNonStreaming
from nemo_gym.server_utils import ServerClient

from agent_gym_env.adapters.nemo_server import DialogueServer, rows

# NeMo Gym and the libraries under it warn of themselves.
pytestmark = pytest.mark.filterwarnings("default")

ENVS = ["SGD-v0", "SGDSim-v0"]
ARGUMENTS = {"split": "dev"}


@pytest.fixture
def web() -> TestClient:
    config = BaseResourcesServerConfig(host="127.0.0.1", port=1, entrypoint="", name="agent_gym")
    server = DialogueServer(config=config, server_client=MagicMock(spec=ServerClient))
    return TestClient(server.setup_webserver())


def response_of(step: Step) -> dict[str, Any]:
    """Return a response of a model, as NeMo Gym's agent sends it."""
    name, arguments = step
    if name == "say":
        part = {"type": "output_text", "text": arguments["text"], "annotations": []}
        item: dict[str, Any] = {"type": "message", "id": "m", "role": "assistant"}
        item |= {"status": "completed", "content": [part]}
    else:
        item = {"type": "function_call", "call_id": "c1", "name": name}
        item |= {"arguments": json.dumps(arguments)}
    return {
        "id": "r", "created_at": 0.0, "model": "m", "object": "response", "output": [item],
        "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
    }  # fmt: skip


@pytest.mark.parametrize("env_id", ENVS)
def test_an_episode_has_the_bytes_of_a_session(web: TestClient, env_id: str) -> None:
    row = next(iter(rows(env_id, ARGUMENTS, seed=4)))

    def asked(path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = web.post(path, json=body)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def reset(seed: int) -> Reply:
        answer = asked("/reset", row)
        assert answer["observation"] == answer["info"]["observation"]["user"]
        return Reply(reward=None, terminated=False, truncated=False, **answer["info"])

    def step(step: Step) -> Reply:
        answer = asked("/step", {**row, "response": response_of(step)})
        outputs = answer["info"].pop("tool_outputs")
        ends = {name: answer[name] for name in ("reward", "terminated", "truncated")}
        reply = Reply(**answer["info"], **ends)
        results = json.loads(reply.observation["tool_result"] or "[]")
        assert [json.loads(each["output"]) for each in outputs] == results
        return reply

    session = Session(env_id, ARGUMENTS)
    inside = Player(
        lambda seed: session.reset(seed=seed, options={"dialogue_id": row["dialogue_id"]}),
        lambda step: session.step(action_of(step)),
    )
    assert played(Player(reset, step), 4) == played(inside, 4)


def test_rows_are_requests_of_the_responses_api() -> None:
    found = list(rows("SGD-v0", ARGUMENTS))
    assert len(found) == 52
    params = NeMoGymResponseCreateParamsNonStreaming.model_validate(
        found[0]["responses_create_params"]
    )
    assert "2019-03-01" in json.dumps(params.model_dump()["input"], default=str)
