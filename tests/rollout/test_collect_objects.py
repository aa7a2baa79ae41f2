"""Collecting with objects in place of names, and with names that this process has registered."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agent_gym_env import (
    Action,
    Score,
    collect,
    make_policy,
    read_episodes,
    register_client,
    register_policy,
    register_reward,
    register_tool_backend,
    registry,
)
from agent_gym_env.corpus.sgd_reader import SGDReader, open_source
from agent_gym_env.errors import AgentGymError, ResumeMismatchError
from agent_gym_env.lm.scripted import ScriptedLM
from agent_gym_env.rollout.journal.reading import read_branches
from agent_gym_env.rollout.runners import ProcessRunner, SerialRunner
from agent_gym_env.tools.replay import ReplayBackend

HERE = __name__


class Polite:
    """Policy that always gives the same reply, and counts the requests."""

    name = "polite"

    def __init__(self, words: str = "Certainly.") -> None:
        self.words = words
        self.asked: list[str] = []
        self.threads: set[int] = set()

    def reset(self, *, seed: int | None = None) -> None:
        """Begin an episode."""

    def act(self, observation: Mapping[str, str]) -> Action:
        self.asked.append(observation["user"])
        self.threads.add(threading.get_ident())
        return Action(self.words)


class Rude(Polite):
    """Has the name of `Polite`, and another class."""


class Locked(Polite):
    """Cannot be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


class Half:
    """Scores every turn with 0.5."""

    name = "half"
    parts = ("half",)

    def score(self, turn: Any) -> Score:
        return Score(0.5, {"half": 0.5})


class Teas(SGDReader):
    """Reads a corpus in SGD's format."""

    def __init__(self, path: Path) -> None:
        super().__init__(open_source(path))


@pytest.fixture(autouse=True)
def clean_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = (registry.POLICIES, registry.REWARDS, registry.CLIENTS, registry.TOOL_BACKENDS)
    for known in kinds:
        monkeypatch.setattr(known, "registered", {})


@pytest.fixture
def world(tiny_corpus: Path) -> dict[str, Any]:
    return {"corpus": str(tiny_corpus), "reward": "balanced"}


def test_a_policy_object_plays(tmp_path: Path, world: dict[str, Any]) -> None:
    policy = Polite("As you wish.")
    result = collect(policy, tmp_path, **world)
    episodes = list(read_episodes(tmp_path))
    turns = [turn for episode in episodes for turn in episode.turns]
    assert (result.done, {each.policy for each in episodes}) == (3, {"polite"})
    assert {step.action.text for turn in turns for step in turn.steps} == {"As you wish."}
    assert policy.asked == [turn.user for turn in turns]


def test_a_reward_object_scores(tmp_path: Path, world: dict[str, Any]) -> None:
    collect("oracle", tmp_path, **world | {"reward": Half()})
    episodes = list(read_episodes(tmp_path))
    assert {each.reward for each in episodes} == {"half"}
    assert {turn.reward for each in episodes for turn in each.turns} == {0.5}


def test_a_reader_object_is_the_corpus(
    tmp_path: Path, world: dict[str, Any], tiny_corpus: Path
) -> None:
    collect("oracle", tmp_path / "object", **world | {"corpus": Teas(tiny_corpus)})
    collect("oracle", tmp_path / "path", **world)
    played = [each.turns for each in read_episodes(tmp_path / "object")]
    assert played == [each.turns for each in read_episodes(tmp_path / "path")]


def test_policy_objects_branch(tmp_path: Path, world: dict[str, Any]) -> None:
    collect([Polite(), "oracle"], tmp_path, branches=1, path=Polite(), episodes=1, **world)
    points = list(read_branches(tmp_path))
    assert points
    assert {tuple(each.policy for each in point.branches) for point in points} == {
        ("polite", "oracle")
    }


@pytest.mark.parametrize("runner", ["processes", "ray", ProcessRunner(1)])
@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"policy": Polite()}, f"{HERE}:Polite"),
        ({"path": Polite(), "branches": 1}, f"{HERE}:Polite"),
        ({"reward": Half()}, f"{HERE}:Half"),
        ({"corpus": Teas}, f"{HERE}:Teas"),
    ],
)
def test_an_object_is_not_sent_to_other_processes(
    tmp_path: Path,
    world: dict[str, Any],
    tiny_corpus: Path,
    runner: Any,
    changed: dict[str, Any],
    name: str,
) -> None:
    if changed.get("corpus") is Teas:
        changed = {"corpus": Teas(tiny_corpus)}
    arguments: dict[str, Any] = {"policy": "oracle", **world, **changed}
    with pytest.raises(ValueError, match="other processes, which cannot share an object") as error:
        collect(out=tmp_path / "out", runner=runner, **arguments)
    assert f"Name its class, so that each can make its own: '{name}'" in str(error.value)
    assert f'{{"name": "{name}", …options}}' in str(error.value)
    assert not (tmp_path / "out").exists()


def test_the_class_of_a_function_is_not_shown_as_a_name(
    tmp_path: Path, world: dict[str, Any]
) -> None:
    class Inner(Polite):
        pass

    with pytest.raises(ValueError, match="Define its class at the top of a module"):
        collect(Inner(), tmp_path, runner="processes", **world)


def test_the_name_that_the_message_shows_plays_in_other_processes(
    tmp_path: Path, world: dict[str, Any]
) -> None:
    policy = {"name": f"{HERE}:Polite", "words": "Yes."}
    named = world | {"reward": f"{HERE}:Half"}
    assert collect(policy, tmp_path, runner="processes", workers=1, **named).done == 3
    steps = [step for each in read_episodes(tmp_path) for turn in each.turns for step in turn.steps]
    assert {step.action.text for step in steps} == {"Yes."}


def test_each_thread_plays_a_copy_of_its_own(
    tmp_path: Path, world: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []

    def note(policy: Any, env: Any) -> Any:
        made.append(make_policy(policy, env))
        return made[-1]

    monkeypatch.setattr("agent_gym_env.assembly.make_policy", note)
    given = Polite()
    collect(given, tmp_path, episodes=12, runner="threads", workers=3, **world)
    policies = [each for each in made if isinstance(each, Polite)]
    assert len({id(each) for each in policies}) == 3
    assert any(each is given for each in policies)
    assert len({id(each.asked) for each in policies}) == 3
    assert all(len(each.threads) <= 1 for each in policies)
    turns = [turn for each in read_episodes(tmp_path) for turn in each.turns]
    assert sorted(user for each in policies for user in each.asked) == sorted(
        turn.user for turn in turns
    )


def test_a_policy_that_cannot_be_copied_plays_in_one_thread_only(
    tmp_path: Path, world: dict[str, Any]
) -> None:
    assert collect(Locked(), tmp_path / "one", **world).done == 3
    with pytest.raises(AgentGymError, match=f"'polite' cannot be copied.*'{HERE}:Locked'"):
        collect(Locked(), tmp_path / "two", runner="threads", **world)


def test_a_folder_begun_with_an_object_goes_on_with_its_class_only(
    tmp_path: Path, world: dict[str, Any]
) -> None:
    def stop(progress: Any) -> None:
        if progress.played == 2:
            raise KeyboardInterrupt

    go_on: Any = partial(collect, out=tmp_path, episodes=6, **world)
    with pytest.raises(KeyboardInterrupt):
        go_on(Polite(), on_progress=stop)
    with pytest.raises(ResumeMismatchError, match=rf"{HERE}:Polite.*{HERE}:Rude"):
        go_on(Rude())
    with pytest.raises(ResumeMismatchError, match=rf"{HERE}:Polite"):
        go_on("oracle")
    with pytest.raises(ResumeMismatchError, match=rf"{HERE}:Half"):
        go_on(Polite(), reward=Half())
    assert go_on(Polite(), runner="threads").played == 4
    assert len(list(read_episodes(tmp_path))) == 6


def test_a_class_in_place_of_an_object_is_refused(tmp_path: Path, world: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="must be an object, not the class Polite"):
        collect(Polite, tmp_path, **world)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="the class Half"):
        collect("oracle", tmp_path, **world | {"reward": Half})


def scripted_client() -> ScriptedLM:
    """Create a judge whose verdicts are not valid."""
    return ScriptedLM(lambda request: "I would rather not say.")


@pytest.mark.parametrize("runner", ["processes", "ray"])
def test_names_inside_a_configuration_reach_other_processes(
    tmp_path: Path, world: dict[str, Any], runner: str
) -> None:
    if runner == "ray":
        pytest.importorskip("ray", reason="needs the extra ray")
    register_policy("polite", Polite)
    register_reward("half", Half)
    register_client("shy", scripted_client)
    register_tool_backend("again", ReplayBackend)
    judged = {"name": "hybrid", "first": "half", "client": "shy", "model": "m"}
    named = world | {"reward": judged, "tool_backend": "again"}
    collect("polite", tmp_path / "here", **named)
    collect("polite", tmp_path / "there", runner=runner, workers=1, **named)
    rewards = [
        {each.dialogue_id: [turn.reward for turn in each.turns] for each in read_episodes(folder)}
        for folder in (tmp_path / "here", tmp_path / "there")
    ]
    assert rewards[0] == rewards[1]
    assert {each[0] for each in rewards[0].values()} == {0.5}


@pytest.mark.parametrize(
    "reward",
    [
        {"name": "hybrid", "first": "mine", "model": "m", "client": "c"},
        {"name": "llm_judge", "model": {"model": "m", "client": "mine"}},
    ],
)
def test_a_factory_inside_a_configuration_that_cannot_be_imported_is_refused(
    tmp_path: Path, world: dict[str, Any], reward: dict[str, Any]
) -> None:
    register_reward("mine", lambda: Half())
    register_client("c", scripted_client)
    register_client("mine", lambda: scripted_client())
    with pytest.raises(ValueError, match=r"cannot import the factory of the \w+ 'mine'"):
        collect("oracle", tmp_path, runner="processes", **world | {"reward": reward})


def test_a_runner_of_ones_own_that_stays_here_takes_objects(
    tmp_path: Path, world: dict[str, Any]
) -> None:
    assert collect(Polite(), tmp_path, runner=SerialRunner(), **world).done == 3
