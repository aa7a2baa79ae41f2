"""Values that a service takes over from another one of the conversation."""

from __future__ import annotations

from agent_gym_env.retrieval.chooser import Option
from agent_gym_env.retrieval.offer import OfferedSlot, OfferedTool
from agent_gym_env.retrieval.questions import NO_FEATURES, Decide, Question, heard
from agent_gym_env.retrieval.state import State
from agent_gym_env.retrieval.tokens import hashed, identifier_words

_MOST_CARRIED = 12


def carry_over(state: State, tool: OfferedTool, decide: Decide) -> None:
    """Fill missing arguments with values that belong to another service of the conversation."""
    for name in tool.missing(state.arguments(tool)):
        if tool.slots[name].values:
            continue
        sources = _sources(state, tool.slots[name])
        if not sources:
            continue
        question = _carry_question(state, tool.slots[name], sources)
        best = int(decide(question).argmax())
        value = question.answers[best]
        if value is not None:
            state.fill(tool.service, name, value, value)


def _sources(state: State, slot: OfferedSlot) -> dict[str, list[str]]:
    """Describe, for each value of another service, what it is there in relation to the slot."""
    sources: dict[str, list[str]] = {}
    for service, slots in state.values.items():
        for name, filled in slots.items():
            source = state.offer.slots[service][name]
            if service == state.service or source.values:
                continue
            if source.kind == slot.kind:
                flags = _relation("said", name, slot)
                flags.append(f"shared words {min(len(source.words & slot.words), 3)}")
                sources.setdefault(filled.value, []).extend(flags)
    for service, row in state.row.items():
        for name, value in row.items():
            is_said = name in state.values.get(service, {})
            if service != state.service and not is_said and not _is_plain(value):
                sources.setdefault(value, []).extend(_relation("found", name, slot))
    return dict(list(sources.items())[:_MOST_CARRIED])


def _is_plain(value: str) -> bool:
    return value in ("True", "False") or value.replace(".", "").isdecimal()


def _relation(origin: str, name: str, slot: OfferedSlot) -> list[str]:
    source, target = identifier_words(name) or ("",), identifier_words(slot.name) or ("",)
    return [
        origin,
        f"{origin} {' '.join(source)} > {target[-1]}",
        f"{source[-1]} > {target[-1]}",
        f"{source[0]} > {target[-1]}",
        f"same name {name == slot.name}",
        f"{origin} shared {len(set(source) & set(target))}",
    ]


def _carry_question(state: State, slot: OfferedSlot, sources: dict[str, list[str]]) -> Question:
    none = ["none", *(f"none {word}" for word in identifier_words(slot.name))]
    described = [none, *(sorted({"always", *flags}) for flags in sources.values())]
    options = [Option(NO_FEATURES, hashed("carry", flags)) for flags in described]
    words = [*heard(state), f"new tool {state.tool_is_new}"]
    return Question("carry", hashed("carry", words), options, [None, *sources], slot=slot)
