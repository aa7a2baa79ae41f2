"""Actions like an agent's, made before any clock runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from agent_gym_env.corpus.corpus import Split
from agent_gym_env.corpus.task import RecordedCall, Task

ActionDict = dict[str, str]


@dataclass(frozen=True)
class Script:
    """The actions of one episode.

    Attributes:
        options: what `reset` takes to begin the dialogue.
        actions: one for each step, up to the end of the dialogue.
    """

    options: Mapping[str, str]
    actions: Sequence[ActionDict]


class Scriptwriter:
    """Writer of plausible agent actions for a dialogue; equal seeds give equal actions.

    Replies are recorded ones of other dialogues. Where a call is due, half of the turns make it
    alone and then speak, a quarter makes it together with the reply, a quarter forgets it.

    Args:
        split: the dialogues.
        seed: seed of all choices.
        off_script: the share of turns in which the dialogue's last call is made once more, which no
            recording answers.
    """

    def __init__(self, split: Split, *, seed: int, off_script: float = 0.0) -> None:
        self._split = split
        self._seed = seed
        self._off_script = off_script

    def scripts(self, dialogues: int) -> list[Script]:
        """Scripts for dialogues drawn from the whole split."""
        drawn = np.random.default_rng(self._seed).integers(len(self._split), size=dialogues)
        return [self.script(int(index)) for index in drawn]

    def script(self, index: int) -> Script:
        """The script of one dialogue."""
        task = self._split.task(index)
        return Script({"dialogue_id": task.dialogue_id}, tuple(self._actions(task, index)))

    def _actions(self, task: Task, index: int) -> Iterator[ActionDict]:
        random = np.random.default_rng((self._seed, index))
        last_call: RecordedCall | None = None
        for turn in task.turns:
            if last_call is not None and random.random() < self._off_script:
                yield _action(call=last_call)
            text = self._recorded_reply(random)
            yield from _turn_actions(text, turn.call, choice=random.random())
            last_call = turn.call or last_call

    def _recorded_reply(self, random: np.random.Generator) -> str:
        turns = self._split.task(int(random.integers(len(self._split)))).turns
        return turns[int(random.integers(len(turns)))].text or "Okay."


def _turn_actions(text: str, due: RecordedCall | None, choice: float) -> Iterator[ActionDict]:
    if due is None or choice < 0.25:
        yield _action(text)
    elif choice < 0.5:
        yield _action(text, due)
    else:
        yield _action(call=due)
        yield _action(text)


def _action(text: str = "", call: RecordedCall | None = None) -> ActionDict:
    calls = [] if call is None else [{"name": call.name, "arguments": call.arguments}]
    return {"text": text, "tool_calls": json.dumps(calls) if calls else ""}


def play(env: gym.Env[Any, Any], scripts: Sequence[Script]) -> Iterator[object]:
    """Play scripts one after another; yield after each reset and step."""
    for script in scripts:
        yield env.reset(options=dict(script.options))
        for action in script.actions:
            yield env.step(action)


def batches(
    envs: gym.vector.VectorEnv[Any, Any, Any], writer: Scriptwriter, split: Split, steps: int
) -> list[dict[str, tuple[str, ...]]]:
    """Actions for a vector environment that resets itself in the same step, seeded with 0."""
    index = {dialogue_id: index for index, dialogue_id in enumerate(split.dialogue_ids())}
    _, infos = envs.reset(seed=0)
    pending = [
        iter(writer.script(index[dialogue_id]).actions) for dialogue_id in infos["dialogue_id"]
    ]
    made = []
    for _ in range(steps):
        actions = [next(script) for script in pending]
        batch = {leaf: tuple(action[leaf] for action in actions) for leaf in actions[0]}
        made.append(batch)
        _, _, terminated, _, infos = envs.step(batch)
        for place in np.flatnonzero(terminated):
            pending[place] = iter(writer.script(index[infos["dialogue_id"][place]]).actions)
    return made


def play_batches(
    envs: gym.vector.VectorEnv[Any, Any, Any], actions: Sequence[dict[str, tuple[str, ...]]]
) -> Iterator[object]:
    """Play the actions of `batches`; yield after the reset and each step."""
    yield envs.reset(seed=0)
    for batch in actions:
        yield envs.step(batch)
