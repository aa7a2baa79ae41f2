"""Agent Gym as an OpenEnv package: the real server, client and validation of the library."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from agent_gym_env.server.session import Reply
from tests.hubs.ways import Player, Step, action_of, in_process, played

pytest.importorskip("openenv", reason="it needs its own environment: make test-hub-openenv")

from openenv.validation import (
    GraderRegistry,
    Level,
    ProviderCapability,
    Subject,
    Verdict,
    run_validation,
)
from openenv.validation.parsers.openenv_yaml import OpenEnvYamlParser
from openenv.validation.runtime.scheduler import execute_graders

from agent_gym_env.adapters.openenv_env import AgentGymClient, DialogueAction, DialogueEnvironment
from agent_gym_env.adapters.openenv_graders import CanaryFloorGrader, OracleMaxGrader

# OpenEnv and the libraries under it warn of themselves.
pytestmark = pytest.mark.filterwarnings("default")

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "integrations" / "openenv"
START_S = 300


class Server(NamedTuple):
    """A started server. The names are those that OpenEnv's validation asks for."""

    base_url: str
    process: subprocess.Popen[bytes]

    def inspect(self) -> dict[str, Any]:
        return {}

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)


def started(env_id: str, config: Path) -> Server:
    """Start the package's server for an environment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = {"corpus": "sample", "split": "train"}
    config.write_text(json.dumps({"env_id": env_id, "arguments": arguments}))
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "AGENT_GYM_OPENENV": str(config),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "server.app", "--port", str(port)], cwd=PACKAGE, env=environment
    )
    url = f"http://127.0.0.1:{port}"
    give_up = time.monotonic() + START_S
    while True:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{url}/health", timeout=5)
            return Server(url, process)
        assert process.poll() is None, "the server has ended"
        assert time.monotonic() < give_up, "the server does not answer"
        time.sleep(0.2)


@pytest.fixture(scope="module", params=["SGD-v0", "SGDSim-v0"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Server]]:
    config = tmp_path_factory.mktemp("openenv") / "environment.json"
    running = started(request.param, config)
    yield request.param, running
    running.stop()


def replied(result: Any) -> Reply:
    """Return the reply that a result of the client carries."""
    observation = result.observation
    texts = {name: getattr(observation, name) for name in ("user", "tool_result")}
    texts |= {name: getattr(observation, name) for name in ("messages", "tools")}
    ends = {name: observation.metadata[name] for name in ("terminated", "truncated", "info")}
    return Reply(texts, result.reward, **ends)


def test_a_client_gets_the_bytes_of_a_session(server: tuple[str, Server]) -> None:
    env_id, running = server
    with in_process(env_id, {"split": "train"}) as player:
        expected = [json.loads(each) for each in played(player, 4)]
    with AgentGymClient(base_url=running.base_url).sync() as client:

        def step(step: Step) -> Reply:
            return replied(client.step(DialogueAction(**action_of(step))))

        found = played(Player(lambda seed: replied(client.reset(seed=seed)), step), 4)
    assert [json.loads(each) for each in found] == expected
    # The same texts; OpenEnv keeps the order of the members, too.
    assert [each == msgspec.json.encode(e) for each, e in zip(found, expected, strict=True)]


def test_a_client_goes_back_to_a_state(server: tuple[str, Server]) -> None:
    _, running = server
    with AgentGymClient(base_url=running.base_url).sync() as client:
        client.reset(seed=1, episode_id="mine")
        client.step(DialogueAction(text="Hm?"))
        state = client.state()
        assert (state.episode_id, state.step_count) == ("mine", 1)
        ahead = replied(client.step(DialogueAction(text="Which city?")))
        client.reset(injected_state=state.snapshot)
        assert client.state().step_count == 1
        assert replied(client.step(DialogueAction(text="Which city?"))) == ahead


def test_two_clients_do_not_disturb_each_other(server: tuple[str, Server]) -> None:
    _, running = server
    first = AgentGymClient(base_url=running.base_url).sync()
    second = AgentGymClient(base_url=running.base_url).sync()
    with first, second:
        begun = replied(first.reset(seed=1))
        second.reset(seed=2)
        second.step(DialogueAction(text="Hm?"))
        assert first.state().step_count == 0
        assert replied(second.reset(seed=1)) == begun


def test_openenv_validates_the_running_server(server: tuple[str, Server]) -> None:
    _, running = server
    command = [sys.executable, "-m", "openenv.cli", "validate", "--url", running.base_url]
    done = subprocess.run([*command, "--timeout", "60"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


class ProcessProvider:
    """Starts the package in a process of this machine, where there is no Docker.

    It measures what the runtime checks ask for, and limits neither memory nor network.
    """

    name = "process"
    capabilities = frozenset({ProviderCapability.IMAGE_BUILD})
    supported_network_modes = frozenset({"no-network", "public"})

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def build(self, root: Path, execution: Any) -> str:
        return "sha256:" + "0" * 64

    def start(self, spec: Any) -> Server:
        return started("SGD-v0", self._folder / "environment.json")


def test_every_check_that_is_implemented_passes(tmp_path: Path) -> None:
    package = tmp_path / "package"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__", "wheels"))
    report = run_validation(
        package,
        max_level=Level.RUNTIME,
        provider=ProcessProvider(tmp_path),
    )
    found = {each.check_id: each.status.value for each in report.results}
    startup = next(each for each in report.results if each.check_id == "runtime.startup")
    assert startup.status.value == "pass", startup.evidence
    assert {name for name, status in found.items() if status == "pass"} == {
        "static.manifest",
        "runtime.startup",
        "runtime.reward_well_formed",
        "runtime.observation_schema",
        "runtime.state_contract",
    }
    assert set(found.values()) == {"pass", "skip"}, report
    assert report.verdict is Verdict.WARN, "checks that are not implemented are skipped"


def graded(package: Path) -> dict[str, Any]:
    """Run our graders on a package, as OpenEnv's registry does."""
    registry = GraderRegistry()
    for grader in (OracleMaxGrader(), CanaryFloorGrader()):
        registry.register(grader)
    manifest = OpenEnvYamlParser().parse(package)
    graders = registry.select(manifest, Level.SEMANTIC)
    subject = Subject(package, manifest, None, None, package / "outputs")
    for grader in graders:
        grader.depends_on = ()
    return {each.check_id: each for each in execute_graders(graders, subject)}


def test_our_graders_pass_the_package() -> None:
    found = graded(PACKAGE)
    assert {name: each.status.value for name, each in found.items()} == {
        "semantic.oracle_max": "pass",
        "semantic.canary_floor": "pass",
    }
    assert found["semantic.oracle_max"].measured["turns_below"] == 0
    assert found["semantic.canary_floor"].measured["canaries"]["silence"] == 0.0


def test_our_graders_find_a_reward_that_silence_games(tmp_path: Path) -> None:
    package = tmp_path / "package"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__", "wheels"))
    config = json.loads((package / "environment.json").read_text())
    config["arguments"]["reward"] = "ground_truth"  # pays 0.5 for a turn in which nothing is due
    (package / "environment.json").write_text(json.dumps(config))
    found = graded(package)["semantic.canary_floor"]
    assert found.status.value == "fail"
    assert any("'silence' earns" in line for line in found.evidence)


def test_tasks_are_the_dialogues_of_a_split() -> None:
    env = DialogueEnvironment("SGD-v0", {"split": "dev"})
    assert env.list_splits() == ["train", "dev", "test"]
    tasks = env.list_tasks("test")
    assert len(tasks) == env.num_tasks("test") == 52
    assert tasks[3] == env.get_task("test", 3) == env.get_task_range("test", 3, 4)[0]
    observation = env.reset(split="test", index=3)
    assert observation.metadata["info"]["dialogue_id"] == tasks[3]["id"]
    with pytest.raises(IndexError, match="0 to 51, not 52"):
        env.get_task("test", 52)


def test_the_declared_numbers_of_tasks_are_right() -> None:
    declared = OpenEnvYamlParser().parse(PACKAGE).capabilities.declared_task_count
    env = DialogueEnvironment("SGD-v0")
    assert declared == {split: env.num_tasks(split) for split in env.list_splits()}
