"""What the corpus would have done where a policy went its own way: the rows of DAgger.

A model that imitates whole conversations has only seen what follows right answers, and is lost
after a wrong one of its own. So it plays, and learns the corpus' answer at the states where it came
to (dataset aggregation; Ross et al., 2011, https://arxiv.org/abs/1011.0686).
"""

from __future__ import annotations

from collections.abc import Iterator

from agent_gym_env.chat import Message, MessageLog, read_tools
from agent_gym_env.corpus.task import Turn
from agent_gym_env.lm.prompt import RULES
from agent_gym_env.rollout.chat_messages import conversation
from agent_gym_env.rollout.chat_rows import ConversationRow
from agent_gym_env.rollout.episode import Episode, StepRecord
from agent_gym_env.rollout.transcript import add_step, transcript
from agent_gym_env.types import ToolCall


def correction_rows(
    episode: Episode, below: float, *, rules: str = RULES
) -> Iterator[ConversationRow]:
    """Make a row of each step in the turns that earned too little.

    The answer is the recorded call while no call of that tool has been made in the turn, and then
    the recorded reply. What the policy said before is there with ``"weight": 0``, as OpenAI's
    fine-tuning format marks messages that are read and not learned.

    Args:
        episode: as it was played.
        below: turns that earned as much or more are left as they are, and those without a reward.
        rules: of the system message; by default those that `LLMPolicy` plays by.

    Raises:
        DataError: the episode does not hold together.
    """
    tools = read_tools(episode.tools)
    for turn, messages in zip(episode.turns, transcript(episode), strict=True):
        log = messages.opening
        called: set[str] = set()
        for step in turn.steps:
            if turn.reward is not None and turn.reward < below:
                answered = _answered(log, turn.target, called)
                yield ConversationRow(
                    messages=_last_learned(conversation(answered, episode.date, rules)),
                    tools=tools,
                    dialogue_id=episode.dialogue_id,
                    split=episode.split,
                    policy=episode.policy,
                    reward=turn.reward,
                )
            add_step(log, step)
            called.update(_names(step))


def _answered(log: MessageLog, target: Turn, called: set[str]) -> str:
    """Return the conversation with the corpus' answer at its end, JSON."""
    answered = log.copy()
    if target.call is None or target.call.name in called:
        answered.add_reply(target.text)
    else:
        answered.add_calls([ToolCall(target.call.name, target.call.arguments)])
    return answered.messages


def _names(step: StepRecord) -> Iterator[str]:
    return (call.name for call in step.action.tool_calls)


def _last_learned(messages: list[Message]) -> list[Message]:
    *before, answer = messages
    read = [{**each, "weight": 0} if each["role"] == "assistant" else each for each in before]
    return [*read, answer]
