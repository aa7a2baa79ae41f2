"""Every observation and info is rebuilt from the corpus's files, read only up to its turn."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent_gym_env.corpus.corpus import open_corpus
from agent_gym_env.corpus.locations import sample_path
from agent_gym_env.corpus.sgd import SPLITS
from agent_gym_env.corpus.sgd_reader import open_source
from agent_gym_env.envs.dialogue import SGDEnv
from tests.reliability.playing import LONG, sized


def walk(path: Path, split: str, dialogues: int) -> int:
    """Compare all that two agents are told with the files; gives the number of turns."""
    env = SGDEnv(str(path), split)
    offered: dict[tuple[str, ...], str] = {}
    turns = 0
    for dialogue in raw_dialogues(path, split, dialogues):
        for calling in (False, True):
            turns += compare(env, dialogue, offered, calling=calling)
    return turns


def raw_dialogues(path: Path, split: str, most: int) -> Iterator[dict[str, Any]]:
    """Read dialogues from the files, without the compiler; all of them for -1."""
    with open_source(path) as source:
        shards = (json.loads(source.read(shard)) for shard in source.shards(split))
        dialogues = itertools.chain.from_iterable(shards)
        yield from itertools.islice(dialogues, None if most < 0 else most)


def compare(
    env: SGDEnv, dialogue: dict[str, Any], offered: dict[tuple[str, ...], str], *, calling: bool
) -> int:
    """Play a dialogue; compare what is told with what the files say up to that turn."""
    observation, info = env.reset(options={"dialogue_id": dialogue["dialogue_id"]})
    services = tuple(dialogue["services"])
    # Tools depend on the services alone, never on the dialogue.
    tools = offered.setdefault(services, observation["tools"])
    always = {
        "dialogue_id": dialogue["dialogue_id"],
        "services": list(services),
        "date": "2019-03-01",
        "reward_valid": True,
        "action_error": None,
    }
    nothing = {"response_similarity": None, "tool_accuracy": None}
    messages: list[dict[str, Any]] = []
    calls = 0
    pairs = list(zip(dialogue["turns"][::2], dialogue["turns"][1::2], strict=True))
    for turn, (user, system) in enumerate(pairs):
        messages.append({"role": "user", "content": user["utterance"]})
        assert observation["user"] == user["utterance"]
        assert parsed(observation["messages"]) == messages
        [frame] = system["frames"]
        call = frame.get("service_call")
        if calling and call is not None:
            name = f"{frame['service']}-{call['method']}"
            arguments = call["parameters"]
            observation, reward, _, _, info = env.step(
                {"tool_call": {"name": name, "arguments": arguments}}
            )
            failed = any(action["act"] == "NOTIFY_FAILURE" for action in frame["actions"])
            result = {
                "name": name,
                "status": "failure" if failed else "success",
                "results": frame["service_results"],
            }
            messages += exchange(f"call_{calls}", name, arguments, result)
            calls += 1
            assert (observation["user"], reward) == ("", 0.0)
            assert json.loads(observation["tool_result"]) == [result]
            assert parsed(observation["messages"]) == messages
            assert info == {**always, "turn": turn, "target": None, "reward_components": nothing}
        messages.append({"role": "assistant", "content": "Yes."})
        observation, *_, info = env.step("Yes.")
        assert observation["tools"] == tools
        told = info.pop("target")
        components = info.pop("reward_components")
        assert info == {**always, "turn": turn + 1}
        assert told[-1] == {"role": "assistant", "content": system["utterance"]}
        assert len(told) == (1 if call is None else 2)
        assert set(components) == set(nothing)
    assert (observation["user"], observation["tool_result"]) == ("", "")
    assert parsed(observation["messages"]) == messages
    return len(pairs)


def exchange(
    call_id: str, name: str, arguments: dict[str, str], result: dict[str, Any]
) -> list[dict[str, Any]]:
    call = {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
    return [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call_id, "content": result},
    ]


def parsed(messages: str) -> list[dict[str, Any]]:
    """Read messages, and the JSON inside of them."""
    read: list[dict[str, Any]] = json.loads(messages)
    for message in read:
        if message["role"] == "tool":
            message["content"] = json.loads(message["content"])
        for call in message.get("tool_calls", ()):
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    return read


@pytest.mark.parametrize("split", SPLITS)
def test_every_observation_of_the_sample_is_made_of_what_was_there(split: str) -> None:
    assert walk(sample_path(), split, -1) > 0


@pytest.mark.parametrize("split", SPLITS if LONG else ["dev"])
def test_every_observation_of_sgd_is_made_of_what_was_there(sgd_path: Path, split: str) -> None:
    turns = walk(sgd_path, split, sized(100, -1))
    print(f"{split}: {turns} turns")
    assert turns >= sized(500, 2 * open_corpus(sgd_path).split(split).turns)
