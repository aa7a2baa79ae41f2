"""The words of a simulated user: the recorded sentence where there is one, else a plain phrase."""

from __future__ import annotations

import re
from collections.abc import Sequence

from agent_gym_env.corpus.goals import UserAct
from agent_gym_env.corpus.task import Task
from agent_gym_env.values.equality import DONTCARE

_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
_PHRASES = {
    "NEGATE": "No.",
    "AFFIRM": "Yes, please.",
    "AFFIRM_INTENT": "Yes, please do that.",
    "NEGATE_INTENT": "No, not that.",
    "SELECT": "That one sounds good.",
    "REQUEST_ALTS": "Do you have another one?",
    "THANK_YOU": "Thank you, that is all.",
    "GOODBYE": "Goodbye.",
    "UNCLEAR": "Sorry, I don't follow.",
}
_ORDER = (
    "UNCLEAR", "NEGATE", "NEGATE_INTENT", "AFFIRM", "AFFIRM_INTENT", "SELECT", "REQUEST_ALTS",
    "INFORM_INTENT", "INFORM", "REQUEST", "THANK_YOU", "GOODBYE",
)  # fmt: skip


def words_of(acts: Sequence[UserAct], task: Task, turn: int | None) -> str:
    """Put acts into words.

    Args:
        acts: acts of the user.
        task: the recorded dialogue.
        turn: index of its turn that opens with a sentence for just these acts; ``None`` where the
            recorded user never did them.
    """
    if turn is not None and turn < len(task.turns):
        return task.turns[turn].user
    ordered = sorted(acts, key=lambda act: _ORDER.index(act.act))
    return " ".join(_sentence(act) for act in ordered)


def _sentence(act: UserAct) -> str:
    slot = act.slot.replace("_", " ")
    if act.act == "INFORM":
        if act.value == DONTCARE:
            return f"I have no preference for the {slot}."
        return f"The {slot} should be {spoken(act.value)}."
    if act.act == "INFORM_INTENT":
        return f"I want to {_intent_words(act.value)}."
    if act.act == "REQUEST":
        return f"What is the {slot}?"
    return _PHRASES[act.act]


def _intent_words(intent: str) -> str:
    return " ".join(word.lower() for word in re.findall(r"[A-Z]?[^A-Z]+|[A-Z]+", intent))


def spoken(value: str) -> str:
    """Return the spoken form of a canonical value, such as 5:15 pm for ``17:15``."""
    date = re.fullmatch(r"\d{4}-(\d\d)-(\d\d)", value)
    if date is not None and 1 <= int(date[1]) <= 12:
        return f"{_MONTHS[int(date[1]) - 1]} {_ordinal(int(date[2]))}"
    time = re.fullmatch(r"(\d\d):(\d\d)", value)
    if time is not None:
        hour, minutes = int(time[1]), "" if time[2] == "00" else f":{time[2]}"
        return f"{hour % 12 or 12}{minutes} {'am' if hour < 12 else 'pm'}"
    return {"True": "yes", "False": "no"}.get(value, value)


def _ordinal(day: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th") if day // 10 != 1 else "th"
    return f"{day}{ending}"
