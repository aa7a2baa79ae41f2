"""Values that the user implies: yes or no, and one of a few without its name."""

from __future__ import annotations

from agent_gym_env.retrieval.chooser import Option
from agent_gym_env.retrieval.offer import OfferedSlot, OfferedTool
from agent_gym_env.retrieval.questions import Decide, Question, heard
from agent_gym_env.retrieval.state import State
from agent_gym_env.retrieval.tokens import hashed

_LISTED_PROBABILITY = 0.6
"""A listed value that was not said literally must be so probable."""


def infer_listed_values(state: State, tool: OfferedTool, decide: Decide) -> None:
    """Infer booleans, and listed values that were not said literally."""
    service = tool.service
    for slot in state.offer.slots[service].values():
        if not slot.values or slot.is_count or (service, slot.name) in state.fresh:
            continue
        is_sure = slot.is_boolean or slot.is_known
        if not is_sure and slot.name not in tool.required:
            continue
        answer = decide(_value_question(state, slot))
        best = 1 + int(answer[1:].argmax())
        value = slot.values[best - 1]
        enough = answer[0] if slot.is_boolean else max(answer[0], _LISTED_PROBABILITY)
        if is_sure and answer[best] > enough:
            state.fill(service, slot.name, value, value)
        else:
            state.suspect(service, slot.name, answer[best], value)


def _value_question(state: State, slot: OfferedSlot) -> Question:
    flags = ["always"]
    if slot.name in state.values.get(state.service, {}):
        flags.append("filled")
    options = []
    for value, words in zip((None, *slot.values), slot.value_features, strict=True):
        of_value = "no value" if value is None else value if slot.is_boolean else "value"
        options.append(Option(words, hashed(of_value, flags)))
    situation = hashed("value", [*heard(state), *(f"agent {word}" for word in state.reply)])
    return Question("value", situation, options, [None, *slot.values], slot=slot)
