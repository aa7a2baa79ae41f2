"""Copies of conversations with other names, so that a model learns to copy names.

A corpus repeats the names of a few cities, restaurants and people. A model that has memorised them
cannot book a table at a new place. A copy replaces each word of a name by another word, everywhere
in the conversation.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from agent_gym_env.chat import calls_of, functions_of, with_arguments

Conversation = Mapping[str, Any]
"""A row with ``messages`` and ``tools``, as `agent_gym_env.export.rows` writes it."""

_CAPITALISED = re.compile(r"\b[A-Z][\w']*[a-z][\w']*")
_LOWER = re.compile(r"\b[a-z]+\b")
_SHORTEST = 3
"""Letters of the shortest word that is replaced."""

_BEGINNINGS = ("b", "br", "c", "ch", "d", "f", "g", "gr", "h", "k", "l", "m", "n", "p", "pr", "r",
               "s", "sh", "st", "t", "th", "tr", "v", "w", "z")  # fmt: skip
_MIDDLES = ("a", "ai", "e", "ea", "i", "o", "ou", "u")
_ENDS = ("", "ck", "l", "m", "n", "nd", "r", "rd", "s", "t")


def words_of_names(conversations: Iterable[Conversation]) -> list[str]:
    """List the words of the names in conversations, sorted, without duplicates."""
    found: set[str] = set()
    for conversation in conversations:
        for name in _names(conversation):
            found.update(_words(name))
    return sorted(found)


def invented_words(number: int, draws: random.Random) -> list[str]:
    """Invent different words that could be names."""
    made: dict[str, None] = {}
    while len(made) < number:
        syllables = draws.choice((1, 2, 2))
        word = "".join(
            draws.choice(_BEGINNINGS) + draws.choice(_MIDDLES) + draws.choice(_ENDS)
            for _ in range(syllables)
        )
        made[word.capitalize()] = None
    return list(made)


def renamed(
    conversation: Conversation, words: Sequence[str], draws: random.Random
) -> dict[str, Any]:
    """Replace the words of a conversation's names, each by the same new word everywhere.

    Names are values of arguments and results that no schema lists and that somebody says. A value
    that the user calls by another word ("ATX" for "Austin") is kept, because the other word of a
    new name is not known.

    Args:
        conversation: conversation; it is not changed.
        words: new words to draw from.
        draws: generator of the draws.
    """
    replaced = sorted(_replaceable(conversation))
    drawn = draws.sample(words, min(len(replaced), len(words)))
    to = dict(zip(replaced, drawn, strict=False))
    if not to:
        return dict(conversation)
    pattern = re.compile(rf"(?<!\w)({'|'.join(map(re.escape, to))})(?!\w)")

    def change(text: str) -> str:
        return pattern.sub(lambda match: to[match[1]], text)

    return {**conversation, "messages": [_changed(m, change) for m in conversation["messages"]]}


def _replaceable(conversation: Conversation) -> set[str]:
    names = _names(conversation)
    said = " ".join(_said(conversation))
    kept = set(_LOWER.findall(said))
    words = {word for name in names for word in _words(name) if word.lower() not in kept}
    for value in _arguments(conversation["messages"]):
        if value not in names:
            words -= set(_words(value))
    return words


def _words(name: str) -> Iterator[str]:
    return (word for word in _CAPITALISED.findall(name) if len(word) >= _SHORTEST)


def _names(conversation: Conversation) -> set[str]:
    """Return the arguments that occurred before their call, and the results that are said."""
    listed = set(_listed(conversation["tools"]))
    said = " ".join(_said(conversation))
    found: set[str] = set()
    before = ""
    for message in conversation["messages"]:
        found.update(value for value in _arguments([message]) if value in before)
        if message["role"] == "tool":
            found.update(value for value in _results(message["content"]) if value in said)
        before += f" {message.get('content') or ''}"
    return found - listed


def _listed(tools: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the values that schemas list."""
    for function in functions_of(tools):
        for schema in function.get("parameters", {}).get("properties", {}).values():
            yield from map(str, schema.get("enum", ()))


def _said(conversation: Conversation) -> Iterator[str]:
    for message in conversation["messages"]:
        if message["role"] in ("user", "assistant"):
            yield message.get("content") or ""


def _arguments(messages: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for message in messages:
        for call in calls_of(message):
            for value in call.arguments.values():
                if isinstance(value, str):
                    yield value


def _results(content: str) -> Iterator[str]:
    try:
        result = json.loads(content)
    except ValueError:
        return
    rows = result.get("results", ()) if isinstance(result, dict) else ()
    for row in rows:
        yield from (value for value in row.values() if isinstance(value, str))


def _changed(message: Mapping[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """Change the content of a message and the arguments of its calls."""
    new = dict(message)
    if new.get("content"):
        new["content"] = change(new["content"])
    return with_arguments(new, lambda arguments: _mapped(arguments, change))


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_mapped(each, change) for each in value]
    if isinstance(value, dict):
        return {key: _mapped(each, change) for key, each in value.items()}
    return value
