"""A Ray cluster of several nodes, all on this machine, collects what one process collects."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agent_gym_env import assembly
from agent_gym_env.cli.main import main
from agent_gym_env.errors import AgentGymError, DataError, LMError
from agent_gym_env.lm.base import Request, Response
from agent_gym_env.rollout.collect import Progress, run_collection
from agent_gym_env.rollout.jobs import Collection, JobPlayer
from agent_gym_env.rollout.ray_runner import RayRunner
from agent_gym_env.rollout.runners import SerialRunner
from tests.rollout.collecting import collection, open_player, records
from tests.training.first_turns import small_model

ray = pytest.importorskip("ray", reason="the extra 'ray' is not installed")

NODE: dict[str, Any] = {"object_store_memory": 80 * 2**20}
WAIT_S = 300


@pytest.fixture(scope="module")
def cluster(agent_gym_home: Path) -> Iterator[Any]:
    """A head that plays nothing itself, and a node that plays."""
    from ray import cluster_utils

    start: Any = cluster_utils.Cluster
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        started = start(
            initialize_head=True,
            head_node_args={**NODE, "num_cpus": 0, "include_dashboard": False},
        )
        try:
            started.add_node(**NODE, num_cpus=2)
            started.wait_for_nodes(WAIT_S)
            yield started
        finally:
            ray.shutdown()
            started.shutdown()


@pytest.fixture
def address(cluster: Any) -> str:
    """Address of the cluster's head node."""
    return f"127.0.0.1:{cluster.address.rpartition(':')[2]}"


def noting_player(what: Collection, folder: Path) -> JobPlayer:
    """Make a player, and write a file named after the node that it is made on."""
    node = ray.get_runtime_context().get_node_id()
    folder.mkdir(exist_ok=True)
    (folder / node).touch()
    return open_player(what)


def test_a_runner_with_an_address_plays_on_the_clusters_nodes(
    cluster: Any, address: str, tiny_corpus: Path, tmp_path: Path
) -> None:
    what = collection(tiny_corpus, jobs=8, best_of=2)
    run_collection(what, tmp_path / "serial", partial(open_player, what), SerialRunner())
    noting = partial(noting_player, what, tmp_path / "nodes")
    run_collection(what, tmp_path / "ray", noting, RayRunner(2, address=address))
    assert records(tmp_path / "ray") == records(tmp_path / "serial")
    (worker,) = cluster.worker_nodes
    assert [path.name for path in (tmp_path / "nodes").iterdir()] == [worker.node_id]
    assert not ray.is_initialized()


def test_what_a_lost_node_had_begun_another_one_plays(
    cluster: Any, address: str, tiny_corpus: Path, tmp_path: Path
) -> None:
    what = collection(tiny_corpus, jobs=40, model={"delay_s": 0.005})
    run_collection(what, tmp_path / "serial", partial(open_player, what), SerialRunner())
    (first,) = cluster.worker_nodes
    lost = False

    def lose_the_first_node(progress: Progress) -> None:
        nonlocal lost
        if not lost:
            lost = True
            cluster.add_node(**NODE, num_cpus=2)
            cluster.remove_node(first, allow_graceful=False)

    run_collection(
        what,
        tmp_path / "ray",
        partial(open_player, what),
        RayRunner(2, address=address),
        on_progress=lose_the_first_node,
    )
    assert lost
    assert records(tmp_path / "ray") == records(tmp_path / "serial")


class Counted:
    """A model that counts its requests, and those that wait at once."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._counting = threading.Lock()
        self._waiting = 0
        self.name = model.name
        self.requests = self.most_at_once = 0

    def complete(self, request: Request) -> Response:
        """Pass a request on."""
        with self._counting:
            self.requests += 1
            self._waiting += 1
            self.most_at_once = max(self.most_at_once, self._waiting)
        try:
            response: Response = self._model.complete(request)
        finally:
            with self._counting:
                self._waiting -= 1
        return response

    def complete_many(self, requests: Sequence[Request]) -> list[Response | LMError]:
        """Pass requests on one by one."""
        return [self.complete(request) for request in requests]

    def close(self) -> None:
        """Release nothing: the model is the test's."""


def without_costs(folder: Path) -> dict[tuple[int, int], dict[str, Any]]:
    """Read the records of a journal, without what its answers cost.

    Each actor's client asks once whether the server takes tools, and counts that as a cost.
    """
    found = records(folder)
    for record in found.values():
        record.pop("spending", None)
        for turn in record["turns"]:
            for step in turn["steps"]:
                for cost in ("latency_s", "usage"):
                    step["action"]["completion"].pop(cost, None)
    return found


def test_actors_on_several_nodes_share_one_model_and_outlive_their_nodes(
    cluster: Any, address: str, tmp_path: Path
) -> None:
    for library in ("torch", "fastapi", "uvicorn", "aiohttp"):
        pytest.importorskip(library)
    from agent_gym_env.lm.transformers_client import TransformersClient
    from tests.lm.test_openai_server import Running

    path = small_model(tmp_path / "model")
    model = Counted(TransformersClient(path, max_new_tokens=6, guided=False))
    cluster.add_node(**NODE, num_cpus=2)
    cluster.wait_for_nodes(WAIT_S)
    old = list(cluster.worker_nodes)
    lost = False

    def exchange_the_nodes(progress: Progress) -> None:
        nonlocal lost
        if progress.played >= 4 and not lost:
            lost = True
            cluster.add_node(**NODE, num_cpus=2)
            for node in old:
                cluster.remove_node(node, allow_graceful=False)

    with Running(model) as server:
        policy = {"name": "llm", "client": "local", "model": "model", "api_base": server.base}
        what: dict[str, Any] = {"split": "dev", "reward": "balanced", "episodes": 16}
        assembly.collect(policy, tmp_path / "serial", **what)
        asked_alone = model.requests
        assert model.most_at_once == 1
        runner = RayRunner(5, address=address)
        assembly.collect(
            policy, tmp_path / "ray", runner=runner, on_progress=exchange_the_nodes, **what
        )
    assert lost
    assert without_costs(tmp_path / "ray") == without_costs(tmp_path / "serial")
    asked_together = model.requests - asked_alone
    print(f"{asked_alone} calls, then {asked_together} with up to {model.most_at_once} at once")
    # What the lost nodes had begun is asked again.
    assert len(old) > 1
    assert asked_together > asked_alone
    assert model.most_at_once > 1


def test_the_function_and_the_command_take_a_cluster(
    address: str, tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world: dict[str, Any] = {"corpus": str(tiny_corpus), "split": "dev", "reward": "balanced"}
    assembly.collect("oracle", tmp_path / "serial", **world)
    assembly.collect("oracle", tmp_path / "object", runner=RayRunner(2, address=address), **world)
    given = ["rollout", "--policy", "oracle", "--corpus", str(tiny_corpus), "--split", "dev"]
    ours = [*given, "--runner", "ray", "--out"]
    assert main([*ours, str(tmp_path / "option"), "--address", address]) == 0
    monkeypatch.setenv("RAY_ADDRESS", address)
    assert main([*ours, str(tmp_path / "variable")]) == 0
    for name in ("object", "option", "variable"):
        assert records(tmp_path / name) == records(tmp_path / "serial"), name


def test_an_address_where_nothing_listens_is_an_error_at_once(
    tiny_corpus: Path, tmp_path: Path
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{closed.getsockname()[1]}"
        what = collection(tiny_corpus)
        for address in (nobody, f"ray://{nobody}", "nonsense", "127.0.0.1:99999"):
            runner = RayRunner(1, address=address)
            with pytest.raises(AgentGymError, match="cannot join a Ray cluster"):
                run_collection(what, tmp_path / "none", partial(open_player, what), runner)


def test_an_address_is_of_ray_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["rollout", "--policy", "oracle", "--out", str(tmp_path), "--address", "auto"]
    assert main(arguments) == 2
    assert "--address needs --runner ray" in capsys.readouterr().err


def test_another_corpus_at_the_same_place_is_refused(tiny_corpus: Path) -> None:
    what = collection(tiny_corpus, "oracle")
    with pytest.raises(DataError, match=r"the run's has 000000000000: give each machine"):
        assembly.open_player(what)
