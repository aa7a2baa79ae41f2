"""With the core alone every module, command and example works, or names the line that helps."""

from __future__ import annotations

import json
import os
import pkgutil
import subprocess
import sys
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

import msgspec
import pytest

import agent_gym_env
from agent_gym_env.extras import pip_line
from tests.synthesis.bakery import ENTITIES, SERVICES

ROOT = Path(__file__).parents[1]
PLAYED = "played/oracle.jsonl"


def policy(name: str, **options: Any) -> list[str]:
    return ["evaluate", "--episodes", "1", "--policy", json.dumps({"name": name, **options})]


def judge(**model: Any) -> list[str]:
    config = json.dumps({"name": "llm_judge", "model": {"model": "m", **model}})
    return ["agreement", "--episodes", "1", "--judge", config]


LOCAL = {"client": "local", "model": "m", "api_base": "http://127.0.0.1:9/v1"}
BRANCHES = ["rollout", "--episodes", "2", "--branches", "1", "--policy", "oracle"]
BRANCHES += ["--policy", "silent", "--out", "branches"]
RAY = ["rollout", "--episodes", "1", "--policy", "oracle", "--runner", "ray", "--out", "by-ray"]

COMMANDS: dict[str, tuple[list[str], str | None]] = {
    # The first ones leave what those after them read.
    "evaluate": (["evaluate", "--episodes", "2", "--policy", "oracle", "--out", "played"], None),
    "rollout": (["rollout", "--episodes", "2", "--policy", "oracle", "--out", "runs"], None),
    "benchmark run": (
        ["benchmark", "run", "sgd-sample", "--policy", "oracle", "--out", "bench/oracle"],
        None,
    ),
    "benchmark check": (["benchmark", "check", "bench/oracle/result.json"], None),
    "benchmark table": (["benchmark", "table", "bench"], None),
    "export sft": (["export", "runs", "--format", "sft", "--out", "sft.jsonl"], None),
    "export grpo": (["export", "runs", "--format", "grpo", "--out", "grpo.jsonl"], None),
    "rollout branches": (BRANCHES, None),
    "export dpo": (["export", "branches", "--format", "dpo", "--out", "dpo.jsonl"], None),
    "export kto": (["export", "branches", "--format", "kto", "--out", "kto.jsonl"], None),
    "export atif": (["export", "runs", "--format", "atif", "--out", "atif.jsonl"], None),
    "export otel": (["export", "runs", "--format", "otel", "--out", "otel.jsonl"], None),
    "export parquet": (["export", "runs", "--format", "parquet", "--out", "t.parquet"], "data"),
    "export minari": (["export", "runs", "--format", "minari", "--out", "minari"], "data"),
    "export of parquet": (["export", "a.parquet", "--format", "sft", "--out", "b.jsonl"], "data"),
    "rollout ray": (RAY, "ray"),
    "play": (["play"], None),
    "play llm": (["play", "--policy", "llm"], "llm"),
    "demo": (["demo", "--episodes", "1", "--out", "demo"], None),
    "compare": (["compare", PLAYED, PLAYED], None),
    "rescore": (["rescore", PLAYED, "--reward", "ground_truth", "--out", "b.jsonl"], None),
    "rescore llm": (["rescore", PLAYED, "--reward", "llm_judge", "--out", "c.jsonl"], "llm"),
    "report": (["report", PLAYED], None),
    "verify": (["verify", "--split", "dev"], None),
    "audit": (["audit", "--episodes", "1"], None),
    "audit llm": (["audit", "--episodes", "1", "--reward", "hybrid"], "llm"),
    "agreement": (["agreement", "--episodes", "1", "--judge", "ground_truth"], None),
    "agreement llm": (judge(), "llm"),
    "agreement local": (judge(**LOCAL), "local"),
    "agreement google-genai": (judge(client="google-genai"), "gemini"),
    "evaluate retrieval": (policy("retrieval"), None),
    "evaluate uniform": (policy("uniform"), None),
    "evaluate best-candidate": (policy("best-candidate"), None),
    "evaluate llm": (policy("llm"), "llm"),
    "evaluate llm, local": (policy("llm", **LOCAL), "local"),
    "evaluate llm, google-genai": (policy("llm", client="google-genai"), "gemini"),
    "evaluate llm, google-generativeai": (
        policy("llm", client="google-generativeai"),
        "google-generativeai",
    ),
    "evaluate dspy": (policy("dspy"), "dspy"),
    "evaluate sb3": (policy("sb3", path="ppo.npz"), "sb3"),
    "evaluate transformers": (policy("transformers", path="model"), "train"),
    "optimize": (["optimize"], "dspy"),
    "hub push": (["hub", "push", "runs", "ada/runs"], "hub"),
    "hub pull": (["hub", "pull", "ada/runs", "--out", "pulled"], "hub"),
    "train ppo": (["train", "ppo"], "sb3"),
    "train ppo --help": (["train", "ppo", "--help"], None),
    "train sft --help": (["train", "sft", "--help"], None),
    "train dpo --help": (["train", "dpo", "--help"], None),
    "train kto --help": (["train", "kto", "--help"], None),
    "train grpo --help": (["train", "grpo", "--help"], None),
    "train sft": (["train", "sft", "sft.jsonl", "--model", "tiny"], "train"),
    "train dpo": (["train", "dpo", "dpo.jsonl", "--model", "model"], "train"),
    "train grpo": (["train", "grpo", "grpo.jsonl", "--model", "model"], "train"),
    "serve-policy": (["serve-policy", "model"], "serve"),
    "view": (["view", "."], "serve"),
    "synthesize": (
        ["synthesize", "--schema", "schema.json", "--entities", "entities.json", "--out", "own"],
        None,
    ),
    "data info": (["data", "info"], None),
    "data build": (["data", "build", "--split", "dev"], None),
    "data verify": (["data", "verify", "--split", "dev"], None),
}
"""Command lines, and the extra that each lacks; ``None`` where the core is enough."""

EXAMPLES: dict[str, str | None] = {
    "branch_from_a_state": None,
    "distil_into_a_small_model": "train",
    "evaluate_your_policy": None,
    "many_dialogues_at_once": None,
    "minari_dataset": "data",
    "play_an_episode": None,
    "play_with_a_language_model": None,
    "play_your_own_logs": None,
    "ppo_in_one_file": "sb3",
    "reward_of_your_own": None,
    "train_with_rllib": "rllib",
    "train_with_sb3": "sb3",
    "train_with_trl": "train",
    "train_with_tianshou": "tianshou",  # no extra of ours: it says `pip install tianshou`
}

MODULES = [each.name for each in pkgutil.walk_packages(agent_gym_env.__path__, "agent_gym_env.")]

Found = dict[str, Any]


def run_cases(cases: list[dict[str, Any]], folder: Path) -> list[Found]:
    """Run cases one after another in one interpreter that sees the core alone."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for name in ("GOOGLE_API_KEY", "GEMINI_API_KEY"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests/core_only.py")],
        cwd=folder,
        env=environment,
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[Found] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Found]:
    folder = tmp_path_factory.mktemp("commands")
    (folder / "a.parquet").touch()
    (folder / "schema.json").write_bytes(msgspec.json.encode(SERVICES))
    (folder / "entities.json").write_bytes(msgspec.json.encode({"services": ENTITIES}))
    found = run_cases([{"command": line} for line, _ in COMMANDS.values()], folder)
    return dict(zip(COMMANDS, found, strict=True))


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Found]:
    cases = [{"example": str(ROOT / f"examples/{name}.py")} for name in EXAMPLES]
    found = run_cases(cases, tmp_path_factory.mktemp("examples"))
    return dict(zip(EXAMPLES, found, strict=True))


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Found]:
    found = run_cases([{"module": name} for name in MODULES], tmp_path_factory.mktemp("modules"))
    return dict(zip(MODULES, found, strict=True))


def check(found: Found, extra: str | None, line: str) -> None:
    assert "Traceback" not in found["err"], found["err"]
    if extra is None:
        assert found["code"] == 0, found["err"]
        assert "not installed" not in found["err"]
    else:
        assert found["code"] == 1
        assert "is not installed. It comes with" in found["err"]
        assert found["err"].endswith(f"{line}\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_works_with_the_core_or_names_its_pip_line(
    name: str, commands: dict[str, Found]
) -> None:
    extra = COMMANDS[name][1]
    check(commands[name], extra, pip_line(extra or ""))


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_works_with_the_core_or_names_its_pip_line(
    name: str, examples: dict[str, Found]
) -> None:
    extra = EXAMPLES[name]
    line = "pip install tianshou" if extra == "tianshou" else pip_line(extra or "")
    check(examples[name], extra, line)


def test_every_example_is_in_the_table() -> None:
    assert sorted(EXAMPLES) == sorted(path.stem for path in (ROOT / "examples").glob("*.py"))


def test_a_module_is_imported_with_the_core_or_names_its_pip_line(
    modules: dict[str, Found],
) -> None:
    for name, found in modules.items():
        last = found["err"].strip().rpartition("\n")[2]
        assert found["code"] == 0 or last.startswith("agent_gym_env.errors.MissingDependency:"), (
            f"{name}: {found['err']}"
        )


def test_an_extra_is_asked_for_by_a_name_that_there_is() -> None:
    known = set(metadata("agent-gym-env").get_all("Provides-Extra") or ())
    asked = {extra for _, extra in COMMANDS.values()} | set(EXAMPLES.values())
    assert asked - {None, "tianshou"} <= known
