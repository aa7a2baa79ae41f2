"""Ways to play a session, each of which must give the same bytes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from agent_gym_env.server.session import Reply, Session

Step = tuple[str, Mapping[str, Any]]
"""A step that every way can carry: ``say`` with a text, or the name of a tool with arguments."""

STEPS: list[Step] = [
    ("say", {"text": "Which city do you prefer? “Zürich” 🍵"}),
    ("{tool}", {}),
    ("Nothing-Here", {"a": [1, None, {"ü": 0.5}]}),
    ("say", {"text": "Done."}),
    ("say", {"text": "Anything else?"}),
]


class Player(NamedTuple):
    """A way to play.

    Attributes:
        reset: begins an episode with a seed and returns the reply.
        step: takes a step and returns the reply.
    """

    reset: Callable[[int], Reply]
    step: Callable[[Step], Reply]


def action_of(step: Step) -> dict[str, Any]:
    """Return the action of a step, in the form of the action space."""
    name, arguments = step
    if name == "say":
        return {"text": arguments["text"], "tool_calls": ""}
    calls = [{"name": name, "arguments": arguments}]
    return {"text": "", "tool_calls": msgspec.json.encode(calls).decode()}


@contextlib.contextmanager
def in_process(env_id: str, arguments: Mapping[str, Any]) -> Iterator[Player]:
    """Play a session of this process."""
    session = Session(env_id, arguments)
    with contextlib.closing(session):
        yield Player(lambda seed: session.reset(seed=seed), lambda s: session.step(action_of(s)))


def played(player: Player, seed: int) -> list[bytes]:
    """Play the steps, and return the bytes of each reply: observation, reward, end and info."""
    first = player.reset(seed)
    (tool, *_) = msgspec.json.decode(first.observation["tools"])
    replies = [first]
    for name, arguments in STEPS:
        if replies[-1].over:
            break
        step = (name.format(tool=tool["function"]["name"]), arguments)
        replies.append(player.step(step))
    assert len(replies) > 3
    return [msgspec.json.encode(reply) for reply in replies]
