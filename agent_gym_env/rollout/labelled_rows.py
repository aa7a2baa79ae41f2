"""Single messages with a label, good or bad."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from agent_gym_env.chat import Message, read_tools
from agent_gym_env.lm.prompt import RULES
from agent_gym_env.rollout.chat_messages import conversation
from agent_gym_env.rollout.episode import Episode
from agent_gym_env.rollout.preferences import PreferenceRow
from agent_gym_env.rollout.selection import Tally
from agent_gym_env.rollout.transcript import transcript


class LabelledRow(msgspec.Struct, frozen=True):
    """A message and whether it is good: what Kahneman-Tversky optimisation (KTO) takes.

    Attributes:
        prompt: the conversation before it, the system message first.
        completion: the message, alone in a list.
        label: whether it is good.
        tools: what was on offer, in OpenAI's function format.
        reward: of its turn; ``None`` where it could not be told.
        policy: who wrote it.
        dialogue_id: of the dialogue.
        split: of the dialogue.
        turn: how many turns had closed.
        step: how many messages of the open turn the assistant had written.
    """

    prompt: Sequence[Message]
    completion: Sequence[Message]
    label: bool
    tools: Sequence[dict[str, Any]]
    reward: float | None
    policy: str
    dialogue_id: str
    split: str
    turn: int
    step: int


def rows_of_pair(pair: PreferenceRow) -> Iterator[LabelledRow]:
    """Take a pair apart: its better message is good, its worse one bad."""
    sides = (
        (pair.chosen, True, pair.chosen_reward, pair.chosen_policy),
        (pair.rejected, False, pair.rejected_reward, pair.rejected_policy),
    )
    for completion, label, reward, policy in sides:
        yield LabelledRow(
            prompt=pair.prompt,
            completion=completion,
            label=label,
            tools=pair.tools,
            reward=reward,
            policy=policy,
            dialogue_id=pair.dialogue_id,
            split=pair.split,
            turn=pair.turn,
            step=pair.step,
        )


def rows_of_episode(
    episode: Episode, threshold: float, tally: Tally, *, rules: str = RULES
) -> Iterator[LabelledRow]:
    """Label each message of the assistant by the reward of its turn.

    Args:
        episode: one that has a turn.
        threshold: the least reward of a good turn.
        tally: counts the turns without a reward, which are left out.
        rules: of the system message; by default those that `LLMPolicy` plays by.

    Raises:
        DataError: the episode does not hold together.
    """
    *_, last = transcript(episode)
    messages = conversation(last.closed, episode.date, rules)
    tools = read_tools(episode.tools)
    for place, turn, step in _written(messages):
        reward = episode.turns[turn].reward
        if reward is None:
            tally.leave_out("unscored")
            continue
        yield LabelledRow(
            prompt=messages[:place],
            completion=[messages[place]],
            label=reward >= threshold,
            tools=tools,
            reward=reward,
            policy=episode.policy,
            dialogue_id=episode.dialogue_id,
            split=episode.split,
            turn=turn,
            step=step,
        )


def _written(messages: Sequence[Message]) -> Iterator[tuple[int, int, int]]:
    """Find the assistant's messages: their places, turns, and numbers within the turn."""
    turn, step = -1, 0
    for place, message in enumerate(messages):
        if message["role"] == "user":
            turn, step = turn + 1, 0
        elif message["role"] == "assistant":
            yield place, turn, step
            step += 1
