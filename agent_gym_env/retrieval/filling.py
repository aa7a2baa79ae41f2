"""Which slots of the service the user fills, with which values."""

from __future__ import annotations

from agent_gym_env.retrieval.chooser import Option
from agent_gym_env.retrieval.mentions import Mention, find_mentions
from agent_gym_env.retrieval.offer import OfferedSlot, OfferedTool
from agent_gym_env.retrieval.questions import NO_FEATURES, Decide, Question
from agent_gym_env.retrieval.state import State
from agent_gym_env.retrieval.tokens import hashed, identifier_words, phrase_key

_NONE_FACTOR = 0.3
"""What users mention in such conversations mostly fills a slot."""

_REPLY_WORDS = 14
"""A question stands at the end of a reply."""

_TERSE = 8
"""Characters beside a mention, in an answer that says little more than it."""


def fill_from_mentions(state: State, tool: OfferedTool, decide: Decide) -> None:
    """Find what the user mentions and which slots of the service it fills."""
    slots = state.offer.slots[tool.service]
    listed = state.offer.listed_phrases[tool.service]
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
            if (value := _value_of(state, mention, slot)) is not None
        }
        if values:
            answer = decide(_question(state, tool, mention, values))
            for probability, (name, value) in zip(answer[1:], values.items(), strict=True):
                state.suspect(tool.service, name, probability, value)
                if probability > answer[0] * _NONE_FACTOR:
                    fits.append((probability, place, name, value))
    _fill_best(state, fits)


def _fill_best(state: State, fits: list[tuple[float, int, str, str]]) -> None:
    """Give each mention one slot and each slot one mention, the most probable first."""
    used: set[int | str] = set()
    for _, place, name, value in sorted(fits, key=lambda fit: (-fit[0], fit[1])):
        if place not in used and name not in used:
            used |= {place, name}
            state.fill(state.service, name, value, state.mentions[place].text)


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


def _question(
    state: State, tool: OfferedTool, mention: Mention, values: dict[str, str]
) -> Question:
    slots = state.offer.slots[tool.service]
    options = [Option(NO_FEATURES, hashed("mention", ["none"]))]
    for name in values:
        flags = hashed("mention", _flags(state, tool, mention, slots[name]))
        options.append(Option(slots[name].features, flags))
    is_listed = mention.key in state.offer.listed_phrases[tool.service]
    situation = hashed("mention", _describe(state, mention, is_listed))
    return Question(
        "mention", situation, options, [None, *values], ["", *values.values()], mention=mention
    )


def _flags(state: State, tool: OfferedTool, mention: Mention, slot: OfferedSlot) -> list[str]:
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


def _describe(state: State, mention: Mention, is_listed: bool) -> list[str]:
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
