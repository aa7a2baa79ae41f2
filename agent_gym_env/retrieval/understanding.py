"""Understanding the user: which tool is wanted, which slots are filled, whether to call now.

Each step is a choice among options of the schema, written as a `Question`. A `Decide` function
answers it: a trained classifier while acting, the recorded dialogue while training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agent_gym_env.retrieval.linear_classifier import LinearClassifier, Option
from agent_gym_env.retrieval.mentions import Mention, find_mentions
from agent_gym_env.retrieval.state import State
from agent_gym_env.retrieval.tokens import (
    Features,
    hashed,
    identifier_words,
    pairs,
    phrase_key,
)
from agent_gym_env.retrieval.tool_schemas import SlotSchema, ToolSchema

Topic = Literal["tool", "mention", "value", "carry", "row", "call"]

_NO_FEATURES: Features = np.array([], np.uint32)

_NONE_FACTOR = 0.3
"""Most mentions in such conversations fill a slot, so "none" must be this much more probable."""

_REPLY_WORDS = 14
"""Number of words at the end of the agent's reply that describe a mention: questions come last."""

_TERSE = 8
"""An answer with fewer characters than this beside a mention consists of little but the mention."""

_LISTED_PROBABILITY = 0.6
"""Lowest probability of a listed value that the user did not say literally."""

_MOST_CARRIED = 12
"""Largest number of values of other services that are considered for one slot."""


class Question(NamedTuple):
    """A choice to be made.

    Attributes:
        topic: subject of the choice: the tool that the user wants, the slot of a mention, the value
            of a listed slot, the value that a slot takes over from another service, whether to go
            to the next row, or the tool to call now.
        situation: features of the conversation.
        options: features of each option.
        answers: tool name, slot, value or ``next`` of each option; ``None`` for "none of these".
        values: for a mention, the value that the slot of each option would get.
        slot: slot in question, for choices of a value.
        mention: mention in question, for choices of a slot.
    """

    topic: Topic
    situation: Features
    options: Sequence[Option]
    answers: Sequence[str | None]
    values: Sequence[str] = ()
    slot: SlotSchema | None = None
    mention: Mention | None = None


Decide = Callable[[Question], NDArray[np.float64]]
"""Returns the probability of each option."""


def decide_with(classifier: LinearClassifier) -> Decide:
    """Return the function that answers questions with a classifier."""
    return lambda question: classifier.probabilities(question.situation, question.options)


def update_state(state: State, user: str, decide: Decide) -> None:
    """Update the state of a conversation with the user's next words."""
    state.begin_user_turn(user)
    _predict_tool(state, decide)
    if state.tool is None:
        return
    _fill_slots_from_mentions(state, state.tool, decide)
    _infer_listed_values(state, state.tool, decide)
    _carry_over_values(state, state.tool, decide)
    _predict_row(state, decide)


def _user_words(state: State) -> list[str]:
    return ["always", *state.stems, *pairs(state.stems)]


def _both_sides(state: State) -> list[str]:
    return [*_user_words(state), *(f"agent {word}" for word in state.reply)]


# The tool that the user wants.


def _predict_tool(state: State, decide: Decide) -> None:
    """Predict the tool that the user wants called, now or when its arguments are known."""
    tools = list(state.tools.by_name.values())
    if not tools:
        return
    answer = decide(
        Question(
            "tool",
            hashed("tool", _both_sides(state)),
            [Option(tool.features, hashed("tool", _tool_flags(state, tool))) for tool in tools],
            [tool.name for tool in tools],
        )
    )
    before = state.tool
    state.tool = tools[int(answer.argmax())]
    state.tool_is_new = state.tool is not before


def _tool_flags(state: State, tool: ToolSchema) -> list[str]:
    missing = tool.missing(state.arguments(tool))
    flags = ["always", f"missing {min(len(missing), 2)}"]
    if tool is state.tool:
        flags.append("was it")
    if tool.name == state.last_call:
        flags.append("called last")
    if tool.name in state.calls:
        flags.append("called")
    if tool.service == state.service:
        flags.append("same service")
    if tool.name in state.ready:
        flags.append("was ready")
    kind = "query" if tool.is_query else "transaction"
    if not tool.is_query:
        queries = [each for each in state.tools.by_service[tool.service] if each.is_query]
        called = any(query.name in state.calls for query in queries)
        flags.append(f"queries {bool(queries)} {called}")
    return [*flags, *(f"{kind} {flag}" for flag in flags)]


# The call that is due.


def call_question(state: State) -> Question | None:
    """Return the question whether to call a tool of the current service now, and which one.

    Returns:
        ``None`` before the user has spoken.
    """
    if state.tool is None:
        return None
    tools = state.tools.by_service[state.service]
    options = [Option(_NO_FEATURES, hashed("call", ["wait"]))]
    options += [
        Option(tool.verb_features, hashed("call", _call_flags(state, tool))) for tool in tools
    ]
    situation = hashed("call", _user_words(state))
    return Question("call", situation, options, [None, *(tool.name for tool in tools)])


def _call_flags(state: State, tool: ToolSchema) -> list[str]:
    arguments = state.arguments(tool)
    missing = len(tool.missing(arguments))
    kind = "query" if tool.is_query else "transaction"
    called = _compared(state.calls.get(tool.name), arguments)
    ready = _compared(state.ready.get(tool.name), arguments)
    fresh = any((tool.service, name) in state.fresh for name in tool.slots)
    base = f"{kind} {'complete' if not missing else 'incomplete'} {tool is state.tool}"
    flags = [
        kind,
        base,
        f"{tool is state.tool} missing {min(missing, 2)}",
        f"{base} called {called}",
        f"{base} ready {ready}",
        f"{base} called {called} ready {ready}",
        f"{base} fresh {fresh}",
        f"{base} fresh {fresh} called {called} ready {ready}",
    ]
    if tool.name == state.last_call:
        flags.append(f"{base} last")
    if state.tool_is_new:
        flags.append(f"{base} new")
    return flags


def _compared(before: dict[str, str] | None, now: dict[str, str]) -> str:
    if before is None:
        return "never"
    return "same" if before == now else "other"


# Slots that the user fills by saying a value.


def _fill_slots_from_mentions(state: State, tool: ToolSchema, decide: Decide) -> None:
    """Find the values that the user mentions, and the slots of the service that they fill."""
    slots = state.tools.slots[tool.service]
    listed = state.tools.listed_phrases[tool.service]
    vocabulary = state.vocabulary
    state.mentions = find_mentions(
        state.user,
        state.tokens,
        today=state.today,
        phrases=(vocabulary.phrases, listed, state.found_phrases),
        common=vocabulary.common,
    )
    fits: list[tuple[float, int, str, str]] = []
    for place, mention in enumerate(state.mentions):
        values = {
            name: value
            for name, slot in slots.items()
            if (value := value_in_slot(state, mention, slot)) is not None
        }
        if values:
            answer = decide(_mention_question(state, tool, mention, values))
            for probability, (name, value) in zip(answer[1:], values.items(), strict=True):
                state.add_guess(tool.service, name, probability, value)
                if probability > answer[0] * _NONE_FACTOR:
                    fits.append((probability, place, name, value))
    _fill_best(state, fits)


def _fill_best(state: State, fits: list[tuple[float, int, str, str]]) -> None:
    """Assign each mention to one slot and each slot to one mention, the most probable first."""
    used: set[int | str] = set()
    for _, place, name, value in sorted(fits, key=lambda fit: (-fit[0], fit[1])):
        if place not in used and name not in used:
            used |= {place, name}
            state.fill(state.service, name, value, state.mentions[place].text)


def value_in_slot(state: State, mention: Mention, slot: SlotSchema) -> str | None:
    """Return the value that a mention would be in a slot; ``None`` if it does not fit."""
    if slot.is_boolean:
        return None
    if slot.is_count:
        is_one = mention.kind == "number" and mention.value in slot.values
        return mention.value if is_one else None
    if slot.values:
        literal = [value for value in slot.values if phrase_key(value) == mention.key]
        return literal[0] if literal else state.vocabulary.value_among(mention.key, slot.values)
    if mention.kind in ("date", "time", "number"):
        return mention.value
    if mention.kind == "known" and mention.key in state.vocabulary.phrases:
        return state.vocabulary.value_of_phrase(mention.key, slot.name)
    if mention.key in state.found_phrases:
        return next(iter(state.found_phrases[mention.key].values()))
    return mention.text


def _mention_question(
    state: State, tool: ToolSchema, mention: Mention, values: Mapping[str, str]
) -> Question:
    slots = state.tools.slots[tool.service]
    options = [Option(_NO_FEATURES, hashed("mention", ["none"]))]
    for name in values:
        flags = hashed("mention", _slot_flags(state, tool, mention, slots[name]))
        options.append(Option(slots[name].features, flags))
    is_listed = mention.key in state.tools.listed_phrases[tool.service]
    situation = hashed("mention", _mention_words(state, mention, is_listed))
    return Question(
        "mention", situation, options, [None, *values], ["", *values.values()], mention=mention
    )


def _slot_flags(state: State, tool: ToolSchema, mention: Mention, slot: SlotSchema) -> list[str]:
    is_filled = slot.name in state.values.get(tool.service, {})
    if slot.name in tool.slots:
        need = "required" if slot.name in tool.required else "optional"
    else:
        need = "of another tool"
    return [
        "always",
        need,
        f"listed {bool(slot.values)}",
        f"{mention.kind} for {slot.kind}",
        f"filled {is_filled}",
        f"filled {is_filled} {need == 'required'}",
    ]


def _mention_words(state: State, mention: Mention, is_listed: bool) -> list[str]:
    """Describe a mention by its kind, the slots it is known for, and the words around it."""
    tokens = state.tokens
    before = [token.stem for token in tokens if token.end <= mention.start][-3:]
    after = [token.stem for token in tokens if token.start >= mention.end][:2]
    words = ["always", f"kind {'listed' if is_listed else mention.kind}"]
    words += [f"before {word}" for word in before] + [f"after {word}" for word in after]
    words.append(f"just before {before[-1] if before else '^'}")
    if len(before) > 1:
        words += [f"two before {before[-2]}", f"before {before[-2]} {before[-1]}"]
    if after:
        words.append(f"just after {after[0]}")
    words += [f"agent {word}" for word in state.reply[-_REPLY_WORDS:]]
    if sum(len(token.text) for token in tokens) - len(mention.text) < _TERSE:
        words.append("alone")
    if mention.kind == "number":
        words.append(f"number {mention.value if len(mention.value) < 3 else 'large'}")
    if mention.kind in ("number", "known"):
        words.append(f"says {mention.key}")
    if mention.text.startswith("$"):
        words.append("money")
    for name in state.vocabulary.slots_of_phrase(mention.key):
        words += [f"known as {word}" for word in identifier_words(name)]
    for name in state.found_phrases.get(mention.key, ()):
        words += [f"found as {word}" for word in identifier_words(name)]
    return words


# Slots that the user fills without saying a value.


def _infer_listed_values(state: State, tool: ToolSchema, decide: Decide) -> None:
    """Infer booleans, and listed values that the user did not say literally."""
    service = tool.service
    for slot in state.tools.slots[service].values():
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
            state.add_guess(service, slot.name, answer[best], value)


def _value_question(state: State, slot: SlotSchema) -> Question:
    flags = ["always"]
    if slot.name in state.values.get(state.service, {}):
        flags.append("filled")
    options = []
    for value, words in zip((None, *slot.values), slot.value_features, strict=True):
        of_value = "no value" if value is None else value if slot.is_boolean else "value"
        options.append(Option(words, hashed(of_value, flags)))
    situation = hashed("value", _both_sides(state))
    return Question("value", situation, options, [None, *slot.values], slot=slot)


# Slots that take their value from another service of the conversation.


def _carry_over_values(state: State, tool: ToolSchema, decide: Decide) -> None:
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


def _sources(state: State, slot: SlotSchema) -> dict[str, list[str]]:
    """Return, by value of another service, features of its relation to the slot."""
    sources: dict[str, list[str]] = {}
    for service, slots in state.values.items():
        for name, filled in slots.items():
            source = state.tools.slots[service][name]
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


def _relation(origin: str, name: str, slot: SlotSchema) -> list[str]:
    source, target = identifier_words(name) or ("",), identifier_words(slot.name) or ("",)
    return [
        origin,
        f"{origin} {' '.join(source)} > {target[-1]}",
        f"{source[-1]} > {target[-1]}",
        f"{source[0]} > {target[-1]}",
        f"same name {name == slot.name}",
        f"{origin} shared {len(set(source) & set(target))}",
    ]


def _carry_question(state: State, slot: SlotSchema, sources: dict[str, list[str]]) -> Question:
    none = ["none", *(f"none {word}" for word in identifier_words(slot.name))]
    described = [none, *(sorted({"always", *flags}) for flags in sources.values())]
    options = [Option(_NO_FEATURES, hashed("carry", flags)) for flags in described]
    words = [*_user_words(state), f"new tool {state.tool_is_new}"]
    return Question("carry", hashed("carry", words), options, [None, *sources], slot=slot)


# The row of the results that the conversation is about.


def _predict_row(state: State, decide: Decide) -> None:
    """Go to the next row of the results if the user asks for another one."""
    if state.next_row() is None:
        return
    flags = [f"fresh {bool(state.fresh)}", f"new tool {state.tool_is_new}"]
    options = [
        Option(_NO_FEATURES, hashed("row", [f"{where} {flag}" for flag in ("always", *flags)]))
        for where in ("stay", "next")
    ]
    question = Question("row", hashed("row", _user_words(state)), options, [None, "next"])
    if decide(question).argmax():
        state.go_to_next_row()
