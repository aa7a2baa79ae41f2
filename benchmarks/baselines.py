"""Environments to compare ours with: one does nothing, the other has the obvious simple design.

Both have the same spaces and info as ours, and are created with the same `gymnasium.make`.
"""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import gymnasium as gym

from agent_gym_env.envs.spaces import action_space, observation_space

DO_NOTHING = "benchmarks/DoNothing-v0"
NAIVE = "benchmarks/Naive-v0"

_Observation = dict[str, str]
_Info = dict[str, Any]


class DoNothingEnv(gym.Env[Any, Any]):
    """Environment with constant observation and info, copied in each step as Gymnasium requires.

    Args:
        observation: the observation.
        info: the info.
    """

    def __init__(self, observation: _Observation, info: _Info) -> None:
        self.observation_space = observation_space()
        self.action_space = action_space()
        self._observation = observation
        self._info = info
        self._services = info["services"]
        self._components = info["reward_components"]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[_Observation, _Info]:
        """Begin an episode."""
        super().reset(seed=seed)
        return self._observation.copy(), self._fresh_info()

    def step(self, action: Any) -> tuple[_Observation, float, bool, bool, _Info]:
        """Do nothing."""
        return self._observation.copy(), 0.0, False, False, self._fresh_info()

    def _fresh_info(self) -> _Info:
        info = self._info.copy()
        info["services"] = self._services.copy()
        info["reward_components"] = self._components.copy()
        return info


class NaiveEnv(gym.Env[Any, Any]):
    """The obvious first implementation: plain JSON in memory, and everything computed on demand.

    A call is looked up by a scan over all recorded calls, words are split at each step, and the
    conversation is copied so that no caller can change it. The reward is `ground_truth`.

    Args:
        corpus: a folder in SGD's format.
        split: its split.
    """

    def __init__(self, corpus: str, split: str) -> None:
        self.observation_space = observation_space()
        self.action_space = action_space()
        folder = Path(corpus, split)
        shards = sorted(folder.glob("dialogues_*.json"))
        dialogues = [
            dialogue for shard in shards for dialogue in json.loads(shard.read_text("utf-8"))
        ]
        self._dialogues = {dialogue["dialogue_id"]: dialogue for dialogue in dialogues}
        self._schema = json.loads((folder / "schema.json").read_text("utf-8"))
        self._recorded = [
            frame
            for dialogue in dialogues
            for turn in dialogue["turns"]
            for frame in turn["frames"]
            if "service_call" in frame
        ]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[_Observation, _Info]:
        """Begin the dialogue that the options name, or one at random."""
        super().reset(seed=seed)
        ids = list(self._dialogues) if not options else [options["dialogue_id"]]
        self._dialogue = self._dialogues[ids[int(self.np_random.integers(len(ids)))]]
        self._tools = [
            _tool(service, intent)
            for service in self._schema
            if service["service_name"] in self._dialogue["services"]
            for intent in service["intents"]
        ]
        self._turn = 0
        self._calls: list[dict[str, Any]] = []
        user = self._dialogue["turns"][0]["utterance"]
        self._messages: list[dict[str, Any]] = [{"role": "user", "content": user}]
        return self._observe(user, []), self._info({}, None)

    def step(self, action: _Observation) -> tuple[_Observation, float, bool, bool, _Info]:
        """Execute the calls; close the turn if there is a reply."""
        calls = json.loads(action["tool_calls"] or "[]")
        results = [self._execute(call) for call in calls]
        self._calls += calls
        self._messages = copy.deepcopy(self._messages)
        if calls:
            self._messages.append({"role": "assistant", "tool_calls": calls})
            self._messages += [{"role": "tool", "content": json.dumps(row)} for row in results]
        if not action["text"]:
            return self._observe("", results), 0.0, False, False, self._info({}, None)
        return self._close_turn(action["text"], results)

    def _close_turn(
        self, text: str, results: list[Any]
    ) -> tuple[_Observation, float, bool, bool, _Info]:
        recorded = self._dialogue["turns"][2 * self._turn + 1]
        due = [
            {
                "name": f"{frame['service']}-{frame['service_call']['method']}",
                "arguments": frame["service_call"]["parameters"],
            }
            for frame in recorded["frames"]
            if "service_call" in frame
        ]
        parts = {
            "response_similarity": _jaccard(text, recorded["utterance"]),
            "tool_accuracy": _tool_accuracy(due, self._calls),
        }
        target = {"text": recorded["utterance"], "tool_calls": due}
        self._messages.append({"role": "assistant", "content": text})
        self._turn += 1
        self._calls = []
        terminated = 2 * self._turn >= len(self._dialogue["turns"])
        user = "" if terminated else self._dialogue["turns"][2 * self._turn]["utterance"]
        if not terminated:
            self._messages.append({"role": "user", "content": user})
        observation = self._observe(user, results)
        return observation, sum(parts.values()) / 2, terminated, False, self._info(parts, target)

    def _execute(self, call: dict[str, Any]) -> dict[str, Any]:
        service, _, method = call["name"].partition("-")
        wanted = {"method": method, "parameters": call["arguments"]}
        for frame in self._recorded:
            if frame["service"] == service and frame["service_call"] == wanted:
                results = frame["service_results"]
                return {"name": call["name"], "status": "success", "results": results}
        return {"name": call["name"], "status": "failure", "results": []}

    def _observe(self, user: str, results: list[Any]) -> _Observation:
        return {
            "user": user,
            "tool_result": json.dumps(results) if results else "",
            "messages": json.dumps(self._messages),
            "tools": json.dumps(self._tools),
        }

    def _info(self, parts: dict[str, float], target: dict[str, Any] | None) -> _Info:
        return {
            "dialogue_id": self._dialogue["dialogue_id"],
            "turn": self._turn,
            "services": list(self._dialogue["services"]),
            "date": "2019-03-01",
            "reward_components": parts,
            "reward_valid": True,
            "action_error": None,
            "target": target,
        }


def _tool(service: dict[str, Any], intent: dict[str, Any]) -> dict[str, Any]:
    slots = {slot["name"]: slot for slot in service["slots"]}
    takes = [*intent["required_slots"], *intent["optional_slots"]]
    properties = {
        name: {"type": "string", "description": slots[name]["description"]} for name in takes
    }
    function = {
        "name": f"{service['service_name']}-{intent['name']}",
        "description": intent["description"],
        "parameters": {
            "type": "object",
            "properties": properties,
            "required": intent["required_slots"],
        },
    }
    return {"type": "function", "function": function}


def _jaccard(reply: str, recorded: str) -> float:
    said = set(re.findall(r"\w+", reply.lower()))
    expected = set(re.findall(r"\w+", recorded.lower()))
    return len(said & expected) / len(said | expected) if said | expected else 1.0


def _tool_accuracy(due: list[dict[str, Any]], made: list[dict[str, Any]]) -> float:
    if not due and not made:
        return 1.0
    if not due or not made or due[0]["name"] != made[0]["name"]:
        return 0.0
    expected, given = due[0]["arguments"], made[0]["arguments"]
    names = {*expected, *given}
    equal = sum(
        str(expected.get(name)).strip().lower() == str(given.get(name)).strip().lower()
        for name in names
    )
    return (0.5 + 0.5 * (equal / len(names) if names else 1.0)) / max(len(due), len(made))


gym.register(DO_NOTHING, entry_point="benchmarks.baselines:DoNothingEnv")
gym.register(NAIVE, entry_point="benchmarks.baselines:NaiveEnv")
