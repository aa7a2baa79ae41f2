"""The beginnings of turns as prompts, with the state that brings an environment back to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from agent_gym_env.chat import Message, MessageLog, read_tools
from agent_gym_env.envs.replay import SNAPSHOT_VERSION, Snapshot
from agent_gym_env.lm.prompt import RULES
from agent_gym_env.rollout.chat_messages import conversation
from agent_gym_env.rollout.episode import Episode
from agent_gym_env.rollout.transcript import transcript


class PromptRow(msgspec.Struct, frozen=True):
    """A turn that is to be played: what group relative policy optimisation (GRPO) takes.

    Attributes:
        prompt: the conversation, the user's words last and the system message first.
        tools: what is on offer, in OpenAI's function format.
        dialogue_id: of the dialogue.
        split: of the dialogue.
        turn: how many turns have closed.
        schema_variant: of the dialogue.
        state: JSON of what ``SGD-v0``'s ``set_state`` takes to be there again.
    """

    prompt: Sequence[Message]
    tools: Sequence[dict[str, Any]]
    dialogue_id: str
    split: str
    turn: int
    schema_variant: str | None
    state: str


def prompt_rows(episode: Episode, *, rules: str = RULES) -> Iterator[PromptRow]:
    """Make the row of each turn.

    Args:
        episode: what was played before a turn is the conversation that its prompt has.
        rules: of the system message; by default those that `LLMPolicy` plays by.

    Raises:
        DataError: the episode does not hold together.
    """
    tools = read_tools(episode.tools)
    tool_result = ""
    for number, (opening, _, _) in enumerate(transcript(episode)):
        yield PromptRow(
            prompt=conversation(opening.messages, episode.date, rules),
            tools=tools,
            dialogue_id=episode.dialogue_id,
            split=episode.split,
            turn=number,
            schema_variant=episode.schema_variant,
            state=_state(episode, number, opening, tool_result),
        )
        tool_result = episode.turns[number].steps[-1].tool_result


def _state(episode: Episode, turn: int, opening: MessageLog, tool_result: str) -> str:
    snapshot = Snapshot(
        version=SNAPSHOT_VERSION,
        corpus=episode.corpus,
        split=episode.split,
        dialogue_id=episode.dialogue_id,
        turn=turn,
        log=opening.text,
        calls=[],
        executed=opening.call_count,
        user=episode.turns[turn].user,
        tool_result=tool_result,
    )
    return msgspec.json.encode(snapshot).decode()
