"""Recorded turns and episodes for tests, with only what a test cares about spelt out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from agent_gym_env.corpus.task import RecordedCall, Turn
from agent_gym_env.rollout.episode import Episode, StepRecord, TurnRecord
from agent_gym_env.types import Action, ToolCall

FIND = "Hotels_1-FindHotel"
BOOK = "Hotels_1-BookHotel"


def due(name: str = FIND, **arguments: str) -> RecordedCall:
    return RecordedCall(name, arguments, "success", "[]")


def call(tool: str = FIND, **arguments: Any) -> ToolCall:
    return ToolCall(tool, arguments)


def turn(
    reward: float | None = 1.0,
    *,
    due: RecordedCall | None = None,
    made: Sequence[ToolCall] = (),
    says: str = "Done.",
    recorded: str = "Done.",
    user: str = "A room, please.",
    service: str = "Hotels_1",
    components: dict[str, float | None] | None = None,
    reason: str | None = None,
    action_error: str | None = None,
) -> TurnRecord:
    """Make a turn that has its calls in one step and its reply in the next."""
    results = [{"name": each.name, "status": "success", "results": []} for each in made]
    calls = StepRecord(Action(tool_calls=tuple(made)), msgspec.json.encode(results).decode())
    closing = StepRecord(Action(text=says), action_error=action_error)
    return TurnRecord(
        user=user,
        steps=(calls, closing) if made else (closing,),
        target=Turn(user, recorded, service, due),
        reward=reward,
        components=components or {},
        reason=reason,
    )


def episode(*turns: TurnRecord, dialogue_id: str = "1_00000", **fields: Any) -> Episode:
    """Make an episode; it is complete by default."""
    defaults: dict[str, Any] = {
        "split": "test",
        "corpus": "c0ffee",
        "services": tuple(dict.fromkeys(turn.target.service for turn in turns if turn.target)),
        "date": "2019-03-01",
        "policy": "agent",
        "reward": "ground_truth",
        "terminated": True,
    }
    return Episode(dialogue_id=dialogue_id, turns=turns, **{**defaults, **fields})


def episodes(*rewards: Sequence[float | None], **fields: Any) -> list[Episode]:
    """An episode for each sequence of rewards, with dialogue ids in order."""
    return [
        episode(*map(turn, given), dialogue_id=f"1_{number:05d}", **fields)
        for number, given in enumerate(rewards)
    ]


def hostile_episode(text: str) -> Episode:
    """Return an episode with a text in each of its fields that can hold one."""
    plain = msgspec.to_builtins(
        episode(
            turn(
                0.5,
                due=due(text, **{text: text}),
                made=[call(text, **{text: [text, {text: text}]})],
                components={text: 0.5},
                reason=text,
                says=text,
                recorded=text,
                user=text,
                service=text,
                action_error=text,
            ),
            dialogue_id=text,
            split=text,
            corpus=text,
            policy=text,
            reward=text,
            error=f"{text}: {text}",
            schema_variant=text,
            seen_services=(text,),
            system=text,
        )
    )
    return msgspec.convert(plain, Episode)
