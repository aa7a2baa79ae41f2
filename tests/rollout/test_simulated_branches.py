"""Branches of simulated dialogues: each way to play a turn is played on to the dialogue's end."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent_gym_env.assembly import collect, make_env
from agent_gym_env.cli.main import main
from agent_gym_env.envs.sgd_sim import SGDSimEnv
from agent_gym_env.errors import TransientLMError
from agent_gym_env.export.preference_pairs import PairRule, preferences
from agent_gym_env.export.rows import Tally
from agent_gym_env.rollout.branching import BranchPoint
from agent_gym_env.rollout.collect import Progress
from agent_gym_env.rollout.journal.reading import read_branches
from agent_gym_env.types import Action, DialogueAct, Observation, ToolCall
from tests.rollout.collecting import records

HERE = "tests.rollout.test_simulated_branches"
SIMULATION: dict[str, Any] = {
    "env": "SGDSim-v0",
    "split": "train",
    "understanding": "acts",
    "user": {"name": "agenda", "miss": 0.2, "volunteer": 0.5},
    "noise": {"acts": 0.1},
}
BRANCHED: dict[str, Any] = {"episodes": 2, "branches": 2, "states": 4, "continuations": 2}


class Guesses:
    """Acts at random, by its seed and the conversation alone."""

    name = "guesses"

    def reset(self, *, seed: int | None = None) -> None:
        """Begin an episode."""
        self._seed = seed

    def act(self, observation: Observation) -> Action:
        """Ask, search, or say goodbye."""
        return self.act_batch([observation], seeds=[self._seed])[0]

    def act_batch(
        self, observations: Sequence[Observation], *, seeds: Sequence[int | None] | None = None
    ) -> list[Action]:
        """Answer each observation."""
        assert seeds is not None
        return [_guess(each, seed) for each, seed in zip(observations, seeds, strict=True)]


def _guess(observation: Observation, seed: int | None) -> Action:
    draws = random.Random(f"{seed} {observation['messages']}")
    tools = [each["function"]["name"] for each in msgspec.json.decode(observation["tools"])]
    kind = draws.randrange(12)
    if kind < 3:
        return Action(tool_calls=(ToolCall(draws.choice(tools), {}), ToolCall("Nobody-Knows", {})))
    if kind == 3:
        return Action("Goodbye!", acts=(DialogueAct("GOODBYE"),))
    slot = draws.choice(("city", "date", "price"))
    return Action(f"Which {slot}?", acts=(DialogueAct("REQUEST", slot),))


class Breaks(Guesses):
    """Fails at the third message of a dialogue and after it: as code does, or as a provider."""

    name = "breaks"

    def __init__(self, provider: bool = False) -> None:
        self._problem: Exception = TransientLMError("gone") if provider else IndexError("oh")

    def act_batch(
        self, observations: Sequence[Observation], *, seeds: Sequence[int | None] | None = None
    ) -> list[Action]:
        """Fail, or answer."""
        if any(observation["messages"].count('"role"') > 3 for observation in observations):
            raise self._problem
        return super().act_batch(observations, seeds=seeds)


def branched(folder: Path, policy: Any = f"{HERE}:Guesses", **options: Any) -> list[BranchPoint]:
    collect(policy, folder, **{**BRANCHED, **SIMULATION, **options})
    return list(read_branches(folder))


def played_again(point: BranchPoint, number: int) -> list[float]:
    """Return what the branches of a point earn when they are played without the module."""
    policy = Guesses()
    made: Any = make_env(**SIMULATION)
    env: SGDSimEnv = made.unwrapped
    earned = []
    for branch in point.branches:
        observation, _ = env.reset(seed=point.seed, options={"dialogue_id": point.dialogue_id})
        policy.reset(seed=point.seed)
        while observation["messages"] != point.messages:
            observation, *_ = env.step(policy.act(observation))
        state = env.get_state()
        observation, _ = env.set_state({**state, "seed": state["seed"] + number})
        policy.reset(seed=branch.seed)
        total, over, turn = 0.0, False, env.simulation.turn
        while not over:
            if env.simulation.turn == turn + 1:
                policy.reset(seed=branch.continuations[number].seed)
            observation, reward, over, _, _ = env.step(policy.act(observation))
            total += reward
        earned.append(total)
    return earned


def test_a_branch_is_worth_what_playing_on_from_it_earns(tmp_path: Path) -> None:
    points = branched(tmp_path)
    assert len(points) == 8
    several = [point for point in points if point.branches[0].continuations]
    assert several
    for point in several:
        assert point.plays_on == "guesses"
        assert point.user_options is not None
        assert point.user_options["user"]["miss"] == 0.2
        rewards = [[each.reward for each in branch.continuations] for branch in point.branches]
        by_number = [played_again(point, number) for number in (0, 1)]
        assert rewards == [pytest.approx(list(pair)) for pair in zip(*by_number, strict=True)]
        for branch, earned in zip(point.branches, rewards, strict=True):
            assert branch.reward == pytest.approx(sum(map(float, filter(None, earned))) / 2)


def test_branches_that_say_the_same_are_not_played_on(tmp_path: Path) -> None:
    for point in branched(tmp_path, f"{HERE}:Guesses", branches=3):
        said = {msgspec.json.encode(branch.steps) for branch in point.branches}
        for branch in point.branches:
            assert len(branch.continuations) == (2 if len(said) > 1 else 0)
            assert (branch.reward is None) == (len(said) == 1)


def test_continuations_of_a_state_have_the_same_seeds(tmp_path: Path) -> None:
    for point in branched(tmp_path):
        seeds = {tuple(each.seed for each in branch.continuations) for branch in point.branches}
        assert len(seeds) == 1


@pytest.mark.parametrize("runner", ["threads", "lockstep", "processes"])
def test_every_runner_collects_the_same(tmp_path: Path, runner: str) -> None:
    branched(tmp_path / "serial")
    branched(tmp_path / "other", runner=runner)
    assert records(tmp_path / "other") == records(tmp_path / "serial")


def test_a_stopped_run_goes_on_with_the_same_branches(tmp_path: Path) -> None:
    def stop(progress: Progress) -> None:
        if progress.played == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        branched(tmp_path / "stopped", on_progress=stop)
    assert len(list(read_branches(tmp_path / "stopped"))) == 4
    assert branched(tmp_path / "stopped") == branched(tmp_path / "at once")


def test_a_pair_starts_from_the_state_and_its_chosen_message_earned_more(tmp_path: Path) -> None:
    points = branched(tmp_path, branches=3)
    rule, tally = PairRule(min_margin=0.01), Tally()
    pairs = list(preferences(points, tally, rule=rule))
    assert pairs
    begun = {point.messages: point for point in points}
    for pair in pairs:
        assert pair.margin is not None
        assert pair.margin >= 0.01
        assert (pair.chosen_reward or 0) - (pair.rejected_reward or 0) == pytest.approx(pair.margin)
        assert pair.chosen != pair.rejected
        shared = msgspec.to_builtins(pair.prompt[1:])
        own = [text for text in begun if msgspec.json.decode(text) == shared[: text.count("role")]]
        assert own
    assert tally.left_out["below min_margin"] + tally.left_out["same messages"] > 0


def test_a_failing_policy_is_silent_and_a_failing_provider_ends_the_branch(tmp_path: Path) -> None:
    path = {"path": "acts-oracle", "states": 0, "branches": 4, "continuations": 1}
    own = [each for each in branched(tmp_path / "own", Breaks(), **path) if each.turn == 0]
    branches = [branch for point in own for branch in point.branches]
    # A goodbye ends the dialogue before anything can fail.
    outcomes = [each for branch in branches for each in branch.continuations if each.turns > 1]
    assert outcomes
    for outcome in outcomes:
        assert outcome.error == "IndexError: oh"
        assert outcome.verdict is not None
        assert outcome.reward is not None
        assert outcome.reward < 0
    others = branched(tmp_path / "provider", Breaks(provider=True), **path)
    failed = [branch for point in others if point.turn == 0 for branch in point.branches]
    assert {(branch.reward, branch.error) for branch in failed} >= {
        (None, "TransientLMError: gone")
    }


def test_a_policy_that_needs_the_beginning_leads_but_does_not_branch(tmp_path: Path) -> None:
    assert branched(tmp_path / "leads", path="acts-oracle")
    with pytest.raises(ValueError, match="'acts-oracle' goes on only with dialogues that it has"):
        branched(tmp_path / "branches", "acts-oracle")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"branches": 0}, "it needs branches"),
        ({"branches": 0, "states": 0}, "they need branches and SGDSim-v0"),
        ({"env": "SGD-v0", "understanding": None, "user": None, "noise": None}, "SGDSim-v0"),
        ({"max_episode_steps": 9}, "leave max_episode_steps away"),
        ({"states": -1}, "states must be at least 0"),
    ],
)
def test_options_without_effect_are_refused(
    tmp_path: Path, options: dict[str, Any], problem: str
) -> None:
    given = {**BRANCHED, **SIMULATION, **options}
    arguments = {name: value for name, value in given.items() if value is not None}
    with pytest.raises(ValueError, match=problem):
        collect(f"{HERE}:Guesses", tmp_path, **arguments)


def test_the_commands_make_pairs_and_labels(tmp_path: Path, capsys: Any) -> None:
    world = msgspec.json.encode({"name": "SGDSim-v0", "understanding": "acts"}).decode()
    command = ["rollout", "--env", world, "--policy", f"{HERE}:Guesses", "--path", "acts-oracle"]
    options = ["--branches", "3", "--states", "3", "--continuations", "2", "--episodes", "3"]
    assert main([*command, *options, "--out", str(tmp_path / "run")]) == 0
    assert "3 of 3 dialogues with branches" in capsys.readouterr().out
    for kind in ("dpo", "kto"):
        out = tmp_path / f"{kind}.jsonl"
        export = ["export", str(tmp_path / "run"), "--format", kind, "--min-margin", "0.01"]
        assert main([*export, "--held-out", "dev", "test", "--out", str(out)]) == 0
        assert out.read_bytes().count(b"\n") > 0
