"""Names: those of the package, registered ones, importable ones, and those of plug-ins."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from agent_gym_env import Episode, ToolCall, ToolResult, play_episodes, registry, write_episodes
from agent_gym_env.assembly import make_env, make_policy
from agent_gym_env.cli.main import main
from agent_gym_env.corpus.task import Task
from agent_gym_env.errors import AgentGymError, MissingDependency
from agent_gym_env.export import Tally
from agent_gym_env.policies.constant import ConstantPolicy
from agent_gym_env.registry import Registry
from agent_gym_env.tools.validation import ToolCatalogue

REGISTRIES = [each for each in vars(registry).values() if isinstance(each, Registry)]

MODULE = """
from agent_gym_env import ConstantPolicy

NUMBER = 7

class Polite(ConstantPolicy):
    name = "polite"
    def __init__(self, word: str = "please"):
        super().__init__(word)

class Outer:
    Inner = Polite
"""


def brew(*, sugar: int = 0) -> int:
    return sugar


@pytest.fixture
def pots() -> Registry:
    return Registry("pot", {"plain": "tests.test_registry:brew"})


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> list[EntryPoint]:
    """Entry points as installed distributions declare them."""
    declared: list[EntryPoint] = []
    monkeypatch.setattr(registry, "_plugins_loaded", False)
    monkeypatch.setattr(registry, "_broken_plugins", {})
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: declared)
    return declared


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A current folder that Python does not search, with a module in it."""
    (tmp_path / "manners.py").write_text(MODULE)
    (tmp_path / "broken.py").write_text("import no_such_library\n")
    (tmp_path / "raising.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each not in ("", ".")])
    yield tmp_path
    for name in ("manners", "broken", "raising"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("known", REGISTRIES, ids=lambda each: each.kind)
def test_every_name_of_the_package_is_found(known: Registry) -> None:
    for name in known.names():
        try:
            found = known.find(name)
        except MissingDependency:
            continue
        assert callable(found) or known.kind == "trainer"


def test_a_registered_name_is_found(pots: Registry) -> None:
    pots.register("sweet", brew)
    assert pots.names() == ("plain", "sweet")
    assert pots.find("sweet") is brew
    pots.register("sweet", brew)  # the same again


@pytest.mark.parametrize("name", ["plain", "sweet"])
def test_a_name_is_taken_once(pots: Registry, name: str) -> None:
    pots.register("sweet", brew)
    with pytest.raises(ValueError, match=f"there is already a pot '{name}'"):
        pots.register(name, lambda: 1)


@pytest.mark.parametrize("name", ["", "tests.pots:Pot", 7])
def test_a_name_with_a_colon_is_not_registered(pots: Registry, name: Any) -> None:
    with pytest.raises(ValueError, match="registered under a name without ':'"):
        pots.register(name, brew)


def test_a_factory_can_be_called(pots: Registry) -> None:
    with pytest.raises(TypeError, match="must be a function or class, not int"):
        pots.register("seven", 7)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["sweat", 7, None])
def test_an_unknown_name_is_told_with_the_known_ones(
    pots: Registry, plugins: list[EntryPoint], name: Any
) -> None:
    pots.register("sweet", brew)
    with pytest.raises(ValueError, match="pot must be one of plain, sweet, not") as error:
        pots.find(name)
    assert "one of your own is named 'package.module:Name'" in str(error.value)


def test_a_class_in_the_current_folder_is_found_by_its_module_and_name(folder: Path) -> None:
    env = make_env(split="dev")
    policy = make_policy({"name": "manners:Polite", "word": "thanks"}, env)
    assert policy.name == "thanks" or policy.name == "constant"
    assert isinstance(policy, ConstantPolicy)
    assert policy.text == "thanks"
    assert type(make_policy("manners:Outer.Inner", env)) is type(policy)


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("no_such_module:Polite", ValueError, "there is no module 'no_such_module', neither"),
        ("manners:Polit", ValueError, "manners has no 'Polit' (did you mean 'Polite'?)"),
        ("manners:NUMBER", ValueError, "must be a function or class, not an object of the type"),
        ("broken:Polite", AgentGymError, "cannot be imported: No module named 'no_such_library'"),
        ("raising:Polite", AgentGymError, "cannot be imported: ZeroDivisionError"),
    ],
)
def test_a_name_that_cannot_be_imported_is_explained(
    folder: Path, name: str, kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match=re.escape(said)):
        make_policy(name, make_env(split="dev"))


def test_the_current_folder_is_searched_after_all_that_is_installed(folder: Path) -> None:
    (folder / "json.py").write_text("raise SystemExit('a file of a folder was run')")
    with pytest.raises(ValueError, match="json has no 'Polite'"):
        make_policy("json:Polite", make_env(split="dev"))


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"name": "manners:Polite", "wrod": "x"}, "'wrod' (did you mean 'word'?)"),
        ({"name": "manners:Polite", "word": 5}, "word: expected a string, found a whole number"),
    ],
)
def test_options_of_a_class_are_checked_as_those_of_the_package(
    folder: Path, config: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        make_policy(config, make_env(split="dev"))


def test_a_required_option_is_named() -> None:
    pots = Registry("pot", {})
    pots.register("big", lambda size: size)
    with pytest.raises(ValueError, match="pot 'big' needs the option 'size'"):
        pots.make("big", {}, {})
    assert pots.make("big", {"size": 3}, {}) == 3


def test_parameters_are_filled_by_their_names() -> None:
    pots = Registry("pot", {})
    pots.register("both", lambda env, date="never", **more: (env, date, more))
    context = {"env": "world", "date": "today", "corpus": "unused"}
    assert pots.make("both", {}, context) == ("world", "today", {})
    assert pots.make("both", {"date": "then", "x": 1}, context) == ("world", "then", {"x": 1})


def test_a_factory_that_makes_something_else_is_refused() -> None:
    with pytest.raises(TypeError, match=r"an object with `name`, reset.* and act.*, not int"):
        make_policy("tests.test_registry:brew", make_env(split="dev"))


def test_plugins_are_loaded_once_and_only_for_names_that_are_not_known(
    pots: Registry, plugins: list[EntryPoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def load() -> None:
        calls.append(1)
        pots.register("sweet", brew)

    monkeypatch.setattr(sys.modules[__name__], "load_plugin", load, raising=False)
    plugins.append(EntryPoint("sweets", "tests.test_registry:load_plugin", registry.PLUGINS))
    pots.find("plain")
    assert not calls
    assert pots.find("sweet") is brew
    with pytest.raises(ValueError, match="pot must be one of plain, sweet"):
        pots.find("sour")
    assert calls == [1]


def test_a_broken_plugin_is_named_and_stops_no_other(
    pots: Registry, plugins: list[EntryPoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = sys.modules[__name__]
    monkeypatch.setattr(module, "load_plugin", lambda: pots.register("sweet", brew), raising=False)
    plugins.append(EntryPoint("bad", "no_such_module:load", registry.PLUGINS))
    plugins.append(EntryPoint("good", "tests.test_registry:load_plugin", registry.PLUGINS))
    assert pots.find("sweet") is brew
    with pytest.raises(ValueError, match="the plug-in 'bad' failed: ModuleNotFoundError"):
        pots.find("sour")


class Refusing:
    """A tool backend that refuses each call.

    Args:
        catalogue: tools of the dialogue.
        reason: why it refuses.
    """

    def __init__(self, catalogue: ToolCatalogue, *, reason: str = "closed") -> None:
        self._reason = reason

    def reset(self, task: Task) -> None:
        """Begin a dialogue."""

    def next_turn(self) -> None:
        """Move on to the next turn."""

    def full_name(self, name: str) -> str:
        return name

    def execute(self, call: ToolCall) -> ToolResult:
        return ToolResult(call.name, "error", error=f"closed: {self._reason}")


def test_a_tool_backend_is_chosen_by_its_name() -> None:
    config = {"name": "tests.test_registry:Refusing", "reason": "holiday"}
    env: Any = gym.make("agent_gym_env:SGD-v0", tool_backend=config)
    env.reset(seed=0)
    observation, *_ = env.step({"text": "", "tool_calls": '[{"name": "x", "arguments": {}}]'})
    assert "closed: holiday" in observation["tool_result"]
    state = env.unwrapped.get_state()
    env.unwrapped.set_state(state)
    with pytest.raises(ValueError, match="not 'replya'"):
        gym.make("agent_gym_env:SGD-v0", tool_backend="replya")


def test_an_export_of_your_own_gets_the_episodes(tmp_path: Path) -> None:
    episodes = play_episodes("oracle", split="dev", episodes=2)
    list(write_episodes(tmp_path / "played.jsonl", episodes))
    command = ["export", str(tmp_path / "played.jsonl"), "--format", f"{__name__}:write_ids"]
    assert main([*command, "--out", str(tmp_path / "ids.txt")]) == 0
    assert len((tmp_path / "ids.txt").read_text().splitlines()) == 2


def write_ids(episodes: Iterator[Episode], out: Path, tally: Tally) -> None:
    for episode in episodes:
        with out.open("a") as file:
            print(episode.dialogue_id, file=file)
        tally.written += 1
