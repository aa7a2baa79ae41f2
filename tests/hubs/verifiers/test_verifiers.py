"""A session in verifiers: its own loader, scoring and command, with a model behind an endpoint."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from agent_gym_env.server.session import Reply, Session
from agent_gym_env.types import Action
from tests.hubs.scripted_server import scripted_server
from tests.hubs.ways import Player, Step, action_of, played

pytest.importorskip("verifiers", reason="it needs its own environment: make test-hub-verifiers")

from agent_gym_env.adapters.verifiers_env import (
    DialogueTaskset,
    DialogueTasksetConfig,
    is_solved,
)
from agent_gym_env.adapters.verifiers_state import DialogueData, DialogueState, begin, take_step
from agent_gym_env.adapters.verifiers_tools import OVER, called, listed

# verifiers and the libraries under it warn of themselves.
pytestmark = pytest.mark.filterwarnings("default")

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "integrations" / "verifiers"
ENVS = ["SGD-v0", "SGDSim-v0"]


def data(env_id: str = "SGD-v0", **arguments: Any) -> DialogueData:
    chosen = {"split": "dev", **arguments}
    return DialogueData(env_id=env_id, arguments=chosen, dialogue_id="1_00000", seed=4)


@pytest.mark.parametrize("env_id", ENVS)
def test_an_episode_has_the_bytes_of_a_session(env_id: str) -> None:
    state = DialogueState()

    def reset(seed: int) -> Reply:
        return begin(state, data(env_id))

    def step(step: Step) -> Reply:
        # Between two steps verifiers carries the state as JSON.
        nonlocal state
        state = DialogueState.model_validate_json(state.model_dump_json())
        name, arguments = step
        if name == "say":
            return take_step(state, Action(arguments["text"]))
        called(state, name, dict(arguments))
        return msgspec.convert(state.snapshot["reply"], Reply)

    session = Session(env_id, {"split": "dev"})
    inside = Player(
        lambda seed: session.reset(seed=seed, options={"dialogue_id": "1_00000"}),
        lambda step: session.step(action_of(step)),
    )
    assert played(Player(reset, step), 4) == played(inside, 4)


def taskset(**options: Any) -> DialogueTaskset:
    return DialogueTaskset(DialogueTasksetConfig(id="agent-gym-vf", **options))


def test_a_task_is_a_dialogue_and_its_key_the_dialogues_id() -> None:
    tasks = list(taskset(arguments={"split": "dev"}))
    assert len(tasks) == 52
    assert [task.key for task in tasks] == [task.data.dialogue_id for task in tasks]
    assert "2019-03-01" in tasks[0].data.system_prompt


@pytest.mark.parametrize("env_id", ENVS)
def test_the_gold_check_passes(env_id: str) -> None:
    task = next(iter(taskset(env_id=env_id, arguments={"split": "dev"})))
    assert asyncio.run(task.validate(None)) is True
    assert is_solved(task.data)


def test_the_reward_is_the_mean_over_the_recorded_turns() -> None:
    task = next(iter(taskset(arguments={"split": "dev"})))
    trace: Any = SimpleNamespace(state=DialogueState())
    asyncio.run(task.setup(trace, None))
    first = take_step(trace.state, Action("Which city?")).reward
    env = Session("SGD-v0", {"split": "dev"}).env
    recorded = len(env.split.task(env.split.index(task.key)).turns)
    assert first
    assert asyncio.run(task.dialogue(trace)) == first / recorded
    assert asyncio.run(task.counts(trace)) == {
        "turns": 1.0, "calls": 0.0, "refused_calls": 0.0, "unscored_turns": 0.0
    }  # fmt: skip


def test_the_tools_are_those_of_the_dialogue() -> None:
    state = DialogueState()
    assert listed(state) == []
    reply = begin(state, data())
    offered = [each["function"] for each in json.loads(reply.observation["tools"])]
    assert [tool.name for tool in listed(state)] == [each["name"] for each in offered]
    assert listed(state)[0].input_schema == offered[0]["parameters"]
    result = called(state, "Nothing-Here", {})
    assert (result.is_error, state.calls, state.refused) == (True, 1, 1)


def test_after_the_end_a_call_is_refused() -> None:
    state = DialogueState()
    begin(state, data(max_episode_steps=1))
    take_step(state, Action("Hm?"))
    assert state.over
    assert called(state, "Nothing-Here", {}).model_dump()["content"][0]["text"] == OVER


def test_vf_eval_plays_a_dialogue(tmp_path: Path) -> None:
    path = os.pathsep.join([str(ROOT), str(PACKAGE), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "OPENAI_API_KEY": "x"}
    vf_eval = Path(sys.executable).with_name("vf-eval")
    with scripted_server() as url:
        command = [str(vf_eval), "@", str(PACKAGE / "eval.toml"), "--client.base-url", url]
        done = subprocess.run(
            [*command, "-o", str(tmp_path)], cwd=tmp_path, env=environment, capture_output=True
        )
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    (written,) = tmp_path.rglob("traces.jsonl")
    record = json.loads(written.read_text().splitlines()[0])
    (trace,) = record["traces"]
    assert trace["metrics"]["turns"] == 2
    assert trace["metrics"]["calls"] == trace["metrics"]["refused_calls"] == 2


def test_the_configuration_of_prime_rl_names_arguments_of_the_taskset() -> None:
    tomllib = pytest.importorskip("tomllib", reason="it comes with Python 3.11")
    config = tomllib.loads((PACKAGE / "prime_rl.toml").read_text())
    (env,) = config["orchestrator"]["env"]
    chosen = DialogueTasksetConfig(**env["taskset"])
    assert next(iter(DialogueTaskset(chosen))).data.env_id == "SGDSim-v0"
