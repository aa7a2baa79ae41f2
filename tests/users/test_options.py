"""Options of the user and of what the agent hears: checked, seeded, and shown in the words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from agent_gym_env.corpus.goals import UserAct
from agent_gym_env.envs.sgd_sim import SGDSimEnv
from agent_gym_env.envs.simulation import INAUDIBLE
from agent_gym_env.policies.acts_oracle import ActsOraclePolicy
from agent_gym_env.types import Action, DialogueAct, ToolCall
from agent_gym_env.users.mentions import Mentions
from agent_gym_env.users.options import read_noise
from agent_gym_env.values.equality import canonical

encode = msgspec.json.Encoder().encode
NOISE = {"acts": 0.1, "values": 0.05}
NOISY: dict[str, Any] = {"noise": NOISE, "user": {"name": "agenda", "miss": 0.1, "volunteer": 0.5}}


def make(**arguments: Any) -> SGDSimEnv:
    return SGDSimEnv(split="dev", understanding="acts", **arguments)


Step = tuple[dict[str, str], float, dict[str, Any], tuple[UserAct, ...]]


def play(env: SGDSimEnv, seed: int, alter: Callable[[Action], Action] | None = None) -> list[Step]:
    """Play the acts oracle in the dialogue of a seed; return what every step gave."""
    policy = ActsOraclePolicy(env)
    policy.reset()
    observation, info = env.reset(seed=seed)
    steps = [(observation, 0.0, info, env.user_acts())]
    over = False
    while not over:
        action = policy.act(observation)
        observation, reward, over, _, info = env.step(alter(action) if alter else action)
        steps.append((observation, reward, info, env.user_acts()))
        assert len(steps) < 300
    return steps


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("robot", "user must be one of agenda, llm, not 'robot'"),
        ({"name": "agenda", "mis": 0.1}, "user 'agenda' has no option 'mis' .did you mean 'miss'"),
        ({"name": "agenda", "miss": 1.5}, "user 'agenda': miss: .*<= 1.0, found 1.5"),
        ({"name": "agenda", "volunteer": -1}, "volunteer: .*>= 0.0, found -1"),
        ({"name": "agenda", "volunteer": "often"}, "volunteer: expected a number"),
    ],
)
def test_a_user_that_does_not_exist_is_refused(config: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make(user=config)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"act": 0.1}, "noise has no option 'act' .did you mean 'acts'"),
        ({"acts": 2}, "noise: acts: .*<= 1.0, found 2"),
        ({"values": None}, "noise: values: expected a number, found null"),
    ],
)
def test_noise_that_cannot_be_is_refused(config: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_noise(config)


def test_a_wrong_type_is_refused() -> None:
    with pytest.raises(TypeError, match="user must be a name or a mapping"):
        make(user=7)
    with pytest.raises(TypeError, match="noise must be a mapping"):
        make(noise=0.1)


def test_options_at_their_defaults_change_nothing() -> None:
    options = {"name": "agenda", "miss": 0, "volunteer": 1}
    plain, written_out = make(), make(user=options, noise={"acts": 0, "values": 0})
    for seed in range(10):
        assert play(plain, seed) == play(written_out, seed)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    dialogue = {"dialogue_id": make().split.dialogue_ids()[0]}

    def begin(seed: int) -> str:
        return make(noise={"acts": 0.5}).reset(seed=seed, options=dialogue)[0]["user"]

    assert len({begin(seed) for seed in range(10)}) > 1
    for seed in range(10):
        assert encode(play(make(**NOISY), seed)) == encode(play(make(**NOISY), seed))


def test_branches_from_a_state_hear_the_same() -> None:
    env, other = make(noise={"acts": 0.5, "values": 0.5}), make(noise={"acts": 0.5, "values": 0.5})
    env.reset(seed=1)
    state = env.get_state()
    action = {"acts": [["REQ_MORE"]]}
    expected = [env.step(action), env.step(action)]
    for _ in range(2):
        other.set_state(state)
        assert [other.step(action), other.step(action)] == expected


def test_a_user_that_misses_everything_leaves() -> None:
    env = make(user={"name": "agenda", "miss": 1.0})
    steps = play(env, 0)
    understood = [info["user_understood"] for _, _, info, _ in steps]
    assert True not in understood
    assert env.simulation.state().user.left
    assert env.simulation.state().user.counters["missed"] == understood.count(False)


def asked(action: Action) -> set[str]:
    return {act.slot for act in action.acts if act.act == "REQUEST"}


def volunteered(env: SGDSimEnv) -> Iterator[str]:
    """Play; yield each slot that the user told although another one was asked for."""
    for seed in range(40):
        requests: list[set[str]] = []

        def note(action: Action, requests: list[set[str]] = requests) -> Action:
            requests.append(asked(action))
            return action

        steps = play(env, seed, note)
        for slots, (_, _, _, acts) in zip(requests, steps[1:], strict=True):
            told = {act.slot for act in acts if act.act == "INFORM"}
            if slots & told:
                yield from told - slots


def test_a_user_that_volunteers_nothing_tells_what_was_asked_for() -> None:
    assert len(list(volunteered(make()))) > 10
    assert list(volunteered(make(user={"name": "agenda", "volunteer": 0.0}))) == []


def test_an_act_that_is_lost_is_not_in_the_words() -> None:
    env = make(noise={"acts": 1.0})
    for seed in range(5):
        for observation, _, info, acts in play(env, seed):
            assert acts == ()
            assert observation["user"] in ("", INAUDIBLE)
            assert not info["task"]["success"]


def test_a_misheard_value_is_another_one_in_the_words_and_not_in_the_users_mind() -> None:
    env = make(noise={"values": 1.0})
    misheard = 0
    for seed in range(20):
        observation, info = env.reset(seed=seed)
        meant = env.simulation.state().user.said
        for act in env.user_acts():
            if act.act == "INFORM" and act.value != "dontcare":
                truth = meant[act.service][act.slot]
                assert canonical(act.value, info["date"]) != canonical(truth, info["date"])
                assert truth not in observation["user"]
                misheard += 1
    assert misheard > 10


def without_confirmation(env: SGDSimEnv) -> Callable[[Action], Action]:
    """Return a function that writes at once what the oracle would have confirmed."""

    def alter(action: Action) -> Action:
        if not action.acts or any(act.act != "CONFIRM" for act in action.acts):
            return action
        slots = {act.slot: act.value for act in action.acts}
        spec = next(
            spec
            for spec in env.tool_schemas().values()
            if spec.transactional and slots.keys() <= spec.arguments.keys()
        )
        return Action(action.text, (ToolCall(spec.name, slots),), acts=action.acts)

    return alter


def wrong_writes(steps: list[Step]) -> list[str]:
    reasons = steps[-1][2]["task"]["reasons"]
    return [reason for reason in reasons if reason.startswith(("write_wrong", "write_extra"))]


def test_what_was_misheard_is_written_wrongly_unless_the_user_confirms_it() -> None:
    env = make(noise={"values": 0.3})
    careless = sum(bool(wrong_writes(play(env, n, without_confirmation(env)))) for n in range(40))
    careful = sum(bool(wrong_writes(play(env, n))) for n in range(40))
    assert (careless > 5, careful) == (True, 0)


def test_a_dialogue_can_be_solved_in_noise() -> None:
    env = make(**NOISY)
    solved = [play(env, seed)[-1][2]["task"]["strict"] for seed in range(40)]
    assert sum(solved) > 30


def test_a_lost_act_leaves_the_others_in_the_words() -> None:
    env = make(noise={"acts": 0.5})
    env.reset(seed=0)
    for _ in range(20):
        observation, _, over, _, _ = env.step(Action("And?", acts=(DialogueAct("REQ_MORE"),)))
        mentions = Mentions(observation["user"], "2019-03-01")
        informs = [act for act in env.user_acts() if act.act == "INFORM"]
        assert all(mentions.has(act.value) for act in informs)
        if over:
            env.reset()


@pytest.mark.parametrize(
    ("style", "sources"),
    [("recorded", {"recorded", "mined", "own"}), ("mined", {"mined", "own"}), ("plain", {"own"})],
)
def test_a_style_says_where_the_words_come_from(style: str, sources: set[str]) -> None:
    env = make(user={"name": "agenda", "style": style})
    used: set[str] = set()
    for seed in range(20):
        assert play(env, seed)[-1][2]["task"]["strict"]
        counters = env.simulation.state().user.counters
        used |= {name[6:] for name in counters if name.startswith("words_")}
    assert used == sources
    assert env.user_options["user"]["style"] == style


def test_a_style_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="style: expected one of mined, plain, recorded"):
        make(user={"name": "agenda", "style": "rhymes"})
