"""The conversation of a recorded episode, byte for byte as its environment wrote it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from agent_gym_env.envs.conversation import tool_call_message
from agent_gym_env.errors import DataError
from agent_gym_env.rollout.episode import Episode, StepRecord

_encode = msgspec.json.Encoder().encode
_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode


class TurnMessages(NamedTuple):
    """Messages around the close of a turn, in OpenAI's chat format.

    Attributes:
        log: before the agent's last step, a JSON array without its closing bracket.
        latest: of that step, to be put behind the log.
    """

    log: str
    latest: str


def transcript(episode: Episode) -> Iterator[TurnMessages]:
    """Yield the messages at the close of each turn; the last ones are the whole conversation.

    Raises:
        DataError: a step's tool results do not answer its calls.
    """
    log, separator, executed = "[", "", 0
    for number, turn in enumerate(episode.turns):
        log += f'{separator}{{"role":"user","content":{_encode(turn.user).decode()}}}'
        separator = ","
        latest = ""
        for step in turn.steps:
            log += latest
            try:
                latest = _exchange(step, executed)
            except (ValueError, msgspec.DecodeError) as problem:
                raise DataError(
                    f"the tool results do not answer the calls: {problem}",
                    dialogue_id=episode.dialogue_id,
                    turn=number,
                ) from problem
            executed += len(step.action.tool_calls)
        text = _encode(turn.steps[-1].action.text).decode()
        latest += f',{{"role":"assistant","content":{text}}}'
        yield TurnMessages(log, latest)
        log += latest


def _exchange(step: StepRecord, executed: int) -> str:
    """Write the message with a step's calls, and one with each result; ``""`` without calls."""
    calls = step.action.tool_calls
    if not calls:
        return ""
    requests, answers = [], []
    results = _decode_array(step.tool_result)
    for place, (call, result) in enumerate(zip(calls, results, strict=True), start=executed):
        requests.append(tool_call_message(f"call_{place}", call))
        content = _encode(bytes(result).decode()).decode()
        answers.append(f',{{"role":"tool","tool_call_id":"call_{place}","content":{content}}}')
    request = f',{{"role":"assistant","content":null,"tool_calls":[{",".join(requests)}]}}'
    return request + "".join(answers)
