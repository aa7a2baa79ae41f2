"""Understanding what the user says: which tool it heads to, which slots it fills, whether to call.

Each step is a choice among options of the schema, put as a `Question`. Who answers is not decided
here: a learned chooser while acting, a recorded dialogue while learning.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agent_gym_env.retrieval.chooser import Chooser, Option
from agent_gym_env.retrieval.mentions import Mention, find_mentions
from agent_gym_env.retrieval.offer import OfferedSlot, OfferedTool
from agent_gym_env.retrieval.state import State
from agent_gym_env.retrieval.tokens import (
    Features,
    hashed,
    identifier_words,
    pairs,
    phrase_key,
    tokens_of,
)

About = Literal["tool", "mention", "value", "carry", "row", "call"]

NO_FEATURES: Features = np.array([], np.uint32)

_NONE_FACTOR = 0.3
"""What users mention in such conversations mostly fills a slot."""

_LISTED_PROBABILITY = 0.6
"""A listed value that was not said literally must be so probable."""

_MOST_CARRIED = 12
_REPLY_WORDS = 14
"""A question stands at the end of a reply."""


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


def hear(state: State, user: str, decide: Decide) -> None:
    """Take in what the user says."""
    state.turn += 1
    state.user, state.tokens, state.mentions = user, tokens_of(user), []
    state.fresh, state.has_called, state.has_moved_on = set(), False, False
    state.ready = _ready_arguments(state)
    _head_to_tool(state, decide)
    if state.tool is None:
        return
    _fill_from_mentions(state, decide)
    _fill_listed_values(state, decide)
    _carry_over(state, decide)
    _go_to_row(state, decide)


def _ready_arguments(state: State) -> dict[str, dict[str, str]]:
    if state.tool is None:
        return {}
    arguments = state.arguments(state.tool)
    return {} if state.tool.missing(arguments) else {state.tool.name: arguments}


def _heard(state: State) -> list[str]:
    return ["always", *state.stems, *pairs(state.stems)]


def _head_to_tool(state: State, decide: Decide) -> None:
    tools = list(state.offer.tools.values())
    if not tools:
        return
    answer = decide(
        Question(
            "tool",
            hashed("tool", [*_heard(state), *(f"agent {word}" for word in state.reply)]),
            [Option(tool.features, hashed("tool", _tool_flags(state, tool))) for tool in tools],
            [tool.name for tool in tools],
        )
    )
    before = state.tool
    state.tool = tools[int(answer.argmax())]
    state.tool_is_new = state.tool is not before


def _tool_flags(state: State, tool: OfferedTool) -> list[str]:
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
        queries = [each for each in state.offer.of_service[tool.service] if each.is_query]
        called = any(query.name in state.calls for query in queries)
        flags.append(f"queries {bool(queries)} {called}")
    return [*flags, *(f"{kind} {flag}" for flag in flags)]


def _fill_from_mentions(state: State, decide: Decide) -> None:
    """Find what the user mentions and which slots of the service it fills."""
    tool = state.tool
    if tool is None:
        return
    slots = state.offer.slots[tool.service]
    listed = _listed_phrases(slots.values())
    vocabulary = state.vocabulary
    state.mentions = find_mentions(
        state.user,
        state.tokens,
        today=state.today,
        phrases=(vocabulary.phrases, listed, state.found_phrases),
        common=vocabulary.common,
    )
    chosen: list[tuple[float, str, str, str]] = []
    for mention in state.mentions:
        values = {
            name: value
            for name, slot in slots.items()
            if (value := _value_of(state, mention, slot)) is not None
        }
        if not values:
            continue
        answer = decide(_mention_question(state, mention, values, mention.key in listed))
        answer = answer * np.array([_NONE_FACTOR] + [1.0] * len(values))
        best = int(answer.argmax())
        for index, (name, value) in enumerate(values.items(), start=1):
            if index == best:
                chosen.append((answer[index], name, value, mention.text))
            elif best == 0:
                state.suspect(tool.service, name, answer[index], value)
    for _, name, value, said in sorted(chosen):
        state.fill(tool.service, name, value, said)


def _listed_phrases(slots: Collection[OfferedSlot]) -> dict[str, set[str]]:
    phrases: dict[str, set[str]] = {}
    for slot in slots:
        if not slot.is_boolean and not slot.is_count:
            for value in slot.values:
                phrases.setdefault(phrase_key(value), set()).add(slot.name)
    return phrases


def _value_of(state: State, mention: Mention, slot: OfferedSlot) -> str | None:
    """Give the value that a mention would be in a slot; ``None`` if it cannot be one."""
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
    state: State, mention: Mention, values: dict[str, str], is_listed: bool
) -> Question:
    slots = state.offer.slots[state.service]
    options = [Option(NO_FEATURES, hashed("mention", ["none"]))]
    for name in values:
        flags = hashed("mention", _slot_flags(state, mention, slots[name]))
        options.append(Option(slots[name].features, flags))
    situation = hashed("mention", _mention_words(state, mention, is_listed))
    return Question(
        "mention", situation, options, [None, *values], ["", *values.values()], mention=mention
    )


def _slot_flags(state: State, mention: Mention, slot: OfferedSlot) -> list[str]:
    tool = state.tool
    is_filled = slot.name in state.values.get(state.service, {})
    if tool is not None and slot.name in tool.slots:
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
    """Describe a mention by its kind, what it is known as, and the words around it."""
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


_TERSE = 8
"""Characters beside a mention, in an answer that says little more than it."""


def _fill_listed_values(state: State, decide: Decide) -> None:
    """Infer booleans, and listed values that were not said literally."""
    tool = state.tool
    if tool is None:
        return
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
    situation = hashed("value", [*_heard(state), *(f"agent {word}" for word in state.reply)])
    return Question("value", situation, options, [None, *slot.values], slot=slot)


def _carry_over(state: State, decide: Decide) -> None:
    """Fill missing arguments with values that belong to another service of the conversation."""
    tool = state.tool
    if tool is None:
        return
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
    words = [*_heard(state), f"new tool {state.tool_is_new}"]
    return Question("carry", hashed("carry", words), options, [None, *sources], slot=slot)


def _go_to_row(state: State, decide: Decide) -> None:
    """Find out whether the user asks for another one of the results."""
    if state.next_row() is None:
        return
    flags = [f"fresh {bool(state.fresh)}", f"new tool {state.tool_is_new}"]
    options = [
        Option(NO_FEATURES, hashed("row", [f"{where} {flag}" for flag in ("always", *flags)]))
        for where in ("stay", "next")
    ]
    question = Question("row", hashed("row", _heard(state)), options, [None, "next"])
    if decide(question).argmax():
        state.move_on()


def call_question(state: State) -> Question | None:
    """Ask whether to call a tool now, and which of the service that the conversation is about."""
    if state.tool is None:
        return None
    tools = state.offer.of_service[state.service]
    options = [Option(NO_FEATURES, hashed("call", ["wait"]))]
    options += [
        Option(tool.verb_features, hashed("call", _call_flags(state, tool))) for tool in tools
    ]
    situation = hashed("call", _heard(state))
    return Question("call", situation, options, [None, *(tool.name for tool in tools)])


def _call_flags(state: State, tool: OfferedTool) -> list[str]:
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
