"""Nothing tells the goal of a simulated user before the user has said it.

Every value of every goal is a token that neither the recorded words nor the services' rows have. A
token may be in what an agent is given only after it was in the user's words.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import pytest

from agent_gym_env.corpus.locations import sample_path
from agent_gym_env.envs.sgd_sim import SGDSimEnv
from agent_gym_env.envs.simulation import Understanding
from agent_gym_env.envs.vector import SGDSimVectorEnv
from agent_gym_env.types import Action, DialogueAct, ToolCall
from tests.reliability.canaries import Canary, canaries, write_goal_canaries
from tests.reliability.hostile import HostileToUser

SPLIT = "dev"
Agent = Callable[[SGDSimEnv, random.Random], Any]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_goal_canaries(sample_path(), tmp_path_factory.mktemp("goals") / "corpus", SPLIT)


class Watched:
    """A dialogue, with the tokens that the user has said in it."""

    def __init__(self, corpus: Path, **arguments: Any) -> None:
        given = {"understanding": "acts", "render_mode": "ansi", **arguments}
        self.env = SGDSimEnv(str(corpus), SPLIT, **given)
        self.said: set[Canary] = set()
        self.meant: set[Canary] = set()

    def begin(self, dialogue_id: str) -> None:
        self.said, self.meant = set(), set()
        self.look(*self.env.reset(seed=0, options={"dialogue_id": dialogue_id}))

    def step(self, action: Any) -> bool:
        # The acts oracle, a teacher, sends back what it heard.
        self.said |= canaries(action) & self.meant
        try:
            observation, _, over, _, info = self.env.step(action)
        except (TypeError, ValueError) as error:
            refusal = str(error)
        else:
            self.look(observation, info)
            return over
        assert canaries(refusal) <= self.said
        return False

    def look(self, observation: dict[str, str], info: dict[str, Any]) -> None:
        """Compare everything that was given with what the user has said."""
        self.said |= canaries(observation["user"])
        self.meant |= canaries(self.env.simulation.state().user.acts)
        assert canaries(observation, info, self.env.render(), repr(self.env)) <= self.said
        # A state is for records. It has what the user meant by its words, and no more.
        assert canaries(self.env.get_state()) <= self.said | self.meant

    def goal(self) -> set[Canary]:
        task = self.env.simulation.task
        return canaries(self.env.split.goal(self.env.split.index(task.dialogue_id)))


def says(*acts: DialogueAct) -> Agent:
    return lambda env, draw: Action("Well?", acts=acts)


def confirms(env: SGDSimEnv, draw: random.Random) -> Action:
    spec = draw.choice(list(env.tool_schemas().values()))
    return Action("Right?", acts=tuple(DialogueAct("CONFIRM", s, "7") for s in spec.arguments))


def calls(env: SGDSimEnv, draw: random.Random) -> Action:
    spec = draw.choice(list(env.tool_schemas().values()))
    slots = draw.sample(sorted(spec.arguments), draw.randrange(len(spec.arguments) + 1))
    call = ToolCall(spec.name, dict.fromkeys(slots, "7"))
    return Action(draw.choice(("", "Done.")), (call,), acts=(DialogueAct("NOTIFY_SUCCESS"),))


AGENTS: dict[str, Agent] = {
    "silent": says(),
    "anything else": says(DialogueAct("REQ_MORE")),
    "failed": says(DialogueAct("NOTIFY_FAILURE")),
    "goodbye": says(DialogueAct("GOODBYE")),
    "unknown slot": says(DialogueAct("REQUEST", "no_such_slot")),
    "confirms": confirms,
    "calls": calls,
}


@pytest.mark.parametrize("agent", AGENTS)
@pytest.mark.parametrize(
    "arguments",
    [{}, {"noise": {"acts": 0.3, "values": 0.3}}, {"understanding": "text"}],
    ids=["clean", "noisy", "text"],
)
def test_nothing_tells_the_goal_before_the_user(
    corpus: Path, agent: str, arguments: dict[str, Any]
) -> None:
    watched, draw = Watched(corpus, **arguments), random.Random(0)
    planted = 0
    for dialogue_id in watched.env.split.dialogue_ids():
        watched.begin(dialogue_id)
        planted += len(watched.goal() - watched.said)
        while not watched.step(AGENTS[agent](watched.env, draw)):
            pass
    assert planted > 100


@pytest.mark.parametrize("understanding", get_args(Understanding))
def test_no_answer_to_a_hostile_action_tells_the_goal(
    corpus: Path, understanding: Understanding
) -> None:
    watched = Watched(corpus, understanding=understanding)
    hostile = HostileToUser(1, watched.env)
    for dialogue_id in watched.env.split.dialogue_ids():
        watched.begin(dialogue_id)
        hostile.offer(watched.env.simulation.begin()[0]["tools"])
        for _ in range(40):
            sent = hostile.draw()
            if watched.step(sent.action):
                break


def test_a_user_who_is_asked_tells(corpus: Path) -> None:
    """The tokens are what the user wants: asked for a slot, it says one."""
    watched = Watched(corpus)
    told = 0
    for dialogue_id in watched.env.split.dialogue_ids():
        watched.begin(dialogue_id)
        name = watched.env.user_acts()[0]
        spec = watched.env.tool_schemas()[f"{name.service}-{name.value}"]
        for slot in spec.required:
            watched.step(Action("Which?", acts=(DialogueAct("REQUEST", slot),)))
        told += len(watched.said & watched.goal())
    assert told > 20


def test_no_refusal_tells_the_goal(corpus: Path) -> None:
    watched = Watched(corpus)
    watched.begin(watched.env.split.dialogue_ids()[0])
    state = watched.env.get_state()
    damaged = [{}, {**state, "user": 7}, {**state, "turn": "x"}, {**state, "random": "x"}]
    for each in damaged:
        with pytest.raises(ValueError, match="state") as caught:
            watched.env.set_state(each)
        assert canaries(str(caught.value)) <= watched.said


def test_a_batch_tells_no_goal(corpus: Path) -> None:
    envs = SGDSimVectorEnv(8, corpus=str(corpus), split=SPLIT, understanding="acts")
    said: set[Canary] = set()
    observations, infos = envs.reset(seed=0)
    for _ in range(30):
        said |= canaries(*observations["user"])
        assert canaries(observations, infos) <= said
        observations, _, _, _, infos = envs.step(["hello"] * 8)
        with suppress(KeyError):
            said |= canaries(*(final["user"] for final in infos["final_obs"] if final))
