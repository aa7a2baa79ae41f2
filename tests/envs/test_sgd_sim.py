"""``SGDSim-v0``: a user who reacts, services with state, success that is verified."""

from __future__ import annotations

import copy
import json
import pickle
import random
import statistics
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env

import agent_gym_env  # noqa: F401  (registers the environments)
from agent_gym_env.envs.sgd_sim import SGDSimEnv
from agent_gym_env.policies.acts_oracle import ActsOraclePolicy
from agent_gym_env.types import Action, ToolCall
from tests.reliability.playing import sized


def _make(**arguments: Any) -> SGDSimEnv:
    env = gym.make("SGDSim-v0", **{"split": "dev", "understanding": "acts", **arguments}).unwrapped
    assert isinstance(env, SGDSimEnv)
    return env


def _play(env: SGDSimEnv, dialogue_id: str, act: Callable[[dict[str, str]], Any]) -> Any:
    """Play a dialogue to its end; return the last info and the sum of the rewards."""
    observation, info = env.reset(options={"dialogue_id": dialogue_id})
    total = 0.0
    for _ in range(200):
        observation, reward, over, _, info = env.step(act(observation))
        total += reward
        if over:
            return info, total
    raise AssertionError(f"dialogue {dialogue_id} does not end")


def _oracle_play(env: SGDSimEnv, dialogue_id: str) -> Any:
    policy = ActsOraclePolicy(env)
    policy.reset()
    return _play(env, dialogue_id, policy.act)


def test_check_env_is_clean() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(_make(), skip_render_check=True)


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_the_acts_oracle_solves_every_dialogue_of_the_sample(split: str) -> None:
    env = _make(split=split)
    for dialogue_id in env.split.dialogue_ids():
        info, total = _oracle_play(env, dialogue_id)
        assert info["task"]["strict"], (dialogue_id, info["task"])
        assert -1 <= total <= 1


@pytest.mark.parametrize("style", ["terse", "verbose", "descriptive"])
def test_the_acts_oracle_solves_the_sample_in_every_style(style: str) -> None:
    env = _make()
    policy = ActsOraclePolicy(env, wording=style)
    for dialogue_id in env.split.dialogue_ids():
        policy.reset()
        info, _ = _play(env, dialogue_id, policy.act)
        assert info["task"]["strict"], (dialogue_id, info["task"])


def test_the_acts_oracle_says_again_in_other_words_what_was_not_understood() -> None:
    env = _make()
    policy = ActsOraclePolicy(env)
    observation, _ = env.reset(seed=0)
    said = policy.act(observation)
    while not said.text:
        said = policy.act(env.step(said)[0])
    unclear = env.step(Action("Colourless green ideas."))[0]
    again = policy.act(unclear)
    assert again.acts == said.acts
    assert again.text != said.text


@pytest.mark.parametrize(("split", "least"), [("dev", 0.993), ("test", 0.995)])
def test_the_acts_oracle_solves_sgd(sgd_path: Path, split: str, least: float) -> None:
    env = _make(corpus=str(sgd_path), split=split)
    ids = env.split.dialogue_ids()
    strict = [bool(_oracle_play(env, each)[0]["task"]["strict"]) for each in ids]
    print(f"{split}: strict success of the acts oracle {sum(strict) / len(ids):.4f} of {len(ids)}")
    assert sum(strict) / len(ids) >= least


def test_a_wrong_write_takes_the_success() -> None:
    env = _make(split="train")
    ids = iter(env.split.dialogue_ids())
    for dialogue_id in ids:
        policy = ActsOraclePolicy(env)
        policy.reset()
        wrote: list[str] = []

        def act(
            observation: dict[str, str],
            policy: ActsOraclePolicy = policy,
            wrote: list[str] = wrote,
        ) -> Action:
            action = policy.act(observation)
            for call in action.tool_calls:
                spec = env.tool_schemas()[call.name]
                if spec.transactional and "booking_time" in call.arguments and not wrote:
                    wrote.append(call.name)
                    wrong = {**call.arguments, "booking_time": "03:10"}
                    return Action(tool_calls=(ToolCall(call.name, wrong),))
            return action

        info, _ = _play(env, dialogue_id, act)
        if wrote:
            assert not info["task"]["success"]
            assert any(reason.startswith("write_wrong") for reason in info["task"]["reasons"])
            return
    raise AssertionError("no dialogue books a table")


_NOISY: dict[str, Any] = {
    "user": {"name": "agenda", "miss": 0.1, "volunteer": 0.5},
    "noise": {"acts": 0.1, "values": 0.05},
}


_PLAYED = pytest.mark.parametrize(
    "arguments",
    [{}, _NOISY, {"understanding": "text"}, {"understanding": "text", **_NOISY}],
    ids=["clean", "noisy", "text", "noisy text"],
)


def _check_states(dialogues: int, **arguments: Any) -> list[int]:
    """Take up the state of every step in another environment; return the sizes of states."""
    env, other = _make(**arguments), _make(**arguments)
    sizes = []
    for dialogue_id in env.split.dialogue_ids()[:dialogues]:
        policy = ActsOraclePolicy(env)
        policy.reset()
        observation, _ = env.reset(options={"dialogue_id": dialogue_id})
        over = False
        while not over:
            action = policy.act(observation)
            state = json.loads(json.dumps(env.get_state()))
            expected = env.step(action)
            begun, _ = other.set_state(state)
            assert begun == observation
            assert other.step(action) == expected
            assert other.get_state() == env.get_state()
            sizes.append(_size(state))
            observation, over = expected[0], expected[2]
    return sizes


def _size(state: dict[str, Any]) -> int:
    """Return the bytes of a state, the conversation so far among them."""
    return len(json.dumps(state))


@_PLAYED
def test_a_state_taken_at_every_step_goes_on_byte_for_byte(arguments: dict[str, Any]) -> None:
    assert len(_check_states(sized(20, 52), **arguments)) > 150


@_PLAYED
def test_a_state_of_sgd_goes_on_byte_for_byte(sgd_path: Path, arguments: dict[str, Any]) -> None:
    sizes = _check_states(sized(10, 200), corpus=str(sgd_path), **arguments)
    print(f"{len(sizes)} states, p50 {statistics.median(sizes):.0f} bytes, largest {max(sizes)}")
    assert statistics.median(sizes) <= 5000


@pytest.mark.parametrize("generator", ["not JSON", "7", '{"bit_generator": "PCG64"}'])
def test_a_state_with_a_damaged_generator_changes_nothing(generator: str) -> None:
    env = _make()
    env.reset(seed=1)
    before = env.get_state()
    other = {**before, "dialogue_id": env.split.dialogue_ids()[3], "random": generator}
    with pytest.raises(ValueError, match="not an SGDSim-v0 state: its generator"):
        env.set_state(other)
    assert env.get_state() == before


@pytest.mark.parametrize("user", [{"errand": 99}, {"errand": -1}, {"chosen": {"99": {}}}])
def test_a_state_of_an_errand_that_the_goal_lacks_is_refused(user: dict[str, Any]) -> None:
    env = _make()
    env.reset(seed=1)
    before = env.get_state()
    with pytest.raises(ValueError, match="no errand of such a number"):
        env.set_state({**before, "user": {**before["user"], **user}})
    assert env.get_state() == before


@pytest.mark.parametrize("change", [{"log": "garbage"}, {"turn": -1}, {"executed": -1}])
def test_a_state_that_no_dialogue_can_have_is_refused(change: dict[str, Any]) -> None:
    env = _make()
    env.reset(seed=1)
    before = env.get_state()
    with pytest.raises(ValueError, match="not an SGDSim-v0 state"):
        env.set_state({**before, **change})
    assert env.get_state() == before


@pytest.mark.parametrize("copied", [lambda env: pickle.loads(pickle.dumps(env)), copy.deepcopy])
@pytest.mark.parametrize("understanding", ["text", "acts"])
def test_a_copied_environment_goes_on_as_the_first(copied: Any, understanding: str) -> None:
    env = _make(understanding=understanding)
    env.reset(seed=1)
    env.step("What city would you like?")
    twin = copied(env)
    for text in ("What date?", "Please confirm: on March 3rd.", "Goodbye."):
        assert twin.step(text) == env.step(text)


def test_an_action_without_any_part_is_told_that_acts_are_one() -> None:
    env = _make()
    env.reset(seed=1)
    with pytest.raises(ValueError, match="in SGDSim-v0 also 'acts'"):
        env.step({})


def test_the_same_seed_gives_the_same_bytes() -> None:
    def steps() -> Iterator[Any]:
        env = _make(split="train")
        policy = ActsOraclePolicy(env)
        for seed in range(5):
            policy.reset()
            observation, info = env.reset(seed=seed)
            yield observation, info
            over = False
            while not over:
                observation, reward, over, _, info = env.step(policy.act(observation))
                yield observation, reward, info

    assert json.dumps(list(steps())) == json.dumps(list(steps()))


def test_the_goal_is_nowhere_to_be_seen_before_the_user_tells_it() -> None:
    """Of the values of the goal, the first observation and info show the user's words only."""
    env = _make()
    checked = 0
    for dialogue_id in env.split.dialogue_ids():
        observation, info = env.reset(options={"dialogue_id": dialogue_id})
        words = observation["user"]
        message = json.dumps({"role": "user", "content": words}, ensure_ascii=False)
        assert json.loads(observation["messages"]) == [json.loads(message)]
        shown = json.dumps([info, observation["tool_result"]])
        goal = env.split.goal(env.split.index(dialogue_id))
        for errand in goal.errands:
            for value in (errand.final or {}).values():
                if len(value) > 4 and value != info["date"]:
                    checked += 1
                    assert value not in shown
    assert checked > 100


def test_random_actions_raise_nothing() -> None:
    env = _make(split="train")
    draw = random.Random(3)
    kinds = ["REQUEST", "OFFER", "CONFIRM", "INFORM", "NOTIFY_SUCCESS", "NOTIFY_FAILURE",
             "OFFER_INTENT", "REQ_MORE", "NONSENSE", ""]  # fmt: skip
    for episode in range(150):
        env.reset(seed=episode)
        specs = list(env.tool_schemas().values())
        slots = sorted({slot for spec in specs for slot in spec.arguments})
        over = False
        while not over:
            spec = draw.choice(specs)
            values = [act.value for act in env.user_acts()] + ["dontcare", "", "7", "\ud800"]
            arguments = {
                slot: draw.choice(values) for slot in spec.arguments if draw.random() < 0.8
            }
            acts = [[draw.choice(kinds), draw.choice([*slots, "x"]), draw.choice(values)]
                    for _ in range(draw.randrange(4))]  # fmt: skip
            action = {
                "text": draw.choice(["", "hello", "x" * 100]),
                "tool_calls": [{"name": spec.name, "arguments": arguments}] * draw.randrange(3),
                "acts": acts,
            }
            over = env.step(action)[2]


def test_info_has_the_same_keys_at_every_step() -> None:
    env = _make()
    policy = ActsOraclePolicy(env)
    policy.reset()
    observation, info = env.reset(seed=0)
    keys, task = list(info), list(info["task"])
    over = False
    while not over:
        observation, _, over, _, info = env.step(policy.act(observation))
        assert (list(info), list(info["task"])) == (keys, task)
        json.dumps(info)


@pytest.mark.parametrize("reward", ["task_success", "task_strict", "milestones"])
def test_final_rewards_come_at_the_end(reward: str) -> None:
    env = _make(reward=reward)
    info, total = _oracle_play(env, env.split.dialogue_ids()[0])
    assert total == 1
    assert set(info["reward_components"].values()) == {1.0}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"reward": "balanced"}, "task_strict"),
        ({"reward": {"name": "task", "turns": 1}}, "turn"),
        ({"understanding": "telepathy"}, "acts"),
        ({"patience": -1}, "from 0"),
        ({"max_tool_calls_per_turn": 0}, "from 1"),
    ],
)
def test_a_wrong_argument_is_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        _make(**arguments)


def test_a_step_before_reset_is_refused() -> None:
    with pytest.raises(ResetNeeded, match="reset"):
        _make().step("hello")


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_an_environment_can_be_copied_in_the_middle_of_a_dialogue(copied: Any) -> None:
    env = _make(**_NOISY)
    env.reset(seed=1)
    env.step({"acts": [["REQ_MORE"]]})
    other = copied(env)
    action = {"text": "Anything else?", "acts": [["REQ_MORE"]]}
    assert [other.step(action) for _ in range(2)] == [env.step(action) for _ in range(2)]
    assert other.get_state() == env.get_state()
