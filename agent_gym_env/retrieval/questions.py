"""A choice to be made while listening, apart from who makes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agent_gym_env.retrieval.chooser import Chooser, Option
from agent_gym_env.retrieval.mentions import Mention
from agent_gym_env.retrieval.offer import OfferedSlot
from agent_gym_env.retrieval.state import State
from agent_gym_env.retrieval.tokens import Features, pairs

About = Literal["tool", "mention", "value", "carry", "row", "call"]

NO_FEATURES: Features = np.array([], np.uint32)


class Question(NamedTuple):
    """A choice to be made.

    Attributes:
        about: the tool that the conversation heads to, the slot of a mention, the value of a listed
            slot, the value of another service that a slot takes over, whether to go on to the next
            row, or the tool to call.
        situation: features of the conversation.
        options: features of what can be chosen.
        answers: for each option a tool's name, a slot, a value or ``next``; ``None`` for "none".
        values: of a mention, for each option the value that the slot would get.
        slot: the slot in question, where it is about one.
        mention: the mention in question, where it is about one.
    """

    about: About
    situation: Features
    options: Sequence[Option]
    answers: Sequence[str | None]
    values: Sequence[str] = ()
    slot: OfferedSlot | None = None
    mention: Mention | None = None


Decide = Callable[[Question], NDArray[np.float64]]
"""Gives the probability of each option."""


def decided_by(chooser: Chooser) -> Decide:
    """Let a chooser answer."""
    return lambda question: chooser.probabilities(question.situation, question.options)


def heard(state: State) -> list[str]:
    """Describe what the user said."""
    return ["always", *state.stems, *pairs(state.stems)]
