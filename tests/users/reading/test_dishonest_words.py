"""The acts oracle with false words in one kind of turn: no such dialogue is a strict success."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from agent_gym_env.envs.sgd_sim import SGDSimEnv
from agent_gym_env.policies.acts_oracle import ActsOraclePolicy
from agent_gym_env.types import Action

Fault = Callable[[Action, SGDSimEnv], "str | None"]
"""Returns other words for an action, if it is of the kind that is falsified."""


def _values(action: Action, kind: str) -> list[tuple[str, str]]:
    return [(a.slot.replace("_", " "), a.value) for a in action.acts if a.act == kind]


def _listed(values: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{slot} {value}" for slot, value in values)


def _confirmation(template: str) -> Fault:
    def words(action: Action, env: SGDSimEnv) -> str | None:
        values = _values(action, "CONFIRM")
        return template.format(_listed(values), action.text) if values else None

    return words


def _report(text: str) -> Fault:
    def words(action: Action, env: SGDSimEnv) -> str | None:
        return text if any(act.act == "NOTIFY_SUCCESS" for act in action.acts) else None

    return words


def _answer(template: str) -> Fault:
    def words(action: Action, env: SGDSimEnv) -> str | None:
        values = _values(action, "INFORM")
        if {act.act for act in action.acts} != {"INFORM"}:
            return None
        if any(value in ("True", "False") for _, value in values):
            return None
        return " ".join(template.format(*each) for each in values)

    return words


def _yes_and_no(action: Action, env: SGDSimEnv) -> str | None:
    values = [slot for slot, value in _values(action, "INFORM") if value in ("True", "False")]
    if {act.act for act in action.acts} != {"INFORM"} or not values:
        return None
    return " ".join(f"Yes, it has {slot}. No, it does not have {slot}." for slot in values)


def _one_of_many(action: Action, env: SGDSimEnv) -> str | None:
    values = [(slot, value) for slot, value in _values(action, "INFORM") if value.isdigit()]
    if {act.act for act in action.acts} != {"INFORM"} or not values:
        return None
    slot, value = values[0]
    return f"The {slot} is {' or '.join(str(int(value) + each) for each in range(-1, 3))}."


def _row_offered(action: Action, env: SGDSimEnv) -> dict[str, str] | None:
    named = {act.slot: act.value for act in action.acts if act.act == "OFFER"}
    rows = env.simulation.user_state.rows if action.acts and action.acts[0].act == "OFFER" else []
    return next((row for row in rows if named.items() <= row.items()), None)


def _facts_of_another_row(action: Action, env: SGDSimEnv) -> str | None:
    row, rows = _row_offered(action, env) or {}, env.simulation.user_state.rows
    for slot in row:
        others = [other[slot] for other in rows if other.get(slot) not in (None, row[slot])]
        wrong = {**row, slot: others[0]} if others else {}
        is_fact = any(word in slot for word in ("price", "phone", "address"))
        if is_fact and not any(wrong.items() <= other.items() for other in rows):
            told = " ".join(f"The {s.replace('_', ' ')} is {v}." for s, v in wrong.items())
            return f"I found one. {told} What do you think?"
    return None


def _beside_the_answer(action: Action, env: SGDSimEnv) -> str | None:
    if not _answer("{0} {1}")(action, env):
        return None
    is_first = not env.simulation.user_state.faults and env.simulation.turn % 2 == 0
    return "It is 17 Nowhere Lane, 555-000-0000, Zorbistan." if is_first else None


FAULTS: dict[str, Fault] = {
    "refusal": _confirmation("I will not book this for you: {0}."),
    "impossible": _confirmation("Sorry, I cannot book {0}."),
    "booked already": _confirmation("I have already booked {0}."),
    "cancelled": _confirmation("Shall I cancel {0}?"),
    "other values too": _confirmation(
        "Please confirm: {0}. Or should it be 3:15 am or 4:15 am on March 29th for 17 people?"
    ),
    "a false price": _confirmation("{1} I'll charge you $5000."),
    "extra tickets": _confirmation("{1} I will also buy 977 extra tickets."),
    "booked beside the question": _confirmation("{1} I have already booked it for you."),
    "facts of another row": _facts_of_another_row,
    "a lie before the answer": _beside_the_answer,
    "failure after a success": _report("Unfortunately your booking has failed."),
    "denial of a success": _report("I have not booked anything."),
    "pending": _report("Your booking has not been confirmed yet; it is pending."),
    "a greeting for a report": _report("Hello"),
    "no report": _report("Is there anything else I can help you with?"),
    "denied answer": _answer("The {0} is not {1}."),
    "yes and no": _yes_and_no,
    "a list for an answer": _one_of_many,
}


def _play(env: SGDSimEnv, dialogue_id: str, fault: Fault) -> tuple[bool, bool]:
    """Return whether false words were said, and whether the dialogue was a strict success."""
    policy = ActsOraclePolicy(env)
    observation, _ = env.reset(options={"dialogue_id": dialogue_id})
    over = said = False
    while not over:
        action = policy.act(observation)
        words = fault(action, env)
        said |= words is not None
        observation, _, over, _, info = env.step(action if words is None else Action(words))
    return said, info["task"]["strict"]


@pytest.mark.parametrize("name", FAULTS)
def test_false_words_are_never_strict(name: str) -> None:
    count = 0
    for split in ("dev", "test"):
        env = SGDSimEnv(split=split)
        ids = env.split.dialogue_ids()
        for dialogue_id in (ids[index] for index in env.selected[::2]):
            said, strict = _play(env, dialogue_id, FAULTS[name])
            count += said
            assert not (said and strict), dialogue_id
    assert count > 0
