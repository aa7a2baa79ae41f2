"""RunJobs as jobs: the same journals as on the command line, whatever ends the server."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent_gym_env.cli.exit_codes import ExitCode
from agent_gym_env.cli.main import main
from agent_gym_env.cli.serve import check_settings
from agent_gym_env.client import Client, ServerError
from agent_gym_env.corpus.locations import sample_path
from agent_gym_env.errors import DataError
from agent_gym_env.rollout.episode import Episode
from agent_gym_env.rollout.journal.reading import read_episodes
from agent_gym_env.rollout.journal.recovery import check_journal
from agent_gym_env.server import run_jobs
from agent_gym_env.server.event_stream import all_events
from agent_gym_env.server.permissions import Permissions
from agent_gym_env.server.run_jobs import Job, RunJobs, StartBody
from agent_gym_env.server.wire import Refused
from tests.server.running import Running, wait_for

IS_LONG = os.environ.get("AGENT_GYM_LONG") == "1"
ROLLOUT = {"policy": ["silent"], "split": "dev", "episodes": 6}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("runs")) as running:
        yield running


def _played(episode: Episode) -> Any:
    turns = [
        (turn.user, turn.reward, [s.action.text for s in turn.steps]) for turn in episode.turns
    ]
    return episode.dialogue_id, episode.policy, turns


def _is_over(client: Client, name: str) -> bool:
    return client.run(name)["state"] not in ("queued", "running")


def test_a_run_is_started_watched_and_is_the_command_s(server: Running, tmp_path: Path) -> None:
    client = server.client()
    run = client.start("rollout", name="mine", **ROLLOUT)
    assert (run["name"], run["command"]) == ("mine", "rollout")
    events = list(client.events("mine"))
    assert [events[0]["kind"], events[-1]["kind"]] == ["command", "ended"]
    progress = [event for event in events if event["kind"] == "progress"]
    assert (progress[-1]["done"], progress[-1]["total"]) == (6, 6)
    assert client.run("mine")["state"] == "done"
    later = list(client.events("mine", after=events[1]["id"]))
    assert later == events[2:]

    words = ["rollout", "--policy", "silent", "--split", "dev", "--episodes", "6"]
    out = tmp_path / "same"
    subprocess.run([sys.executable, "-m", "agent_gym_env", *words, "--out", str(out)], check=True)
    folder = server.app.state.runs.folder / "mine"
    names = {path.name for path in out.iterdir()}
    assert names == {path.name for path in folder.iterdir()}
    assert [_played(each) for each in read_episodes(folder)] == [
        _played(each) for each in read_episodes(out)
    ]
    with pytest.raises(ServerError, match="there is already a run"):
        client.start("rollout", name="mine", **ROLLOUT)


def test_an_evaluation_tells_its_figures(server: Running) -> None:
    client = server.client()
    run = client.start("evaluate", policy=["oracle", "silent"], split="dev", episodes=3)
    events = list(client.events(run["name"]))
    found = {
        event["evaluation"]["policy"]: event["evaluation"]["reward"]["mean"]
        for event in events
        if event["kind"] == "evaluation"
    }
    assert found == {"oracle": 1.0, "silent": 0.0}


def test_a_run_that_fails_says_why(server: Running) -> None:
    client = server.client()
    run = client.start(
        "rollout", policy=[{"name": "constant", "text": "Hi."}], services=["Nothing_1"]
    )
    wait_for(lambda: _is_over(client, run["name"]))
    ended = client.run(run["name"])
    assert ended["state"] == "failed"
    assert "Nothing_1" in ended["error"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"command": "data download"}, 422),
        ({"command": "rollout", "settings": {}, "name": "../up"}, 422),
        ({"command": "rollout", "settings": {**ROLLOUT, "epsiodes": 3}}, 422),
        ({"command": "rollout", "settings": {**ROLLOUT, "out": "elsewhere"}}, 422),
        ({"command": "rollout", "settings": {**ROLLOUT, "policy": ["os:system"]}}, 403),
        ({"command": "evaluate", "settings": {**ROLLOUT, "track": ["wandb"]}}, 403),
        ({"command": "optimize", "settings": {"program": "/etc/passwd"}}, 403),
        ({"command": "train sft", "settings": {"rows": ["../rows.jsonl"]}}, 403),
    ],
)
def test_a_run_that_cannot_be_is_refused_before_it_begins(
    server: Running, body: dict[str, Any], status: int
) -> None:
    before = len(server.client().runs())
    found, answer, _ = server.ask("POST", "/v1/runs", body)
    assert found == status, answer
    assert len(server.client().runs()) == before


@pytest.mark.parametrize("name", ["..", "%2e%2e%2fetc", ".agent-gym", "nothing", "a" * 200])
def test_a_run_that_is_not_there_is_said_so(server: Running, name: str) -> None:
    for method, path in (
        ("GET", f"/v1/runs/{name}/events"),
        ("POST", f"/v1/runs/{name}/stop"),
        ("POST", f"/v1/runs/{name}/resume"),
    ):
        assert server.ask(method, path)[0] == 404


def test_a_run_is_stopped_and_resumed(server: Running) -> None:
    client = server.client()
    run = client.start("rollout", name="long", **{**ROLLOUT, "episodes": 20_000})
    wait_for(lambda: client.run("long")["progress"])
    client.stop(run["name"])
    wait_for(lambda: _is_over(client, "long"))
    assert client.run("long")["state"] == "stopped"
    done = check_journal(server.app.state.runs.folder / "long").done
    assert 0 < done < 20_000
    with pytest.raises(ServerError, match="stopped already"):
        client.stop("long")
    client.resume("long")
    wait_for(lambda: (client.run("long")["progress"] or {}).get("done", 0) > done)
    client.stop("long")
    wait_for(lambda: _is_over(client, "long"))
    kinds = [event["kind"] for event in client.events("long")]
    assert kinds.count("command") == kinds.count("ended") == 2


def _serving(
    folder: Path, *options: str, cwd: Path | None = None
) -> tuple[subprocess.Popen[str], Client]:
    words = ["serve", str(folder), "--port", "0", "--at-once", "3", "--resume-interrupted"]
    process = subprocess.Popen(
        [sys.executable, "-m", "agent_gym_env", *words, *options, "--json"],
        cwd=cwd,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, Client(json.loads(process.stdout.readline())["url"])


def test_a_server_that_is_killed_loses_and_doubles_no_episode(tmp_path: Path) -> None:
    process, client = _serving(tmp_path)
    names = [f"run-{number}" for number in range(50 if IS_LONG else 6)]
    for name in names:
        client.start("rollout", name=name, **ROLLOUT)
    env = client.make("SGD-v0", split="dev", keep=True)
    env.reset(seed=1)
    last = env.step("Which city?")
    wait_for(lambda: any(run["state"] == "running" for run in client.runs()))
    job = next(run["name"] for run in client.runs() if run["state"] == "running")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with pytest.raises(ServerError):
        env.step("Hello?")
    # Kill a job too: the new server resumes it.
    pid = tmp_path / ".agent-gym" / "jobs" / job / "pid"
    wait_for(pid.exists)
    try:
        os.kill(int(pid.read_text()), signal.SIGKILL)
    except ProcessLookupError:
        assert job  # it was quicker
    process, client = _serving(tmp_path)
    try:
        restored = client.restore(env.session)
        assert (restored.last, restored.steps) == (last, 1)
        restored.close()
        wait_for(lambda: all(run["state"] == "done" for run in client.runs()))
    finally:
        process.terminate()
        process.communicate()
    assert process.returncode == 0
    for name in names:
        ids = [episode.dialogue_id for episode in read_episodes(tmp_path / name)]
        assert len(ids) == len(set(ids)) == 6


def test_a_relative_path_is_one_below_the_folder_of_the_runs(tmp_path: Path) -> None:
    started_in, folder = tmp_path / "started", tmp_path / "runs"
    for place in (started_in, folder):
        place.mkdir()
    (started_in / "secret.json").write_text("[")
    (folder / "own.json").write_text("[")
    corpus = sample_path()
    options = ["--corpus", os.path.relpath(corpus, started_in)]
    process, client = _serving(folder, *options, cwd=started_in)
    try:
        with pytest.raises(DataError, match="cannot read"):
            client.make(reward={"name": "rubric", "file": "secret.json"})
        with pytest.raises(DataError, match="own") as caught:
            client.make(reward={"name": "rubric", "file": "own.json"})
        assert "cannot read" not in str(caught.value)
        settings: dict[str, Any] = {**ROLLOUT, "corpus": str(corpus)}
        run = client.start("rollout", **settings)
        client.make(corpus=str(corpus), split="dev").close()
        wait_for(lambda: client.run(run["name"])["state"] == "done")
    finally:
        process.terminate()
        process.communicate()


@pytest.mark.parametrize("place", ["-1", "x", "9" * 15, "9" * 16, "1;quick:999999999999999"])
def test_an_id_that_is_none_of_the_stream_s_is_refused(server: Running, place: str) -> None:
    client = server.client()
    if not any(run["name"] == "quick" for run in client.runs()):
        client.start("rollout", name="quick", **ROLLOUT)
    name = None if ";" in place else "quick"
    with pytest.raises(ServerError, match="not an id of this stream") as caught:
        next(client.events(name, after=place))
    assert caught.value.code == "event_id"


def test_requests_at_the_same_time_begin_no_run_twice(tmp_path: Path) -> None:
    waiting = RunJobs(tmp_path, Permissions(), check_settings, at_once=0)
    bodies = [StartBody("rollout", ROLLOUT, name) for name in ("same", None)] * 8
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(waiting.start, body) for body in bodies]
    started = [each.result().name for each in asked if each.exception() is None]
    refused = [each.exception() for each in asked if each.exception() is not None]
    assert {*started} == {"same", *(f"rollout-{number}" for number in range(1, 9))}
    assert len(started) == 9
    assert {str(error)[:26] for error in refused} == {"there is already a run 'sa"}
    assert len(refused) == 7


def test_a_run_that_cannot_be_read_does_not_hide_the_others(tmp_path: Path) -> None:
    runs = RunJobs(tmp_path, Permissions(), check_settings, at_once=0)
    for name, content in (("damaged", "{"), ("-", "{}")):
        folder = tmp_path / ".agent-gym" / "jobs" / name
        folder.mkdir()
        (folder / "job.json").write_text(content)
    assert runs.start(StartBody("rollout", ROLLOUT, "good")).state == "queued"
    assert [run.name for run in runs.all()] == ["good"]


def test_an_attempt_is_begun_once_and_a_fault_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a job changes the current folder
    runs = RunJobs(tmp_path, Permissions(), check_settings, at_once=0)
    folder = tmp_path / ".agent-gym" / "jobs" / "bad"
    folder.mkdir()
    job = Job("rollout", {"policy": 5}, created=1.0, asked=1.0)
    (folder / "job.json").write_bytes(msgspec.json.encode(job))
    (folder / "errors.txt").touch()
    assert main(["run-job", str(folder)]) == ExitCode.USAGE
    run = runs.find("bad")
    assert (run.state, run.exit_code) == ("failed", ExitCode.USAGE)
    events = (folder / "events.jsonl").read_bytes()
    assert main(["run-job", str(folder)]) == ExitCode.DATA
    assert (folder / "events.jsonl").read_bytes() == events

    fault = msgspec.structs.replace(job, command="dance", attempts=2)
    (folder / "job.json").write_bytes(msgspec.json.encode(fault))
    with pytest.raises(SystemExit):
        main(["run-job", str(folder)])
    run = runs.find("bad")
    assert (run.state, run.exit_code, run.error) == ("failed", ExitCode.FAILED, "SystemExit: 2")


def test_a_client_resumes_only_what_it_may_start(tmp_path: Path) -> None:
    trusted = RunJobs(tmp_path, Permissions(is_trusted=True), check_settings, at_once=0)
    trusted.start(StartBody("rollout", {**ROLLOUT, "policy": "my_module:Policy"}, "mine"))
    assert trusted.stop("mine").state == "stopped"
    runs = RunJobs(tmp_path, Permissions(), check_settings, at_once=0)
    with pytest.raises(Refused, match="names the module"):
        runs.resume("mine")
    assert trusted.resume("mine").state == "queued"


def test_the_stream_of_all_runs_has_a_run_that_is_resumed(tmp_path: Path) -> None:
    runs = RunJobs(tmp_path, Permissions(), check_settings, at_once=0)
    folder = tmp_path / ".agent-gym" / "jobs" / "a"
    folder.mkdir()
    # A time with more digits than microseconds have.
    job = Job("rollout", ROLLOUT, created=1700000000.1234564, asked=1700000000.1234564)

    def write(job: Job, exit_code: int) -> None:
        (folder / "job.json").write_bytes(msgspec.json.encode(job))
        with (folder / "events.jsonl").open("ab") as file:
            for event in ({"kind": "command"}, {"kind": "ended", "exit_code": exit_code}):
                file.write(msgspec.json.encode({**event, "attempt": job.attempts}) + b"\n")

    async def received(last_id: str | None, until: int) -> tuple[list[tuple[str, int]], str]:
        found = []
        async for framed in await all_events(runs, last_id):
            id_, data = framed.decode().split("\ndata: ")
            event = json.loads(data)
            found.append((event["kind"], event["attempt"]))
            if len(found) == until:
                return found, id_.removeprefix("id: ")
            if found == [("ended", 1)]:
                write(msgspec.structs.replace(job, attempts=2, asked=job.asked + 1), 0)
        raise AssertionError("the stream has no end")

    write(job, 3)
    first = f"{job.asked - 1!r};a:0"
    found, after_first = asyncio.run(received(first, 1))
    assert found == [("command", 1)]
    found, last = asyncio.run(received(after_first, 3))
    assert found == [("ended", 1), ("command", 2), ("ended", 2)]
    # A client that has the last event receives only what comes later.
    write(msgspec.structs.replace(job, attempts=3, asked=job.asked + 2), 0)
    assert asyncio.run(received(last, 2))[0] == [("command", 3), ("ended", 3)]
    # So does one that knew that the run had ended.
    assert asyncio.run(received(repr(job.asked + 1), 2))[0] == [("command", 3), ("ended", 3)]


def test_jobs_wait_for_room_and_a_waiting_one_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = RunJobs(tmp_path, Permissions(), check_settings, at_once=1)
    first = runs.start(StartBody("rollout", {**ROLLOUT, "episodes": 20_000}))
    second = runs.start(StartBody("rollout", ROLLOUT))
    assert (first.state, second.state) == ("running", "queued")
    monkeypatch.setattr(run_jobs, "MAX_QUEUED", 1)
    with pytest.raises(Refused, match="1 runs wait already"):
        runs.start(StartBody("rollout", ROLLOUT))
    assert runs.stop(second.name).state == "stopped"
    wait_for(lambda: runs.find(first.name).progress)
    runs.stop(first.name)
    wait_for(lambda: runs.find(first.name).state == "stopped")
    runs.resume(second.name)
    wait_for(lambda: runs.find(second.name).state == "done")
    with pytest.raises(Refused, match="is done"):
        runs.resume(second.name)
    runs.close()
