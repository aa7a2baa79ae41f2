"""Nothing that the corpus recorded is told before its time.

The rows of all results of a split are what its services know: an agent whose call matches them, or
names no constraint, is told them. Who calls nothing, or nothing that matches, never sees one.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent_gym_env.corpus.locations import sample_path
from agent_gym_env.corpus.sgd import SPLITS
from agent_gym_env.envs.dialogue import SGDEnv
from agent_gym_env.errors import DataError
from tests.reliability.canaries import Canary, canaries, write_canary_corpus
from tests.reliability.playing import sized

PROBES = 50


@pytest.fixture(scope="module")
def canary_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_canary_corpus(sample_path(), tmp_path_factory.mktemp("canaries") / "corpus")


class Watched:
    """An environment over the canary corpus, and what may be known of the dialogue in play."""

    def __init__(self, corpus: Path, split: str, **arguments: Any) -> None:
        self.env = SGDEnv(str(corpus), split, render_mode="html", **arguments)
        self.split = split

    def play(self, place: int) -> Iterator[int]:
        """Begin a dialogue; yields its turns, each to be closed by the caller."""
        dialogue_id = self.env.split.dialogue_ids()[place]
        self.place = place
        given = self.env.reset(options={"dialogue_id": dialogue_id})
        self.check(given[0], given[1], turn=0, closed=None)
        yield from range(len(self.env.replay.task.turns))

    def canary(self, kind: str, turn: int) -> Canary:
        return Canary(kind, self.split, self.place, turn)

    def heard(self, turn: int) -> set[Canary]:
        """Return the tokens of all that the user has said when a turn is open."""
        turns = len(self.env.replay.task.turns)
        return {self.canary("U", number) for number in range(min(turn + 1, turns))}

    def check(
        self,
        observation: dict[str, Any],
        info: dict[str, Any],
        *,
        turn: int,
        closed: int | None,
        known: frozenset[Canary] = frozenset(),
    ) -> None:
        """Check all that can be seen after a step which opened a turn, or left it open."""
        heard = self.heard(turn)
        seen = canaries(observation, self.env.render(), repr(self.env), self.env.get_state())
        assert seen - known == heard
        told = set()
        if closed is not None:
            told = {self.canary("S", closed)}
            if self.env.replay.task.turns[closed].call is not None:
                told |= {self.canary("P", closed)} & canaries(info)
        assert canaries(info) == told


@pytest.mark.parametrize("reward", ["ground_truth", "balanced"])
@pytest.mark.parametrize("split", SPLITS)
def test_who_calls_nothing_hears_the_user_and_learns_the_target_afterwards(
    canary_corpus: Path, split: str, reward: str
) -> None:
    watched = Watched(canary_corpus, split, reward=reward)
    for place in range(len(watched.env.split)):
        for turn in watched.play(place):
            text = "" if turn % 2 else "Of course."
            observation, *_, info = watched.env.step(text)
            watched.check(observation, info, turn=turn + 1, closed=turn)


@pytest.mark.parametrize("split", SPLITS)
def test_the_recorded_call_gives_its_own_results_and_no_others(
    canary_corpus: Path, split: str
) -> None:
    watched = Watched(canary_corpus, split)
    for place in range(len(watched.env.split)):
        known: set[Canary] = set()
        for turn in watched.play(place):
            calls = watched.env.recorded_action().tool_calls
            if calls:
                observation, *_, info = watched.env.step({"tool_calls": calls})
                own = {watched.canary("P", turn)} & canaries(calls)
                results = canaries(observation["tool_result"])
                assert results <= {watched.canary("R", turn)}
                known |= own | results
                watched.check(observation, info, turn=turn, closed=None, known=frozenset(known))
            observation, *_, info = watched.env.step("Fine.")
            watched.check(observation, info, turn=turn + 1, closed=turn, known=frozenset(known))


def probes(tools: list[dict[str, Any]], words: list[str], random_: random.Random) -> list[Any]:
    """Make calls that match nothing that was recorded: every one has a value that no row has."""
    calls: list[Any] = []
    for _ in range(PROBES):
        function = random_.choice(tools)["function"]
        properties = function["parameters"]["properties"]
        arguments = {
            name: random_.choice(schema.get("enum", words))
            for name, schema in properties.items()
            if name in function["parameters"]["required"] or random_.random() < 0.5
        }
        arguments = {name: value for name, value in arguments.items() if value != "dontcare"}
        if random_.random() < 0.2:
            arguments[random_.choice(["token", "__class__", *words])] = "1"
        name = random_.choice([function["name"]] * 8 + ["NoSuch_1-Tool", function["name"][:-1]])
        calls.append({"name": name, "arguments": arguments})
    return [call for call in calls if call["arguments"]]


@pytest.mark.parametrize("tools_offered", ["dialogue", "all"])
@pytest.mark.parametrize("split", SPLITS)
def test_calls_that_match_nothing_tell_nothing(
    canary_corpus: Path, split: str, tools_offered: str
) -> None:
    watched = Watched(
        canary_corpus, split, tools_offered=tools_offered, max_tool_calls_per_turn=PROBES
    )
    random_ = random.Random(0)
    for place in range(0, len(watched.env.split), sized(25, 1)):
        for turn in watched.play(place):
            state = watched.env.get_state()
            tools = json.loads(watched.env.set_state(state)[0]["tools"])
            words = [word for word in state["user"].split() if not word.startswith("Q")]
            for call in probes(tools, words, random_):
                observation, *_, info = watched.env.step({"text": "", "tool_calls": [call]})
                assert canaries(observation["tool_result"], info) == set()
            watched.check(observation, info, turn=turn, closed=None)
            watched.env.set_state(state)
            watched.env.step("Fine.")


@pytest.mark.parametrize("split", SPLITS)
def test_calls_without_constraints_tell_the_world_s_rows_of_this_split_only(
    canary_corpus: Path, split: str
) -> None:
    watched = Watched(canary_corpus, split, tools_offered="all")
    for place in range(0, len(watched.env.split), sized(25, 5)):
        for turn in watched.play(place):
            state = watched.env.get_state()
            for name in watched.env.split.tools:
                call = {"name": name, "arguments": {}}
                observation, *_ = watched.env.step({"text": "", "tool_calls": [call]})
                found = canaries(observation) - watched.heard(turn)
                assert {canary.kind for canary in found} <= {"R"}
                assert {canary.split for canary in found} <= {split}
                watched.env.set_state(state)
            watched.env.step("Fine.")


def test_errors_tell_nothing(canary_corpus: Path) -> None:
    watched = Watched(canary_corpus, "dev")
    next(watched.play(0))
    state = watched.env.get_state()
    for provoke, kind in (
        (lambda: watched.env.step(7), TypeError),
        (lambda: watched.env.step({"reply": "Hi"}), ValueError),
        (lambda: watched.env.reset(options={"dialogue_id": "9_9"}), DataError),
        (lambda: watched.env.reset(options={"hint": True}), ValueError),
        (lambda: watched.env.set_state(state | {"turn": 99}), ValueError),
        (lambda: watched.env.set_state(state | {"corpus": ""}), ValueError),
    ):
        with pytest.raises(kind) as caught:
            provoke()
        assert canaries(str(caught.value), repr(caught.value)) == set()
