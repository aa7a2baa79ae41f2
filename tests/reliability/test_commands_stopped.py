"""Commands that are killed or stopped lose nothing that was paid for, and say what is left."""

from __future__ import annotations

import importlib.util
import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent_gym_env.rollout.journal.reading import read_episodes
from agent_gym_env.rollout.journal.recovery import check_journal
from tests.lm.clients import needs
from tests.lm.server import LMServer
from tests.reliability.commands import killed_before, llm, run, stopped_at_request
from tests.rewards import judge_stubs

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="stops as POSIX does"),
    needs("aiohttp"),
    pytest.mark.timeout(2000),
]


with_dspy, with_trl = (
    pytest.mark.skipif(
        importlib.util.find_spec(library) is None, reason=f"{library} comes with an extra"
    )
    for library in ("dspy", "trl")
)


@pytest.fixture
def server() -> Iterator[LMServer]:
    with LMServer() as running:
        yield running


def rewards_of(path: Path) -> list[list[float | None]]:
    return [[turn.reward for turn in episode.turns] for episode in read_episodes(path)]


def test_a_killed_evaluation_goes_on_with_what_it_had_played(
    server: LMServer, tmp_path: Path
) -> None:
    command = ["evaluate", "--policy", llm(server), "--episodes", "5"]
    assert run(*command, "--out", str(tmp_path / "undisturbed")).returncode == 0
    needed = len(server.exchanges)
    folder = tmp_path / "out"
    killed = stopped_at_request(
        server, needed - 3, signal.SIGKILL, [*command, "--out", str(folder)]
    )
    assert killed.returncode == -signal.SIGKILL
    there = check_journal(folder / "journal" / "llm").done
    assert 1 <= there < 5
    begun = len(server.exchanges)
    again = run(*command, "--out", str(folder))
    assert again.returncode == 0
    assert f"llm: {there} of 5 episodes were there already" in again.stderr
    # Only the unfinished episodes are asked for again.
    asked_for_the_rest = sum(
        len(episode.turns) for episode in list(read_episodes(folder / "llm.jsonl"))[there:]
    )
    # One request asks whether the server's template knows tools.
    assert len(server.exchanges) - begun == asked_for_the_rest + 1
    assert rewards_of(folder / "llm.jsonl") == rewards_of(tmp_path / "undisturbed" / "llm.jsonl")
    assert run(*command, "--out", str(folder)).stdout == again.stdout


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("batch", ["1", "3"])
def test_a_stopped_evaluation_sums_up_what_was_played_and_goes_on(
    how: signal.Signals, batch: str, server: LMServer, tmp_path: Path
) -> None:
    rewards = ["--reward", "balanced", "--reward", "ground_truth"]
    command = ["evaluate", "--policy", llm(server), "--episodes", "9", "--batch", batch, *rewards]
    command += ["--out", str(tmp_path), "--json"]
    stopped = stopped_at_request(server, 45, how, command)
    assert stopped.returncode == 3, stopped.stderr
    assert "agent-gym: stopped; to resume, run the same command again" in stopped.stderr
    played = len(list(read_episodes(tmp_path / "llm.jsonl")))
    assert 1 <= played < 9
    summaries = json.loads(stopped.stdout)["evaluations"]
    assert [each["counts"]["episodes"] for each in summaries] == [played, played]
    assert (tmp_path / "report-ground_truth.html").exists()
    again = run(*command)
    assert again.returncode == 0
    assert json.loads(again.stdout)["evaluations"][0]["counts"]["episodes"] == 9
    assert len(list(read_episodes(tmp_path / "llm.jsonl"))) == 9


def test_an_evaluation_that_keeps_nothing_still_sums_up(server: LMServer) -> None:
    command = ["evaluate", "--policy", llm(server), "--episodes", "9"]
    stopped = stopped_at_request(server, 45, signal.SIGINT, command)
    assert stopped.returncode == 3
    assert "reward 'balanced', split 'dev'" in stopped.stdout
    assert "nothing is kept without --out" in stopped.stderr


def test_an_evaluation_stopped_in_its_second_policy_keeps_both(
    server: LMServer, tmp_path: Path
) -> None:
    command = ["evaluate", "--policy", "oracle", "--policy", llm(server), "--episodes", "4"]
    command += ["--out", str(tmp_path), "--json"]
    stopped = stopped_at_request(server, 20, signal.SIGINT, command)
    assert stopped.returncode == 3
    first, second = json.loads(stopped.stdout)["evaluations"]
    assert (first["policy"], first["counts"]["episodes"]) == ("oracle", 4)
    assert second["counts"]["episodes"] < 4
    again = run(*command)
    assert again.returncode == 0
    assert "oracle: 4 of 4 episodes were there already" in again.stderr
    assert len(json.loads(again.stdout)["comparisons"]) == 1


def test_an_evaluation_stopped_before_its_first_episode_goes_on(
    server: LMServer, tmp_path: Path
) -> None:
    command = ["evaluate", "--policy", llm(server), "--episodes", "2", "--out", str(tmp_path)]
    assert stopped_at_request(server, 1, signal.SIGTERM, command).returncode == 3
    assert run(*command).returncode == 0


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("recorded") / "played"
    command = ["evaluate", "--policy", "oracle", "--episodes", "3", "--out", str(out)]
    assert run(*command).returncode == 0
    return out / "oracle.jsonl"


@pytest.mark.parametrize(
    ("command", "how"),
    [("rescore", signal.SIGINT), ("rescore", signal.SIGTERM), ("agreement", signal.SIGINT)],
)
def test_a_stopped_scoring_asks_for_no_verdict_twice(
    command: str,
    how: signal.Signals,
    server: LMServer,
    recorded: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("AGENT_GYM_HOME", str(home))
    server.agent = lambda request: judge_stubs.honest(request.messages)
    judge = json.dumps({**json.loads(llm(server)), "name": "llm_judge"})
    arguments = {
        "rescore": [str(recorded), "--reward", judge, "--out", str(tmp_path / "rescored.jsonl")],
        "agreement": ["--judge", judge, "--episodes", "1"],
    }[command]

    def verdicts() -> list[Path]:
        return list(home.glob("lm_cache/*/*.json"))

    stopped = stopped_at_request(server, 30, how, [command, *arguments], ready=verdicts)
    assert stopped.returncode == 3, stopped.stderr
    assert "run the same command again: the verdicts so far are kept" in stopped.stderr
    there, begun = len(verdicts()), len(server.exchanges)
    assert there > 0
    assert run(command, *arguments).returncode == 0
    needed = len(verdicts())
    assert len(server.exchanges) - begun == needed - there


@pytest.mark.parametrize("format_", ["sft", "parquet", "minari"])
def test_a_killed_export_leaves_nothing_after_the_next(
    format_: str, recorded: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "exported"
    command = ["export", str(recorded), "--format", format_, "--out", str(folder / "rows-v0")]
    killed_before("os.rename", "rows-v0", *command)
    (left,) = folder.iterdir()
    again = run(*command)
    assert again.returncode == 0
    assert f"removed {left}, which a run that was killed has left" in again.stderr
    assert [path.name for path in folder.iterdir()] == ["rows-v0"]


@pytest.mark.parametrize("end", ["oracle.jsonl", "report-balanced.html"])
def test_an_evaluation_killed_while_it_writes_its_files_writes_them_the_next_time(
    end: str, tmp_path: Path
) -> None:
    command = ["evaluate", "--policy", "oracle", "--episodes", "3", "--out", str(tmp_path)]
    killed_before("os.rename", end, *command)
    again = run(*command)
    assert again.returncode == 0
    assert "3 of 3 episodes were there already" in again.stderr
    assert ".unfinished, which a run that was killed has left" in again.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "journal", "oracle.jsonl", "report-balanced.html"
    ]  # fmt: skip


def _optimize(server: LMServer, out: Path) -> list[str]:
    model = {"client": "local", "model": "any", "api_base": server.openai_base}
    return [
        "optimize", "--strategy", "bootstrap", "--model", json.dumps(model), "--threads", "1",
        "--num-train", "4", "--num-validation", "4", "--num-held-out", "12", "--out", str(out),
    ]  # fmt: skip


def _step(*_: Any) -> str:
    return "[[ ## reasoning ## ]]\n\n[[ ## response ## ]]\nCertainly.\n\n[[ ## tool_call ## ]]\n"


@with_dspy
@pytest.mark.parametrize(
    ("how", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 3), (signal.SIGTERM, 3)]
)
@pytest.mark.parametrize("request_", [6, 14])
def test_a_stopped_optimisation_asks_for_nothing_twice(
    how: signal.Signals, code: int, request_: int, server: LMServer, tmp_path: Path
) -> None:
    server.agent = _step
    command = _optimize(server, tmp_path / "agent.json")
    stopped = stopped_at_request(server, request_, how, command)
    assert stopped.returncode == code, stopped.stderr
    assert "Error for Example" not in stopped.stderr
    before = len(server.exchanges)
    again = run(*command)
    assert again.returncode == 0, again.stderr
    assert f"has {before - 1} answers of earlier runs" in again.stderr
    asked = [msgspec.json.encode(request.messages) for request in server.requests]
    # One was under way when the command was stopped.
    assert len(asked) - len(set(asked)) == 1


@with_dspy
def test_an_optimisation_killed_while_it_writes_its_program_writes_it_the_next_time(
    server: LMServer, tmp_path: Path
) -> None:
    server.agent = _step
    command = _optimize(server, tmp_path / "agent.json")
    killed_before("os.rename", "agent.json", *command)
    asked = len(server.exchanges)
    again = run(*command)
    assert again.returncode == 0
    assert "agent.json." in again.stderr.partition("which a run that was killed has left")[0]
    assert len(server.exchanges) == asked
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".lm_cache", "agent.json", "agent_result.json"
    ]  # fmt: skip


@with_trl
def test_a_killed_training_says_what_is_left_and_goes_on(recorded: Path, tmp_path: Path) -> None:
    rows, out = tmp_path / "rows.jsonl", tmp_path / "out"
    assert run("export", str(recorded), "--format", "sft", "--out", str(rows)).returncode == 0
    tiny = {"vocabulary": 300, "width": 16, "layers": 1, "heads": 2, "context": 4096}
    config = json.dumps({"tiny": tiny, "save_every": 1, "batch_size": 1})
    command = ["train", "sft", str(rows), "--model", "tiny", "--config", config,
               "--max-steps", "3", "--out", str(out)]  # fmt: skip
    home = {"HF_HOME": str(tmp_path / "hf")}
    killed_before("open", "checkpoint-2/trainer_state.json", *command, **home)
    refused = run(*command, **home)
    assert refused.returncode == 5
    assert f"{out} holds a run already: resume it" in refused.stderr
    killed_before("os.rename", "out/model", *command, "--resume", **home)
    resumed = run(*command, "--resume", **home)
    assert resumed.returncode == 0, resumed.stderr
    assert f"resuming from {out / 'checkpoints' / 'checkpoint-3'}" in resumed.stderr
    assert ".unfinished, which a run that was killed has left" in resumed.stderr
    assert (out / "model" / "model.safetensors").exists()
    assert not list(out.glob(".*"))
