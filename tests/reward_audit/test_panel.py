"""The scores of known exploits, on the embedded corpus and, when asked for, on SGD.

The tables of docs/results/rewards.md are the output of this module, run with ``AGENT_GYM_LONG=1``
and ``-s``.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from agent_gym_env.corpus.corpus import Corpus, Split, open_corpus
from agent_gym_env.corpus.task import Task
from agent_gym_env.reward_audit.answers import Corruption, Reply, corruptions
from agent_gym_env.rewards.balanced import BalancedReward
from agent_gym_env.rewards.base import ClosedTurn, Reward
from agent_gym_env.rewards.presets import make_reward_for
from agent_gym_env.types import ToolCall

MAX_TEXT_CHARS = 65536
"""Length at which the environment cuts a reply, in characters."""

# Those that know nothing of the target's words. A reward over bags of words sees neither order nor
# negation, and pays for values that are said alone: see docs/results/rewards.md for the others.
BLIND = {
    "silence",
    "goodbye",
    "constant",
    "best constant bag",
    "echo of the user",
    "echo of the conversation",
    "echo of the schema",
    "1 MB of text",
    "first tool each turn",
    "every tool each turn",
    "right tool without arguments",
    "values of the results",
}


class Earned(NamedTuple):
    """Means: over all turns, over turns with values in the target, of the tool component."""

    mean: float
    with_values: float
    tools: float


def earned(reward: Reward, tasks: list[Task], corrupt: Corruption) -> Earned:
    rng = np.random.default_rng(0)
    values, with_values, tools = [], [], []
    for task in tasks:
        for index, target in enumerate(task.turns):
            reply = corrupt(task, index, rng)
            score = reward.score(
                ClosedTurn(reply.text[:MAX_TEXT_CHARS], reply.calls, target, task.date)
            )
            assert score.value is not None
            assert 0 <= score.value <= 1
            values.append(score.value)
            if target.values:
                with_values.append(score.value)
            if score.components["tool_accuracy"] is not None:
                tools.append(score.components["tool_accuracy"])
    return Earned(float(np.mean(values)), float(np.mean(with_values)), float(np.mean(tools)))


def recorded(task: Task, index: int, rng: np.random.Generator) -> Reply:
    turn = task.turns[index]
    calls = () if turn.call is None else (ToolCall(turn.call.name, dict(turn.call.arguments)),)
    return Reply(turn.text, calls)


def panel(name: str, corpus: Corpus, split: Split, limit: int | None = None) -> dict[str, Earned]:
    tasks = [split.task(index) for index in range(len(split))][:limit]
    reward = make_reward_for(name, split, corpus)
    weights = reward.weights if isinstance(reward, BalancedReward) else None
    every = corruptions(tasks, split.tools, weights.__getitem__ if weights else lambda word: 1.0)
    return {
        what: earned(reward, tasks[:: 10 if what == "1 MB of text" else 1], corrupt)
        for what, corrupt in {"oracle": recorded, **every}.items()
    }


def assert_gaming_earns_little(balanced: dict[str, Earned]) -> None:
    assert balanced["oracle"] == (1, 1, 1)
    assert balanced["silence"].mean <= 0.001  # two recorded replies of SGD's test split are empty
    assert {what: balanced[what].mean for what in BLIND if balanced[what].mean > 0.25} == {}
    assert balanced["target with wrong values"].with_values <= 0.30
    assert balanced["target three times"].mean <= 0.50
    for always_or_never in ("silence", "first tool each turn", "every tool each turn"):
        assert balanced[always_or_never].tools <= 0.10


def test_gaming_earns_little_on_the_embedded_corpus() -> None:
    corpus = open_corpus("sample")
    assert_gaming_earns_little(panel("balanced", corpus, corpus.split("dev"), limit=40))


@pytest.mark.parametrize("reward", ["ground_truth", "balanced"])
def test_the_recorded_turns_score_exactly_one_on_the_embedded_corpus(reward: str) -> None:
    corpus = open_corpus("sample")
    for name in corpus.splits():
        split = corpus.split(name)
        scored = make_reward_for(reward, split, corpus)
        for index in range(len(split)):
            task = split.task(index)
            for number, target in enumerate(task.turns):
                reply = recorded(task, number, np.random.default_rng(0))
                turn = ClosedTurn(reply.text, reply.calls, target, task.date)
                assert scored.score(turn).value == 1.0, (task.dialogue_id, number)


@pytest.mark.long
@pytest.mark.parametrize("name", ["dev", "test"])
def test_gaming_earns_little_on_sgd(sgd_path: Path, name: str) -> None:
    corpus = open_corpus(sgd_path)
    split = corpus.split(name)
    plain, balanced = (panel(reward, corpus, split) for reward in ("ground_truth", "balanced"))
    print(f"\n| {name} | ground_truth | balanced | with values | tools |\n|---|---|---|---|---|")
    for what, (mean, with_values, tools) in balanced.items():
        print(f"| {what} | {plain[what].mean:.3f} | {mean:.3f} | {with_values:.3f} | {tools:.3f} |")
    assert plain["oracle"] == (1, 1, 1)
    assert_gaming_earns_little(balanced)
