"""A Ray cluster of several nodes, all on this machine, collects what one process collects."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agent_gym_env import assembly
from agent_gym_env.cli.main import main
from agent_gym_env.errors import AgentGymError, DataError
from agent_gym_env.rollout.collect import Progress, run_collection
from agent_gym_env.rollout.jobs import Collection, JobPlayer
from agent_gym_env.rollout.ray_runner import RayRunner
from agent_gym_env.rollout.runners import SerialRunner
from tests.rollout.collecting import collection, open_player, records

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
