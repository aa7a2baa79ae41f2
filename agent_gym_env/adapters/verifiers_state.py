"""The state of a rollout of verifiers: a snapshot of a session, and steps from it."""

from __future__ import annotations

import json
import threading
from functools import lru_cache
from typing import Any

import msgspec

from agent_gym_env.extras import require
from agent_gym_env.server.session import Reply, Session
from agent_gym_env.types import Action

require("verifiers", extra="verifiers")

import verifiers.v1 as vf  # noqa: E402  (`require` names the extra if it is missing)
from pydantic import Field  # noqa: E402
from verifiers.v1.state import State  # noqa: E402


class DialogueData(vf.TaskData):
    """A task: one dialogue of a corpus.

    Attributes:
        env_id: as in `Session`.
        arguments: as in `Session`.
        dialogue_id: id of the dialogue.
        seed: seed of the user.
    """

    env_id: str
    arguments: dict[str, Any]
    dialogue_id: str
    seed: int


class DialogueState(State):
    """State that a rollout's environment and its tools share.

    Attributes:
        snapshot: `Session.state` of the episode.
        rewards: reward of each turn that closed; ``None`` if it is unknown.
        calls: number of calls.
        refused: number of calls that were answered with an error.
        over: whether the episode has ended.
    """

    env_id: str = ""
    arguments: dict[str, Any] = Field(default_factory=dict)
    snapshot: dict[str, Any] = Field(default_factory=dict)
    rewards: list[float | None] = Field(default_factory=list)
    calls: int = 0
    refused: int = 0
    over: bool = False


def begin(state: DialogueState, data: DialogueData) -> Reply:
    """Begin the episode of a task, and write it to a state."""
    state.env_id, state.arguments = data.env_id, data.arguments
    session, lock = _session(data.env_id, json.dumps(data.arguments, sort_keys=True))
    with lock:
        reply = session.reset(seed=data.seed, options={"dialogue_id": data.dialogue_id})
        state.snapshot = msgspec.to_builtins(session.state())
    return reply


def take_step(state: DialogueState, action: Action) -> Reply:
    """Take a step from the snapshot of a state, and write the next snapshot to it."""
    session, lock = _session(state.env_id, json.dumps(state.arguments, sort_keys=True))
    with lock:
        before = session.set_state(state.snapshot)
        reply = session.step(action)
        state.snapshot = msgspec.to_builtins(session.state())
    if reply.info["turn"] > before.info["turn"]:
        state.rewards.append(reply.reward if reply.info["reward_valid"] else None)
    state.over = reply.over
    return reply


@lru_cache(maxsize=8)
def _session(env_id: str, arguments: str) -> tuple[Session, threading.Lock]:
    """Return the session that plays all episodes of an environment, each from its snapshot."""
    return Session(env_id, json.loads(arguments)), threading.Lock()


def turns_of(state: DialogueState) -> int:
    """Return the number of turns of the dialogue's recording."""
    session, _ = _session(state.env_id, json.dumps(state.arguments, sort_keys=True))
    split = session.env.split
    return len(split.task(split.index(state.snapshot["reply"]["info"]["dialogue_id"])).turns)
