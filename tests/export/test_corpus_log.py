import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent_gym_env.corpus.corpus import open_corpus
from agent_gym_env.corpus.task import Turn
from agent_gym_env.envs.dialogue import SGDEnv
from agent_gym_env.envs.replay import recorded_action
from agent_gym_env.export.corpus_log import write_log
from agent_gym_env.types import Action, ToolCall

SGD = os.environ.get("AGENT_GYM_TEST_SGD")


def spoiled(turn: Turn, draw: random.Random, tools: list[str]) -> Action:
    """Return the recorded action, changed as bad agents change it, or not."""
    recorded = recorded_action(turn)
    calls, text = list(recorded.tool_calls), recorded.text
    kind = draw.randrange(6)
    if kind == 1:
        calls = [
            ToolCall(call.name, {k: v for k, v in call.arguments.items() if draw.random() < 0.7})
            for call in calls
        ]
    elif kind == 2:
        calls = [
            ToolCall(
                call.name, {k: draw.choice((v.upper(), "other")) for k, v in call.arguments.items()}
            )
            for call in calls
        ]
    elif kind == 3:
        calls = []
    elif kind == 4:
        calls.append(ToolCall(draw.choice(tools), {"city": "Lund"}))
    elif kind == 5:
        text = " ".join(text.split()[::2])
    return Action(text, tuple(calls))


def rewards(env: SGDEnv, split: str) -> Iterator[tuple[str, int, float]]:
    draw, tools = random.Random(split), sorted(tool.name for tool in env.split.tools.values())
    for dialogue_id in env.split.dialogue_ids():
        env.reset(options={"dialogue_id": dialogue_id})
        over = False
        while not over:
            action = spoiled(env.replay.recorded_turn(), draw, tools)
            _, reward, over, _, info = env.step(action)
            yield dialogue_id, info["turn"], reward


@pytest.mark.parametrize(
    ("corpus", "split"),
    [
        ("sample", "train"),
        ("sample", "dev"),
        pytest.param(
            SGD,
            "train",
            marks=[pytest.mark.long, pytest.mark.skipif(not SGD, reason="needs SGD")],
        ),
    ],
)
def test_a_corpus_written_as_a_log_pays_the_same(tmp_path: Path, corpus: str, split: str) -> None:
    original = open_corpus(corpus)
    write_log(original, tmp_path / "log", [split])
    again = SGDEnv(str(tmp_path / "log"), split, reward="ground_truth")
    before = SGDEnv(corpus, split, reward="ground_truth")
    assert again.split.dialogue_ids() == before.split.dialogue_ids()
    assert list(rewards(again, split)) == list(rewards(before, split))


def test_a_log_keeps_what_the_format_can_say(tmp_path: Path) -> None:
    original = open_corpus("sample")
    write_log(original, tmp_path / "log", ["dev"])
    before, after = original.split("dev"), open_corpus(tmp_path / "log").split("dev")
    for index in range(len(before)):
        task, again = before.task(index), after.task(index)
        assert again.date == task.date
        for turn, other in zip(task.turns, again.turns, strict=True):
            assert (other.user, other.text) == (turn.user, turn.text)
            assert [(c.name, c.arguments, c.status, c.results) for c in other.calls] == [
                (c.name, c.arguments, c.status, c.results) for c in turn.calls
            ]
