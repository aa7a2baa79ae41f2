"""Episodes and policies go to the hub and come back, and nothing else comes with them."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed: extra hub")

from agent_gym_env.assembly import collect
from agent_gym_env.cli.main import main
from agent_gym_env.corpus.corpus import open_corpus
from agent_gym_env.hf_hub.card import make_card
from agent_gym_env.hf_hub.contents import contents_of
from agent_gym_env.policies.sb3_file import FORMAT, Header, Shape
from agent_gym_env.rollout.journal.reading import read_episodes, write_episodes
from agent_gym_env.storage.array_file import write_arrays
from tests.evaluation.episode_factory import episode, turn
from tests.hf_hub.hub_server import TOKEN, HubServer
from tests.training.small_run import SMALL

ROOT = Path(__file__).parents[2]


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer().running() as server:
        yield server


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("played") / "oracle"
    collect("oracle", folder, split="train", episodes=3, reward="balanced")
    return folder


def run(hub: HubServer, *arguments: object, token: str = TOKEN, code: int = 0) -> Any:
    """Run ``agent-gym hub`` against the server; its output as JSON, or its errors."""
    import huggingface_hub.constants as constants

    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "ENDPOINT", hub.url)
        template = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        patch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
        patch.setenv("HF_TOKEN", token)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            found = main(["hub", *map(str, arguments)])
    said = out.getvalue() + err.getvalue()
    assert found == code, said
    assert token not in said
    return json.loads(out.getvalue()) if "--json" in arguments else said


def test_the_library_finds_the_hub_by_its_own_variables(
    hub: HubServer, journal: Path, tmp_path: Path
) -> None:
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.url,
        "HF_TOKEN": TOKEN,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HOME": str(tmp_path),
    }
    command = [sys.executable, "-m", "agent_gym_env", "hub", "push", str(journal), "ada/by-name"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "only you can see it" in done.stdout
    assert TOKEN not in done.stdout + done.stderr
    assert "datasets/ada/by-name" in hub.repositories


def test_a_hub_that_cannot_be_reached_is_said_by_a_fresh_process(tmp_path: Path) -> None:
    environment = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "agent_gym_env", "hub", "pull", "ada/x", "--out"]
    done = subprocess.run(
        [*command, str(tmp_path / "pulled")],
        capture_output=True,
        text=True,
        env=environment,
        cwd=ROOT,
        timeout=120,
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("agent-gym: ada/x: http://127.0.0.1:9 "), done.stderr


def test_a_journal_comes_back_as_it_was_and_is_a_corpus(
    hub: HubServer, journal: Path, tmp_path: Path
) -> None:
    pushed = run(hub, "push", journal, "ada/oracle", "--json")
    assert (pushed["kind"], pushed["private"]) == ("episodes", True)
    repository = hub.repositories["datasets/ada/oracle"]
    assert repository.private
    assert set(repository.files) == {"manifest.json", "episodes-00000.jsonl", "README.md"}
    card = repository.files["README.md"].decode()
    assert "- rl-environment\n" in card
    assert "| oracle | train | balanced | 3 | 1.000 |" in card
    pulled = run(hub, "pull", "ada/oracle", "--out", tmp_path / "back", "--json")
    assert pulled["revision"] == pushed["revision"]
    assert list(read_episodes(pulled["path"])) == list(read_episodes(journal))
    corpus = open_corpus({"name": "episodes", "path": pulled["path"]})
    assert len(corpus.split("train")) == 3
    assert main(["report", pulled["path"], "--out", str(tmp_path / "report.html")]) == 0
    rows = ["export", pulled["path"], "--format", "sft", "--out", str(tmp_path / "rows.jsonl")]
    assert main(rows) == 0


def test_a_table_goes_through_lfs_and_is_compared_with_its_record(
    hub: HubServer, journal: Path, tmp_path: Path
) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed: extra data")
    table = tmp_path / "t.parquet"
    assert main(["export", str(journal), "--format", "parquet", "--out", str(table)]) == 0
    run(hub, "push", table, "ada/table", "--json")
    assert len(hub.stored) == 1
    card = hub.repositories["datasets/ada/table"].files["README.md"].decode()
    assert "agent-gym export out/table/episodes.parquet --format sft" in card
    pulled = run(hub, "pull", "ada/table", "--out", tmp_path / "back", "--json")
    assert Path(pulled["path"]).read_bytes() == table.read_bytes()
    hub.stated["episodes.parquet"] = "0" * 64
    said = run(hub, "pull", "ada/table", "--out", tmp_path / "changed", code=4)
    assert "SHA-256" in said
    assert not (tmp_path / "changed").exists()


def saved_policy(folder: Path) -> Path:
    path = folder / "policy.npz"
    folder.mkdir(parents=True, exist_ok=True)
    write_arrays(path, Header(FORMAT, "ppo", Shape()), {"w": np.zeros((2, 2), np.float32)})
    return path


def test_a_policy_is_pushed_with_its_settings_and_without_what_may_run_code(
    hub: HubServer, tmp_path: Path
) -> None:
    out = tmp_path / "ppo"
    policy = saved_policy(out)
    settings = {"seed": 3, "world": {"reward": {"api_key": "sk-1234567890abcdefgh"}}}
    (out / "config.json").write_text(json.dumps(settings))
    (out / "model.zip").write_bytes(b"pickled")
    pushed = run(hub, "push", out, "ada/ppo", "--public", "--license", "mit", "--json")
    assert (pushed["kind"], pushed["private"]) == ("policy", False)
    repository = hub.repositories["models/ada/ppo"]
    assert set(repository.files) == {"policy.npz", "config.json", "README.md"}
    card = repository.files["README.md"].decode()
    assert "license: mit" in card
    assert '"seed": 3' in card
    assert "sk-1234" not in card
    repository.commit({"evil.py": b"raise SystemExit", "weights.bin": b"\x80\x04", ".x": b""})
    pulled = run(hub, "pull", "ada/ppo", "--out", tmp_path / "back", "--json")
    assert pulled["left_out"] == [".x", "evil.py", "weights.bin"]
    assert Path(pulled["path"]).read_bytes() == policy.read_bytes()
    assert pulled["policy"] == "sb3"
    names = {each.name for each in (tmp_path / "back").iterdir()}
    assert names == {"policy.npz", "config.json", "README.md"}
    first = run(hub, "pull", "ada/ppo", "--out", tmp_path / "old", "--revision",
                pushed["revision"], "--json")  # fmt: skip
    assert first["left_out"] == []


def test_a_trained_policy_plays_and_its_run_goes_on_after_the_way_there_and_back(
    hub: HubServer, tmp_path: Path
) -> None:
    pytest.importorskip("sb3_contrib", reason="the extra sb3 is not installed")
    out, back = tmp_path / "ppo", tmp_path / "back"
    config = json.dumps({**SMALL, "total_timesteps": 64})
    assert main(["train", "ppo", "--out", str(out), "--config", config]) == 0
    run(hub, "push", out, "ada/trained", "--json")
    pulled = run(hub, "pull", "ada/trained", "--out", back, "--json")
    policy = json.dumps({"name": pulled["policy"], "path": pulled["path"]})
    assert main(["evaluate", "--policy", policy, "--episodes", "2"]) == 0
    assert main(["train", "ppo", "--out", str(back), "--config", config, "--resume"]) == 0
    assert (back / "policy.npz").read_bytes() == (out / "policy.npz").read_bytes()


def test_personal_data_is_a_warning_and_nothing_public(
    hub: HubServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "mine.jsonl"
    list(write_episodes(path, [episode(turn(user="I am ada@example.org, 4111 1111 1111 1111"))]))
    run(hub, "push", path, "ada/mine")
    (record,) = caplog.records
    assert "looks like personal data (email: 2, card_number: 2)" in record.getMessage()
    assert "email: 2" in hub.repositories["datasets/ada/mine"].files["README.md"].decode()
    public = ["push", path, "ada/open", "--public", "--license", "mit"]
    assert "--allow-personal-data" in run(hub, *public, code=2)
    assert "datasets/ada/open" not in hub.repositories
    run(hub, *public, "--allow-personal-data")
    said = run(hub, "push", path, "ada/open", code=1)
    assert "ada/open is public" in said
    assert len(hub.repositories["datasets/ada/open"].commits) == 2


@pytest.mark.parametrize(
    ("arguments", "code", "problem"),
    [
        (("pull", "ada/none", "--out", "x"), 4, "Repository"),
        (("push", "here", "ada/x", "--public"), 2, "needs the licence"),
        (("push", "nothing-here", "ada/x"), 4, "found nothing"),
    ],
)
def test_what_cannot_be_done_is_said(
    hub: HubServer, tmp_path: Path, arguments: tuple[str, ...], code: int, problem: str
) -> None:
    assert problem in run(hub, *arguments, code=code)


def test_a_wrong_token_is_not_shown(hub: HubServer, journal: Path) -> None:
    run(hub, "push", journal, "ada/x", token="hf_wrongtokenabcdefghijklm", code=4)
    assert not hub.repositories


def test_a_name_that_leads_out_of_the_folder_is_refused(hub: HubServer, tmp_path: Path) -> None:
    run(hub, "push", saved_policy(tmp_path / "p"), "ada/p")
    hub.repositories["models/ada/p"].commit({"../../escaped.json": b"{}"})
    assert "forbidden name" in run(hub, "pull", "ada/p", "--out", tmp_path / "in" / "out", code=4)
    assert not (tmp_path / "escaped.json").exists()


def test_contents_are_told_by_what_lies_there(journal: Path, tmp_path: Path) -> None:
    model = tmp_path / "sft" / "model"
    model.mkdir(parents=True)
    (model / "config.json").write_text('{"model_type": "llama"}')
    (model / "model.safetensors").write_bytes(b"")
    (model / "training_args.bin").write_bytes(b"pickled")
    program = tmp_path / "agent.json"
    program.write_text("{}")
    found = contents_of(tmp_path / "sft")
    assert (found.kind, set(found.files)) == ("model", {"config.json", "model.safetensors"})
    assert contents_of(program).policy == "dspy"
    assert contents_of(saved_policy(tmp_path / "ppo").parent).policy == "sb3"
    assert contents_of(journal).kind == "episodes"


def test_hostile_names_stay_in_their_cells(tmp_path: Path) -> None:
    from agent_gym_env.evaluation.evaluate import summarize

    path = tmp_path / "e.jsonl"
    hostile = episode(turn(), policy="a|b\n# <script>`x`")
    list(write_episodes(path, [hostile]))
    card = make_card(contents_of(path), "ada/x", evaluations=[summarize([hostile])])
    assert r"| a\|b # \<script\>\`x\` |" in card
    metadata = msgspec.yaml.decode(card.split("---")[1])
    assert metadata["tags"][0] == "rl-environment"
