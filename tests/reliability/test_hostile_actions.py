"""Hostile actions get an ordinary answer: no crash, no leak, and a refusal changes nothing."""

from __future__ import annotations

import json
import math
import random
import time
from array import array
from collections import Counter
from typing import Any

import msgspec
import pytest
from gymnasium import Env

from agent_gym_env.envs.dialogue import SGDEnv
from tests.reliability.hostile import NAMES, TEXTS, VALUES, Hostile
from tests.reliability.playing import sized
from tests.reliability.process import holdings, holds_no_more, in_new_process, needs_proc

STEPS = sized(10_000, 500_000)
CODES = {
    "ambiguous_tool", "invalid_unicode", "invalid_value", "malformed_tool_call", "missing_argument",
    "text_too_long", "too_many_tool_calls", "tool_call_limit", "tool_call_too_deep",
    "tool_calls_too_long", "unfinished_reasoning", "unknown_argument", "unknown_tool",
    "unread_content",
}  # fmt: skip


class Fuzzed:
    """An environment under attack, with the processor time of its steps and what they said.

    Args:
        env: environment.
        hostile: generator of actions; by default `Hostile`.
        least: smallest reward that the environment gives.
    """

    def __init__(
        self, env: Env[Any, Any], hostile: Hostile | None = None, least: float = 0
    ) -> None:
        self.env = env
        self.hostile = hostile or Hostile(7, env.action_space.sample)
        self.least = least
        self.latencies_s = array("d")
        self.codes: Counter[str | None] = Counter()
        self.refused = 0
        self.env.action_space.seed(7)
        self.reset()

    def reset(self) -> None:
        observation, _ = self.env.reset(seed=len(self.latencies_s))
        self.hostile.offer(observation["tools"])

    def attack(self, steps: int) -> None:
        for step in range(steps):
            sent = self.hostile.draw()
            began = time.thread_time()
            try:
                given = self.env.step(sent.action)
            except (TypeError, ValueError):
                assert not sent.is_action, sent
                self.refused += 1
                continue
            self.latencies_s.append(time.thread_time() - began)
            assert sent.is_action, sent
            self.check(*given, thoroughly=step % 50 == 0)
            if given[2]:
                self.reset()

    def check(
        self,
        observation: dict[str, Any],
        reward: Any,
        terminated: Any,
        truncated: Any,
        info: dict[str, Any],
        *,
        thoroughly: bool,
    ) -> None:
        assert self.env.observation_space.contains(observation)
        assert type(reward) is float
        assert self.least <= reward <= 1
        assert math.isfinite(reward)
        assert (type(terminated), truncated) == (bool, False)
        msgspec.json.encode(info)
        self.codes[info["action_error"]] += 1
        if thoroughly:
            json.dumps(info, allow_nan=False)
            for leaf in ("messages", "tools", "tool_result"):
                if observation[leaf]:
                    assert isinstance(json.loads(observation[leaf]), list)


@needs_proc
@pytest.mark.parametrize("reward", ["ground_truth", "balanced"])
def test_hostile_actions_are_answered_in_the_world(reward: str) -> None:
    in_new_process(attack_recorded, reward)


def attack_recorded(reward: str) -> None:
    attack(Fuzzed(SGDEnv(reward=reward)), STEPS)


def attack(fuzzed: Fuzzed, steps: int) -> None:
    """Attack an environment, and check its errors, its time and what it holds after a fifth."""
    fuzzed.attack(steps // 5)
    fuzzed.reset()
    before = holdings()
    fuzzed.attack(steps - steps // 5)
    fuzzed.reset()
    after = holdings()
    growth_mb = after.memory_mb - before.memory_mb
    taken = sorted(fuzzed.latencies_s)
    p99_ms, longest_ms = 1e3 * taken[int(0.99 * len(taken))], 1e3 * taken[-1]
    print(
        f"{len(taken)} steps and {fuzzed.refused} that were none: p99 {p99_ms:.2f} ms, longest "
        f"{longest_ms:.1f} ms, memory {growth_mb:+.1f} MB, codes {dict(fuzzed.codes)}"
    )
    assert set(fuzzed.codes) <= {None, *CODES}
    assert len(fuzzed.codes) > 10
    assert growth_mb < 5
    assert holds_no_more(after, before)
    assert p99_ms < 20


def handwritten() -> list[str]:
    """Write every odd name and value into every place of a call."""
    texts = [json.dumps(text)[:60_000] for text in TEXTS]
    calls = [f'{{"name": {name}, "arguments": {{}}}}' for name in map(json.dumps, NAMES)]
    calls += [f'{{"name": {value}}}' for value in VALUES]
    calls += [f'{{"name": "FindTea", "arguments": {value}}}' for value in (*VALUES, *texts)]
    calls += [
        f'{{"name": "{name}", "arguments": {{{key}: {value}}}}}'
        for name in ("FindDish", "NoSuch")
        for key in map(json.dumps, NAMES)
        for value in VALUES
    ]
    calls += ['{"name": "a", "name": "b"}', '{"function": {"name": "a"}}', '{"function": 7}']
    return [*calls, *(f"[{call}]" for call in calls), *VALUES, *TEXTS]


def test_each_tool_call_text_has_one_stable_code_and_a_refusal_changes_nothing() -> None:
    env = SGDEnv(split="dev")
    observation, _ = env.reset(options={"dialogue_id": first_with_call(env)})
    beginning = env.get_state()
    recorded = env.recorded_action().tool_calls
    due = env.step({"text": "", "tool_calls": list(recorded)})[0]["tool_result"]

    hostile = Hostile(3, env.action_space.sample)
    hostile.offer(observation["tools"])
    texts = handwritten()
    texts += [hostile.tool_calls() for _ in range(5000 - len(texts))]
    random.Random(0).shuffle(texts)
    codes: Counter[str] = Counter()
    longest_s = 0.0
    for text in texts[: sized(1500, 5000)]:
        env.set_state(beginning)
        began = time.thread_time()
        given, reward, *_, info = env.step({"text": "", "tool_calls": text})
        longest_s = max(longest_s, time.thread_time() - began)
        results = json.loads(given["tool_result"] or "[]")
        found = [result.get("error", "answered: ").partition(": ")[0] for result in results]
        codes.update(found)
        assert set(found) <= CODES | {"answered"}
        refusals = [code for code in found if code != "answered"]
        # A call that was answered may still have had a part that was not read.
        assert info["action_error"] in (refusals[:1] or [None, "unread_content"])
        if info["turn"] == 0:
            assert reward == 0
            refused_all = len(refusals) == len(found)
            if refused_all and len(found) < 4:
                again = env.step({"text": "", "tool_calls": list(recorded)})[0]["tool_result"]
                assert again == due
    print(f"longest {1e3 * longest_s:.2f} ms, {dict(codes)}")
    assert {"answered", "malformed_tool_call", "unknown_tool", "invalid_value"} <= set(codes)


def first_with_call(env: SGDEnv) -> str:
    """Find a dialogue whose first turn has a call."""
    for place in range(len(env.split)):
        task = env.split.task(place)
        if task.turns[0].call is not None:
            return task.dialogue_id
    raise AssertionError("no dialogue begins with a call")
