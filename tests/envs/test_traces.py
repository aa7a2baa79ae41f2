"""``Traces-v0``: conversations of a log are played, scored, restored and examined as SGD's are."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as gymnasium_check_env
from gymnasium.vector import AutoresetMode

from agent_gym_env.cli.main import main
from agent_gym_env.corpus.corpus import open_corpus
from agent_gym_env.envs.dialogue import SGDEnv
from agent_gym_env.policies.oracle import OraclePolicy
from agent_gym_env.testing import check_corpus, check_env
from agent_gym_env.types import Action, ToolCall
from tests.corpus.logs.odd_conversations import (
    ODD,
    SCHEMA,
    Odd,
    Record,
    chat,
    made,
    result,
    says,
    user,
)

REWARDS = ("ground_truth", "balanced")
SEVERAL_ROUNDS = chat(
    user("Find Emma and reserve it, and Persuasion too."),
    says("Let me look.", made("a", "find", {"title": "Emma"}), made("b", "find", {"title": "P"})),
    result("a", '[{"book": 7}]'),
    result("b", "[]", status="failure"),
    says(None, made("c", "reserve", {"book": 7})),
    result("c", "the shelf is locked", is_error=True),
    says(None, made("d", "reserve", {"book": 7})),
    result("d", '{"until": "2024-06-01", "fee": 0.5}'),
    says("Emma is yours until 1 June, Persuasion is not here."),
    user("Thanks!"),
    says("You are welcome."),
    id="rounds",
    date="2024-05-15",
)


def described(odd: Odd) -> Record:
    """Describe the tools that a conversation calls, where its log does not."""
    called = {call.name: None for turn in odd.turns for call in turn.calls}
    if "tools" in odd.facts:
        return dict(odd.record)
    return {**odd.record, "tools": [{"name": name, "parameters": SCHEMA} for name in called]}


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file with all odd conversations in a format that describes tools, in splits."""
    chosen = [odd for name, odd in ODD.items() if not name.startswith("unified")]
    records = [described(odd) for odd in chosen if isinstance(odd.record, dict)]
    tools: list[Record] = [{"name": name, "parameters": {}} for name in ("find", "reserve")]
    path = tmp_path_factory.mktemp("log") / "log.jsonl"
    with path.open("w") as file:
        for number, record in enumerate([*records, {**SEVERAL_ROUNDS, "tools": tools}]):
            name = record.get("id") if record.get("id") == "rounds" else f"{number}"
            split = "dev" if number % 4 == 0 and name != "rounds" else "train"
            file.write(json.dumps({**record, "id": name, "split": split}) + "\n")
    return str(path)


def make(log: Any, **arguments: Any) -> SGDEnv:
    env = gym.make("agent_gym_env:Traces-v0", corpus=log, **arguments).unwrapped
    assert isinstance(env, SGDEnv)
    return env


def play_oracle(env: SGDEnv) -> int:
    """Play every dialogue; return the number of turns, each of which earned 1.0."""
    policy, turns = OraclePolicy(env), 0
    for dialogue_id in env.split.dialogue_ids():
        observation, info = env.reset(options={"dialogue_id": dialogue_id})
        over = False
        while not over:
            observation, reward, over, _, info = env.step(policy.act(observation))
            assert info["action_error"] is None, (dialogue_id, observation)
            if info["target"] is not None:
                turns += 1
                assert reward == 1.0, (dialogue_id, info)
    return turns


@pytest.mark.parametrize("split", ["train", "dev"])
@pytest.mark.parametrize("reward", REWARDS)
def test_the_oracle_earns_1_at_every_turn(log: str, split: str, reward: str) -> None:
    env = make(log, split=split, reward=reward)
    assert len(env.split) > 15
    assert play_oracle(env) == env.split.turns


@pytest.mark.parametrize("reward", REWARDS)
def test_silence_earns_less_where_something_is_due(log: str, reward: str) -> None:
    env = make(log, reward=reward)
    env.reset(options={"dialogue_id": "rounds"})
    assert env.step("")[1] == 0.0


def test_the_corpus_keeps_its_promises(log: str) -> None:
    check_corpus(log)


def test_the_environment_keeps_its_promises(log: str) -> None:
    check_env(gym.make("agent_gym_env:Traces-v0", corpus=log, reward="balanced"), episodes=6)
    check_env(make(log, split="dev", tools_offered="all", system_prompt=True), episodes=2)


def test_gymnasium_s_checker_has_nothing_to_say(log: str) -> None:
    gymnasium_check_env(make(log))


# A turn with several rounds


def rounds(env: SGDEnv) -> list[Action]:
    """Play the first turn of the conversation with several rounds by the oracle."""
    policy, actions = OraclePolicy(env), []
    observation, info = env.reset(options={"dialogue_id": "rounds"})
    while info["turn"] == 0:
        actions.append(policy.act(observation))
        observation, _, _, _, info = env.step(actions[-1])
    return actions


def test_the_recorded_action_is_one_round_after_the_other(log: str) -> None:
    calls = [[call.name for call in action.tool_calls] for action in rounds(make(log))]
    assert calls == [["find", "find"], ["reserve"], ["reserve"], []]


def test_equal_calls_are_answered_each_as_it_was(log: str) -> None:
    env = make(log)
    actions = rounds(env)
    env.reset(options={"dialogue_id": "rounds"})
    results = [json.loads(env.step(action)[0]["tool_result"] or "[]") for action in actions]
    assert [[each["status"] for each in given] for given in results[:3]] == [
        ["success", "failure"],
        ["error"],
        ["success"],
    ]
    assert results[1][0]["results"] == "the shelf is locked"
    assert results[2][0]["results"] == {"until": "2024-06-01", "fee": 0.5}


@pytest.mark.parametrize("place", range(4))
def test_a_state_inside_a_turn_with_several_rounds_is_restored(log: str, place: int) -> None:
    env, other = make(log, reward="balanced"), make(log, reward="balanced")
    actions = [*rounds(env), Action("You are welcome.")]
    env.reset(options={"dialogue_id": "rounds"})
    for action in actions[:place]:
        env.step(action)
    state = json.loads(json.dumps(env.get_state()))
    expected = [env.step(action) for action in actions[place:]]
    _, info = other.set_state(state)
    assert info["turn"] == 0
    assert other.recorded_action() == actions[place]
    assert [other.step(action) for action in actions[place:]] == expected
    assert expected[-1][1:3] == (1.0, True)


def test_a_call_of_another_turn_is_answered_as_there_and_others_as_not_recorded(log: str) -> None:
    env = make(log)
    rounds(env)
    found, *_ = env.step(Action(tool_calls=(ToolCall("find", {"title": "Emma"}),)))
    assert json.loads(found["tool_result"])[0]["results"] == [{"book": 7}]
    _, _, _, _, info = env.step(Action(tool_calls=(ToolCall("find", {"title": "Dune"}),)))
    assert info["action_error"] == "not_recorded"


# Several dialogues at once


def test_dialogues_of_a_log_are_played_side_by_side(log: str) -> None:
    envs: Any = gym.make_vec(
        "agent_gym_env:Traces-v0",
        num_envs=4,
        corpus=log,
        reward="balanced",
        autoreset_mode=AutoresetMode.SAME_STEP,
    )
    envs.reset(seed=0)
    closed = ended = 0
    for _ in range(40):
        _, rewards, terminated, _, infos = envs.step(list(envs.call("recorded_action")))
        closes = terminated | np.array([target is not None for target in infos["target"]])
        assert rewards[closes].tolist() == [1.0] * int(closes.sum())
        closed += int(closes.sum())
        ended += int(terminated.sum())
    assert closed > ended > 40
    envs.close()


# Commands


def test_verify_is_clean_on_a_log(log: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--env", "Traces-v0", "--corpus", log]) == 0
    assert capsys.readouterr().out.count("0 turns below 1.0") == 2


@pytest.mark.parametrize("reward", REWARDS)
def test_audit_puts_the_oracle_above_every_way_to_game(
    log: str, reward: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["audit", "--env", "Traces-v0", "--corpus", log, "--split", "dev", "--reward", reward]
    assert main([*command, "--episodes", "15", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    means = {row["name"]: row["scores"][reward]["reward"]["mean"] for row in rows}
    assert means.pop("oracle") == 1.0
    # Those begin with the recorded words, which a log without spans does not let them change.
    others = {name: mean for name, mean in means.items() if not name.startswith("target")}
    assert len(others) > 15
    assert max(others.values()) < 0.8


# Real logs


@pytest.fixture(scope="session")
def real_logs() -> Path:
    """Real logs: a folder with tau-bench's and ConvLab's, see `README.md` there."""
    named = os.environ.get("AGENT_GYM_TEST_LOGS")
    if not named or not Path(named).is_dir():
        pytest.skip("AGENT_GYM_TEST_LOGS names no folder with real logs")
    return Path(named)


@pytest.mark.parametrize(
    ("name", "dialogues", "turns", "tools"),
    [
        ("tau-bench-gpt-4o-airline", 200, 1341, 14),
        ("convlab-unified-multiwoz21-dummy", 10, 60, 2),
        ("convlab-unified-sgd-dummy", 10, 100, 2),
        ("convlab-unified-kvret-dummy", 10, 24, 3),
    ],
)
def test_the_oracle_earns_1_on_real_logs(
    real_logs: Path, name: str, dialogues: int, turns: int, tools: int
) -> None:
    log = {"name": "logs", "path": str(real_logs / f"{name}.json"), "infer_tools": True}
    check_corpus(open_corpus(log))
    for reward in REWARDS:
        env = make(log, reward=reward)
        assert (len(env.split), len(env.split.tools)) == (dialogues, tools)
        assert play_oracle(env) == turns
