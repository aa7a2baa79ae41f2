"""A source of candidates whose every proposal is known beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from agent_gym_env.types import Action, Observation, ToolCall
from tests.corpora import FIND_TEA

FIND_GREEN = Action(tool_calls=(ToolCall(FIND_TEA, {"kind": "green"}),))
SENCHA = Action(text="There is Sencha from Uji.")
WHICH = Action(text="Which kind of tea?")
BYE = Action(text="Goodbye.")


class Proposal(NamedTuple):
    """A candidate."""

    action: Action
    score: float


class ScriptedSource:
    """Proposes a search where no call was made since the user spoke, and the same three replies."""

    def __init__(self) -> None:
        self.asked = 0

    def candidates(self, observation: Observation, most: int) -> Sequence[Proposal]:
        """Propose."""
        self.asked += 1
        replies = [Proposal(SENCHA, 0.5), Proposal(WHICH, 0.25), Proposal(BYE, 0.125)]
        calls = [] if observation["tool_result"] else [Proposal(FIND_GREEN, 0.75)]
        return (calls + replies)[:most]
