"""What the agent of a recorded episode saw, byte for byte as its environment wrote it."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from agent_gym_env.envs.conversation import reply_message
from agent_gym_env.rollout.episode import Episode
from agent_gym_env.rollout.transcript import exchange
from agent_gym_env.types import Observation

_encode = msgspec.json.Encoder().encode


def observations(episode: Episode) -> Iterator[Observation]:
    """Yield the observation before each step, and the one after the last.

    Of an episode that did not come to its end, the last observation lacks what the user would have
    said next.

    Raises:
        DataError: a step's tool results do not answer its calls.
    """
    log, executed, tool_result = "", 0, ""
    for turn in episode.turns:
        log += f',{{"role":"user","content":{_encode(turn.user).decode()}}}'
        user = turn.user
        for step in turn.steps:
            yield _observation(episode, user, tool_result, log)
            log += exchange(step, executed)
            executed += len(step.action.tool_calls)
            user, tool_result = "", step.tool_result
        log += reply_message(turn.steps[-1].action.text)
    yield _observation(episode, "", tool_result, log)


def _observation(episode: Episode, user: str, tool_result: str, log: str) -> Observation:
    return {
        "user": user,
        "tool_result": tool_result,
        "messages": f"[{log[1:]}]",
        "tools": episode.tools,
    }
