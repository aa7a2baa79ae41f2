"""Recorded episodes as rows for supervised fine-tuning: conversations in OpenAI's chat format."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

import msgspec

from agent_gym_env.errors import DataError
from agent_gym_env.lm.base import Message
from agent_gym_env.lm.prompt import RULES, system_message
from agent_gym_env.rollout.episode import Episode
from agent_gym_env.rollout.transcript import transcript


class ConversationRow(msgspec.Struct, frozen=True):
    """A whole episode, to learn the assistant's messages from.

    Attributes:
        messages: the system message first; calls have their arguments as objects.
        tools: what was on offer, in OpenAI's function format.
        dialogue_id: of the dialogue.
        split: of the dialogue.
        policy: who played.
        reward: mean of the turns that have one; ``None`` where none has.
    """

    messages: Sequence[Message]
    tools: Sequence[dict[str, Any]]
    dialogue_id: str
    split: str
    policy: str
    reward: float | None


def conversation_row(episode: Episode, *, rules: str = RULES) -> ConversationRow:
    """Make the row of an episode.

    Args:
        episode: one that has a turn.
        rules: of the system message; by default those that `LLMPolicy` plays by.

    Raises:
        DataError: the episode does not hold together.
    """
    *_, last = transcript(episode)
    return ConversationRow(
        messages=with_system(f"{last.log}{last.reply}]", episode.date, rules),
        tools=msgspec.json.decode(episode.tools),
        dialogue_id=episode.dialogue_id,
        split=episode.split,
        policy=episode.policy,
        reward=mean_reward(episode),
    )


def with_system(messages: str, today: str, rules: str) -> list[Message]:
    """Put the system message before an observation's ``messages``, and arguments into objects.

    Raises:
        DataError: the date is none.
    """
    try:
        day = date.fromisoformat(today)
    except ValueError as error:
        raise DataError(f"date must be like 2019-03-01, not {today!r}") from error
    return [system_message(rules, day), *map(_with_objects, msgspec.json.decode(messages))]


def _with_objects(message: Message) -> Message:
    """Give a message whose calls have objects for arguments: chat templates write them as JSON."""
    if "tool_calls" not in message:
        return message
    return {**message, "tool_calls": [_with_object(call) for call in message["tool_calls"]]}


def _with_object(call: dict[str, Any]) -> dict[str, Any]:
    function = call["function"]
    arguments = msgspec.json.decode(function["arguments"])
    return {**call, "function": {**function, "arguments": arguments}}


def mean_reward(episode: Episode) -> float | None:
    """Average the rewards of an episode's turns; ``None`` where none has one."""
    rewards = list(_rewards(episode))
    return sum(rewards) / len(rewards) if rewards else None


def _rewards(episode: Episode) -> Iterator[float]:
    return (turn.reward for turn in episode.turns if turn.reward is not None)
