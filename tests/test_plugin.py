"""A stranger's policy, reward and corpus, in an installed package, are used by name."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import msgspec
import pytest

from agent_gym_env import (
    collect,
    make_env,
    make_policy,
    open_corpus,
    play_episodes,
    read_episodes,
    registry,
)
from agent_gym_env.export import Tally, prompts, write_rows
from agent_gym_env.testing import check_corpus, check_policy, check_reward

ROOT = Path(__file__).parents[1]
MODULE = "agent_gym_tea_shop"
WORLD: dict[str, Any] = {"corpus": "tea-shop", "split": "dev", "reward": "brevity"}
SPELLED: dict[str, Any] = {
    "corpus": {"name": f"{MODULE}:TeaShop", "dialogues": 5},
    "split": "dev",
    "reward": f"{MODULE}:Brevity",
}
"""The same without the names that the plug-in registers."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the example is installed in."""
    folder = tmp_path_factory.mktemp("plugin")
    copy = shutil.copytree(ROOT / "examples/plugin", folder / "source")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    command += ["--no-build-isolation", "--disable-pip-version-check"]
    subprocess.run([*command, "--target", str(folder / "site"), str(copy)], check=True)
    return folder / "site"


@pytest.fixture(autouse=True)
def plugin(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The installed package, as a new process sees it."""
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", f"{site}:{ROOT}")
    monkeypatch.setattr(registry, "_plugins_loaded", False)
    for known in (registry.POLICIES, registry.REWARDS, registry.CORPORA):
        monkeypatch.setattr(known, "registered", {})
    yield
    sys.modules.pop(MODULE, None)


def records(folder: Path) -> list[Any]:
    played = read_episodes(folder)
    return [msgspec.structs.replace(episode, duration_s=0.0) for episode in played]


def command(*words: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "agent_gym_env", *words],
        cwd=cwd, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("policy", "world"), [("echo", WORLD), ({"name": f"{MODULE}:Echo", "prefix": ""}, SPELLED)]
)
def test_it_is_used_by_name_from_python(policy: Any, world: dict[str, Any]) -> None:
    episodes = list(play_episodes(policy, **world))
    assert len(episodes) == (20 if world is WORLD else 5)
    assert {(each.policy, each.reward) for each in episodes} == {("echo", "brevity")}
    assert all(turn.reward is not None for each in episodes for turn in each.turns)


def test_an_environment_with_its_names_is_made_from_its_spec() -> None:
    env = gym.make("agent_gym_env:SGD-v0", **SPELLED)
    assert env.spec is not None
    again = gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json()))
    assert again.reset(seed=3)[0] == env.reset(seed=3)[0]


def test_it_is_used_by_name_from_the_command_line(tmp_path: Path) -> None:
    world = ("--corpus", "tea-shop", "--split", "dev", "--reward", "brevity", "--json")
    found = json.loads(command("evaluate", "--policy", "echo", *world, cwd=tmp_path))
    assert found["evaluations"][0]["setting"]["reward"] == "brevity"
    spelled = ("--corpus", f"{MODULE}:TeaShop", "--reward", f"{MODULE}:Brevity", "--json")
    again = command("evaluate", "--policy", f"{MODULE}:Echo", *spelled, cwd=tmp_path)
    assert json.loads(again)["evaluations"][0]["reward"] == found["evaluations"][0]["reward"]


def test_the_options_of_its_corpus_are_json_on_the_command_line(tmp_path: Path) -> None:
    few = json.dumps({"name": f"{MODULE}:TeaShop", "dialogues": 3})
    options = ("--corpus", few, "--split", "dev", "--policy", "oracle")
    evaluated = json.loads(command("evaluate", *options, "--json", cwd=tmp_path))
    assert evaluated["evaluations"][0]["counts"]["episodes"] == 3
    command("rollout", *options, "--out", "run", cwd=tmp_path)
    assert len(records(tmp_path / "run")) == 3
    assert json.loads(command("data", "info", "--corpus", few, "--json", cwd=tmp_path))


@pytest.mark.parametrize("runner", ["processes", "ray"])
@pytest.mark.parametrize(("policy", "world"), [("echo", WORLD), (f"{MODULE}:Echo", SPELLED)])
def test_it_is_collected_by_other_processes(
    tmp_path: Path, runner: str, policy: str, world: dict[str, Any]
) -> None:
    if runner == "ray":
        pytest.importorskip("ray", reason="needs the extra ray")
    collect(policy, tmp_path / "here", episodes=4, **world)
    collect(policy, tmp_path / "there", episodes=4, runner=runner, workers=1, **world)
    here, there = (records(tmp_path / each) for each in ("here", "there"))
    assert sorted(here, key=str) == sorted(there, key=str)
    assert len(here) == 4


def test_ppo_learns_from_its_reward_on_its_corpus(tmp_path: Path) -> None:
    pytest.importorskip("sb3_contrib", reason="needs the extra sb3")
    from agent_gym_env import train_ppo
    from tests.training.small_run import small

    settings = small(world={"env": {"corpus": "tea-shop"}, "reward": "brevity"})
    policy = train_ppo(settings, out=tmp_path)
    episodes = list(play_episodes(policy, **WORLD, episodes=2))
    assert {each.reward for each in episodes} == {"brevity"}


def test_grpo_learns_from_its_reward_on_its_corpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("trl", reason="needs the extra train")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets-cache")
    from agent_gym_env import GRPOConfig, TinyConfig, train_grpo
    from agent_gym_env.training.tiny import make_tiny
    from tests.training.first_turns import conversations

    rows = tmp_path / "rows.jsonl"
    episodes = list(play_episodes("oracle", **{**WORLD, "split": "train"}, episodes=4))
    tally = Tally()
    write_rows(rows, prompts(episodes, tally), tally)
    small = TinyConfig(
        vocabulary=500, width=32, layers=1, heads=2, context=512, result_characters=60, practice=0
    )
    make_tiny(tmp_path / "model", msgspec.to_builtins(conversations("train", 4)), small)
    settings = GRPOConfig(
        model=str(tmp_path / "model"),
        rows=(str(rows),),
        env={"corpus": "tea-shop"},
        reward="brevity",
        max_length=512,
        batch_size=8,
        gradient_accumulation=1,
        generations=4,
        max_new_tokens=6,
        max_steps=1,
        log_every=1,
    )
    train_grpo(settings, out=tmp_path / "out")
    report = msgspec.json.decode((tmp_path / "out/report.json").read_bytes())
    assert report["plays"] == 8


def test_its_parts_keep_the_promises() -> None:
    env = make_env(**WORLD)
    check_policy("echo", env)
    check_reward("brevity", env, oracle_scores_one=True)
    check_corpus("tea-shop")


def test_its_names_are_listed_in_an_error() -> None:
    with pytest.raises(ValueError, match=r"uniform.*, echo, not 'ecko' .did you mean 'echo'"):
        make_policy("ecko", make_env(split="dev"))


def test_a_corpus_with_options_is_another_corpus() -> None:
    few = open_corpus({"name": "tea-shop", "dialogues": 3}).split("dev")
    assert (len(few), len(open_corpus("tea-shop").split("dev"))) == (3, 20)
    with pytest.raises(ValueError, match="corpus 'tea-shop' has no option 'dialogs'"):
        open_corpus({"name": "tea-shop", "dialogs": 3})
