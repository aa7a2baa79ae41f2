"""Recorded episodes as whole conversations, to learn the assistant's messages from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from agent_gym_env.chat import Message, read_tools
from agent_gym_env.lm.prompt import RULES
from agent_gym_env.rollout.chat_messages import conversation
from agent_gym_env.rollout.episode import Episode
from agent_gym_env.rollout.transcript import transcript


class ConversationRow(msgspec.Struct, frozen=True):
    """A whole episode: what supervised fine-tuning (SFT) takes.

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
        messages=conversation(last.closed, episode.date, rules),
        tools=read_tools(episode.tools),
        dialogue_id=episode.dialogue_id,
        split=episode.split,
        policy=episode.policy,
        reward=mean_reward(episode),
    )


def mean_reward(episode: Episode) -> float | None:
    """Average the rewards of an episode's turns; ``None`` where none has one."""
    rewards = [turn.reward for turn in episode.turns if turn.reward is not None]
    return sum(rewards) / len(rewards) if rewards else None
